"""From a command to its event: state, decide, append; again when another node was faster.

The problem: a command must be judged on the note's newest state, a retry must be told from a new command whatever
happened since, and neither may cost a second look on the way that nearly all commands take. The way taken: commands on
one note wait in line, and the next is judged on the state that the last has left, in memory. The log looks at the
command's key itself when it appends, in the same transaction; so here the key is looked up only when a command would
*not* append, because it is refused or changes nothing. Either way a repeat is told before anything else is answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct
from msgspec.structs import replace

from events import codec
from events.errors import CommandReused, LogBusy, LogUnavailable, WrongExpectedPosition
from events.log import EventLog
from events.note import Event, Note, Payload, evolve
from events.record import NewEvent, RecordedEvent
from events.timestamps import rfc3339
from projections.notes import decode_note
from projections.projection import ProjectionStopped
from projections.queries import Queries
from service.errors import LineFull, LostRaces, NoSuchNote, Refused
from service.http.freshness import Freshness
from service.notes.commands import Change, Circumstances, Command, Condition, CreateNote, RevertNote, decide

# How often a command is decided again because another node was faster; after that the client decides (409).
RACES_MAX = 8
# How many changes may wait for one note. At one commit each, about a second's worth.
LINE_COMMANDS_MAX = 1000
# Nothing is appended now; but under the same key something may have been, and then that is the answer.
NOT_NOW = (Refused, LogBusy, LogUnavailable, ProjectionStopped)


class Intent(Struct, frozen=True):
    """Who asks for a change, and under which key. ``command`` and ``request``: see ``NewEvent``."""

    actor: str
    command: bytes | None = None
    request: bytes | None = None
    meta: str = "{}"
    condition: Condition | None = None


class Outcome(Struct, frozen=True):
    """What became of a command: the note as it is then. ``position``: of its event, or of the note's last one."""

    note: Note
    replayed: bool = False


class CommandLoop:
    """Executes commands, each note's one after the other."""

    def __init__(self, log: EventLog, queries: Queries, freshness: Freshness, condition_required: bool = False) -> None:
        self._log = log
        self._queries = queries
        self._freshness = freshness
        self._condition_required = condition_required
        self._lines: dict[int, _Line] = {}

    async def create(self, intent: Intent, parse: Callable[[], CreateNote]) -> Outcome:
        """Make a note. ``parse`` gives the command or raises ``Refused``: the key is told before that counts.

        Cancel: the append that began goes on; ask again with the same key. Raises ``Refused``, ``LogError``.
        """
        try:
            return await self._append(intent, None, self._decide(parse(), None, intent))
        except NOT_NOW:
            if repeat := await self._repeat(intent):
                return repeat
            raise

    async def change(self, note_id: int, intent: Intent, parse: Callable[[], Change]) -> Outcome:
        """Change a note, after those who came before. Cancel, and what it raises: as ``create``."""
        try:
            command = parse()
            async with self._in_line(note_id) as line:
                return await self._judge(line, note_id, intent, command)
        except NOT_NOW:
            if repeat := await self._repeat(intent):
                return repeat
            raise

    async def _judge(self, line: "_Line", note_id: int, intent: Intent, command: Change) -> Outcome:
        for _ in range(RACES_MAX):
            note = line.note or await self._state(note_id)
            line.note = None  # until the append has answered, nobody knows
            payload = self._decide(await self._looked_up(command, note), note, intent)
            if payload is None:
                line.note = note
                return await self._repeat(intent) or Outcome(_there(note))
            try:
                outcome = await self._append(intent, note, payload)
            except WrongExpectedPosition as lost:
                await self._freshness.reach(lost.actual)
                continue
            if not outcome.replayed:
                line.note = outcome.note
            return outcome
        raise LostRaces(note_id, RACES_MAX)

    def _decide(self, command: Command, note: Note | None, intent: Intent) -> Payload | None:
        now = rfc3339(time.time_ns() // 1000)
        return decide(command, note, Circumstances(intent.actor, now, intent.condition, self._condition_required))

    async def _state(self, note_id: int) -> Note:
        """The note as of everything this process knows to be in the log."""
        await self._freshness.reach(self._freshness.needed_for(note_id))
        row = await self._queries.note(note_id)
        if row is None:
            raise NoSuchNote(note_id)
        return decode_note(row.body)

    async def _append(self, intent: Intent, note: Note | None, payload: Payload | None) -> Outcome:
        assert payload is not None
        type_, schema, data = codec.encode(payload)
        note_id, expected = (note.id, note.position) if note else (None, 0)
        new = NewEvent(
            note_id, type_, schema, intent.actor, data, command=intent.command, request=intent.request, meta=intent.meta
        )
        appended = await self._log.append(new, expected)
        if appended.repeated:
            return await self._replay(appended.record)
        return Outcome(evolve(note, _event(appended.record, payload)))

    async def _repeat(self, intent: Intent) -> Outcome | None:
        """The answer of the first time, if the intent's key has appended something."""
        if intent.command is None or (record := await self._log.find(intent.command)) is None:
            return None
        if record.request != intent.request:
            raise CommandReused(record.position)
        return await self._replay(record)

    async def _replay(self, record: RecordedEvent) -> Outcome:
        """The answer of the first time: the note as it was after the record, folded from its events."""
        return Outcome(await self._note_at(record.note_id, record.version), replayed=True)

    async def _looked_up(self, command: Change, note: Note) -> Change:
        """The command with what it needs to know of the note's past."""
        if isinstance(command, RevertNote) and command.version <= note.version:
            return replace(command, target=await self._note_at(note.id, command.version))
        return command

    async def _note_at(self, note_id: int, at: int) -> Note:
        """The note as it was at a version, folded from its events. There must be that version."""
        note: Note | None = None
        while (version := note.version if note else 0) < at:
            for earlier in await self._log.read_stream(note_id, version, at - version):
                note = evolve(note, codec.decode(earlier))
        return _there(note)

    @asynccontextmanager
    async def _in_line(self, note_id: int) -> AsyncIterator["_Line"]:
        """Wait until it is our turn to change the note: first come, first served."""
        line = self._lines.setdefault(note_id, _Line(asyncio.Lock()))
        if line.commands >= LINE_COMMANDS_MAX:
            raise LineFull(note_id, line.commands)
        line.commands += 1
        try:
            async with line.turn:
                yield line
        finally:
            line.commands -= 1
            if line.commands == 0:
                del self._lines[note_id]


class _Line(Struct):
    """Those who want to change one note. ``note``: its state as the last of them has left it, if that is known."""

    turn: asyncio.Lock
    commands: int = 0
    note: Note | None = None


def _event(record: RecordedEvent, payload: Payload) -> Event:
    return Event(record.position, record.note_id, record.version, rfc3339(record.at), record.actor, payload)


def _there(note: Note | None) -> Note:
    assert note is not None
    return note
