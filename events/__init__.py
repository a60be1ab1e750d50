"""The ground floor: the log of events, and what a note is.

Two halves meet only in ``codec``. The log half (``record``, ``log``, ``store``, ``sqlite_log``, ``subscription``)
knows records and streams, not notes. The note half (``note``, ``upcast``) knows notes, not storage.
"""
