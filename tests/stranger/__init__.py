"""notelog as somebody meets it who has never seen it: what the README and the pages say is done, word for word."""
