"""The client of a notelog service for Python."""

from service.client.client import Client, ClientError, Event, Note, Removed

__all__ = ["Client", "ClientError", "Event", "Note", "Removed"]
