"""The top floor: HTTP, websocket and command line over the log and its projections."""
