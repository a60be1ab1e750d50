"""Several nodes beside each other on the distributed log, and what happens to them when servers go."""
