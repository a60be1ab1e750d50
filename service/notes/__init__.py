"""Notes over HTTP: from a request to a command to an event, and the lists."""
