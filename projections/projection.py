"""The contract of a projection: a table that is a function of the log, and can be built again from it."""

import sqlite3
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from events.errors import NotelogError
from events.record import RecordedEvent

Change = TypeVar("Change")


class Projection(ABC, Generic[Change]):
    """Tables built from the log.

    The runner calls every method in the thread of the write connection, inside a transaction that also holds the
    checkpoint. The same log gives equal tables, whatever the pages in which it comes.
    """

    name: str
    version: int
    """Raised when the tables or their meaning change: they are then built anew."""

    tables: tuple[str, ...]
    """What to drop before building anew."""

    @abstractmethod
    def create(self, connection: sqlite3.Connection) -> None:
        """Make the tables, empty, without the indexes that only reads need."""

    def index(self, connection: sqlite3.Connection) -> None:
        """Make the other indexes, if they are not there: last, because a table is built faster without them."""

    @abstractmethod
    def apply(self, connection: sqlite3.Connection, records: list[RecordedEvent]) -> list[Change]:
        """Bring the tables past the records; returns what changed, in order, for those who watch.

        Raises ``EventError`` on a record that it does not understand: the projection then stops before it.
        """


class ProjectionStopped(NotelogError):
    """The projection stands still; what it shows grows old. The operator must act."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the projection {name} has stopped: {reason}")
        self.name, self.reason = name, reason
