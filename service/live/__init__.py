"""The websocket: connections, subscriptions, and what is sent to whom."""
