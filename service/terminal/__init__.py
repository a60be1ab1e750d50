"""The commands of ``notelog``, but for ``serve``."""
