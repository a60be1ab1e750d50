"""The services that notelog is measured against: each one a process of its own."""
