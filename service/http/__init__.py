"""The way in, the same for every route: the protocol, who may come in, what a request says beside its path."""
