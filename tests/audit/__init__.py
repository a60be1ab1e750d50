"""The past under test: histories, lists as they were, the ledger, and the commands that check and move a log."""
