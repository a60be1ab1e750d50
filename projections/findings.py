"""What a check of the data has found."""

from msgspec import Struct

# More than this many are not told one by one: the first says where to look.
FINDINGS_MAX = 100


class Finding(Struct, frozen=True):
    """Something that does not hold. ``position``: of the first event that it concerns, None where it concerns none.

    ``what``: a word for programs; ``detail``: a sentence for people.
    """

    position: int | None
    what: str
    detail: str


class Findings:
    """Everything that was found, in order; only the first are kept, all are counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, position: int | None, what: str, detail: str) -> None:
        """Note one more."""
        self.count += 1
        if len(self.kept) < FINDINGS_MAX:
            self.kept.append(Finding(position, what, detail))


EVENT_EDITED = "event_edited"
EVENT_REMOVED = "event_removed"
EVENT_ADDED = "event_added"
EVENTS_SWAPPED = "events_swapped"
EVENT_OR_LEDGER = "event_or_ledger_changed"
LEDGER_DAMAGED = "ledger_damaged"
LEDGER_OF_ANOTHER_LOG = "ledger_of_another_log"
HISTORY_REWRITTEN = "history_rewritten"
SIGNATURE_BAD = "signature_bad"
TABLE_DIFFERS = "table_differs"
SCHEMA_CHANGED = "schema_changed"
UNREADABLE = "unreadable"
CHECKPOINT_DIFFERS = "checkpoint_differs"
