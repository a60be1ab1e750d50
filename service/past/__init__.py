"""The past over HTTP: histories, events, and the signed log."""
