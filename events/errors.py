"""Everything that can go wrong below the service, as one tree.

NotelogError
├── LogError                     an append was not made, or nobody knows
│   ├── WrongExpectedPosition    somebody else changed the note: read it again, decide again
│   ├── CommandReused            the command's key was used for another request: the caller's mistake
│   ├── LogBusy                  the queue is full: come back in a moment
│   ├── LogUnavailable           the log takes no writes now: nothing was appended, come back
│   └── OutcomeUnknown           the storage failed while committing: ask again with the same command
├── FolderError                  the data folder cannot be used: the operator must act
│   ├── FolderInUse              another process has it
│   ├── NotANotelogFile          a file there is something else
│   ├── NewerFormat              it was written by a newer version
│   ├── AnotherEngine            it holds the log of another engine
│   └── BrokenLog                what is in the log cannot be
├── ClusterError                 the distributed log cannot be used: the operator must act
│   ├── ClusterUnreachable       no server answers
│   ├── ClusterRefused           the servers do not let us in, or are not those that we trust
│   ├── StreamRefused            the stream is not fit for a log
│   └── StreamImporting          the stream is being filled by an import
└── EventError                   an event cannot be understood
    ├── NewerEvent               its type or schema is newer than this program: upgrade
    └── MalformedEvent           its payload does not fit its schema
"""


class NotelogError(Exception):
    """The root of the tree. ``str(error)`` is fit for an operator's eyes: what was wrong, where, what to do."""


class LogError(NotelogError):
    """An append was not made, or nobody knows whether it was."""


class WrongExpectedPosition(LogError):
    """The last event of the note is not where the caller expected it. Nothing was appended."""

    def __init__(self, note_id: int | None, expected: int, actual: int) -> None:
        super().__init__(f"note {note_id}: expected its last event at position {expected}, got {actual}")
        self.note_id, self.expected, self.actual = note_id, expected, actual


class CommandReused(LogError):
    """The command is in the log already, for another request. Nothing was appended."""

    def __init__(self, position: int) -> None:
        super().__init__(f"this command was used for another request, recorded at position {position}")
        self.position = position


class LogBusy(LogError):
    """More is waiting to be written than the queue takes. Nothing was appended."""

    def __init__(self, events: int, queued_bytes: int) -> None:
        super().__init__(f"the log's queue is full: {events} events, {queued_bytes} bytes are waiting")
        self.events, self.queued_bytes = events, queued_bytes


class LogUnavailable(LogError):
    """The log takes no writes at the moment. Nothing was appended; reads go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the log takes no writes: {reason}")
        self.reason = reason


class OutcomeUnknown(LogError):
    """The commit was begun and its end is not known: the event may be in the log or not."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"it is not known whether the event was recorded: {reason}")
        self.reason = reason


class FolderError(NotelogError):
    """The data folder cannot be used. The operator must act."""


class FolderInUse(FolderError):
    """Another process has this data folder."""

    def __init__(self, path: str, holder: str) -> None:
        super().__init__(f"{path} is in use by another notelog process ({holder or 'unknown'}); stop that one first")
        self.path = path


class NotANotelogFile(FolderError):
    """The file is a database of something else, or no database."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} is not notelog's: {why}; give another --data folder")
        self.path = path


class NewerFormat(FolderError):
    """The file was written by a newer version of notelog."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(f"{path} has format {found}, this version knows {known}: upgrade notelog")
        self.path, self.found, self.known = path, found, known


class AnotherEngine(FolderError):
    """The file holds a log of the other kind: an embedded one, or a replica of a distributed one."""

    def __init__(self, path: str, is_replica: bool) -> None:
        found, needed = (
            ("a replica of a stream", "--log nats://…") if is_replica else ("an embedded log", "--log sqlite")
        )
        super().__init__(f"{path} is {found}: start with {needed}, or move the log with notelog export and import")
        self.path, self.is_replica = path, is_replica


class BrokenLog(FolderError):
    """What is in the log contradicts the rules of the log: it was damaged or edited."""


class ClusterError(NotelogError):
    """The distributed log cannot be used. The operator must act."""


class ClusterUnreachable(ClusterError):
    """No server of the distributed log answers."""

    def __init__(self, servers: str, why: str) -> None:
        super().__init__(f"none of the servers {servers} can be used: {why}")
        self.servers, self.why = servers, why


class ClusterRefused(ClusterError):
    """The servers of the distributed log answer and do not let us in, or are not those that we trust."""

    def __init__(self, servers: str, why: str) -> None:
        super().__init__(f"the servers {servers} cannot be used as the settings say: {why}")
        self.servers, self.why = servers, why


class StreamImporting(ClusterError):
    """The stream is being filled by an import; half a log must not be served."""

    def __init__(self, stream: str, epoch: str) -> None:
        super().__init__(
            f"the import of the log {epoch} into the stream {stream} is not finished: wait for it, or run it again"
        )
        self.stream, self.epoch = stream, epoch


class StreamRefused(ClusterError):
    """The stream has settings with which it could lose or change events."""

    def __init__(self, stream: str, setting: str, expected: object, found: object) -> None:
        super().__init__(f"the stream {stream} is not fit for a log: expected {setting} to be {expected}, got {found}")
        self.stream, self.setting, self.expected, self.found = stream, setting, expected, found


class EventError(NotelogError):
    """An event cannot be understood; whoever follows the log must stop before it."""


class NewerEvent(EventError):
    """The event's type or schema is unknown here."""

    def __init__(self, position: int, type_: str, schema: int) -> None:
        super().__init__(
            f"event {position} ({type_}, schema {schema}) was written by a newer version: upgrade this one"
        )
        self.position, self.type, self.schema = position, type_, schema


class MalformedEvent(EventError):
    """The event's payload does not fit its schema."""

    def __init__(self, position: int, type_: str, why: str) -> None:
        super().__init__(f"event {position} ({type_}) cannot be read: {why}")
        self.position, self.type = position, type_
