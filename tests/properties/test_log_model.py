"""The log against a model: whatever is asked of it, in any order, it does what a list and two dictionaries would."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from events.errors import CommandReused, WrongExpectedPosition
from events.log import Appended, EventLog
from events.record import NewEvent, RecordedEvent
from tests.engines import Engine, creation, edit, everything

NOTES, COMMANDS = 4, 3

notes = st.none() | st.integers(1, NOTES)
commands = st.none() | st.integers(1, COMMANDS)
requests = st.integers(1, 2)
slips = st.sampled_from([0, 0, 0, 0, -1, 1])  # how far the expected position is off
appends = st.tuples(st.just("append"), notes, commands, requests, slips)
steps = st.one_of(
    appends,
    st.tuples(st.just("together"), st.lists(appends, min_size=2, max_size=6)),
    st.tuples(st.just("read"), st.integers(0, 12), st.integers(1, 5)),
    st.tuples(st.just("stream"), st.integers(1, NOTES), st.integers(0, 4), st.integers(1, 5)),
    st.just(("open again",)),
)


@dataclass
class Model:
    """What the log must look like."""

    records: list[RecordedEvent] = field(default_factory=list)

    def stream(self, note_id: int | None) -> list[RecordedEvent]:
        """The records of a note."""
        return [record for record in self.records if record.note_id == note_id]

    def event(self, note_id: int | None, command: int | None, request: int, slip: int) -> tuple[NewEvent, int]:
        """An event and its expected position, to be given to both."""
        name = command.to_bytes(16, "big") if command else None
        asked = request.to_bytes(16, "big") if command else None
        stream = self.stream(note_id)
        if not stream:
            return creation(name, asked), 0
        return edit(stream[0].note_id, name, asked), stream[-1].position + slip

    def append(self, event: NewEvent, expected: int, outcome: object) -> None:
        """See that the log's outcome is the one that the rules ask for, and take it over."""
        first = next((record for record in self.records if event.command and record.command == event.command), None)
        last = ([None, *self.stream(event.note_id)])[-1]
        actual = last.position if last else 0
        if first and first.request == event.request:
            assert outcome == Appended(first, repeated=True)
        elif first:
            assert isinstance(outcome, CommandReused)
            assert outcome.position == first.position
        elif expected != actual:
            assert isinstance(outcome, WrongExpectedPosition)
            assert (outcome.note_id, outcome.expected, outcome.actual) == (event.note_id, expected, actual)
        else:
            assert isinstance(outcome, Appended)
            self.take(outcome.record, event, last)

    def take(self, record: RecordedEvent, event: NewEvent, last: RecordedEvent | None) -> None:
        """A record that was appended has the next position, version and note id, and everything of its event."""
        note_id = event.note_id or 1 + max((record.note_id for record in self.records), default=0)
        assert (record.position, record.note_id) == (len(self.records) + 1, note_id)
        assert record.version == (last.version + 1 if last else 1)
        for name in ("type", "schema", "actor", "data", "command", "part", "request", "meta"):
            assert getattr(record, name) == getattr(event, name)
        assert len(record.salt) == 16
        self.records.append(record)


async def outcome_of(log: EventLog, event: NewEvent, expected: int) -> object:
    """What the append returned or raised."""
    try:
        return await log.append(event, expected)
    except (CommandReused, WrongExpectedPosition) as error:
        return error


async def together(log: EventLog, model: Model, attempts: list[tuple[NewEvent, int]]) -> None:
    """Several at once. Whatever order the log gave them, it is one that the rules allow."""
    outcomes = await asyncio.gather(*(outcome_of(log, *attempt) for attempt in attempts))
    fresh = [
        (outcome.record.position, attempt, outcome)
        for attempt, outcome in zip(attempts, outcomes, strict=True)
        if isinstance(outcome, Appended) and not outcome.repeated
    ]
    for _, attempt, outcome in sorted(fresh, key=lambda each: each[0]):
        model.append(*attempt, outcome)
    for (event, expected), outcome in zip(attempts, outcomes, strict=True):
        if isinstance(outcome, Appended):
            assert outcome.record in model.records
        elif isinstance(outcome, CommandReused):
            assert model.records[outcome.position - 1].command == event.command
            assert model.records[outcome.position - 1].request != event.request
        else:
            assert isinstance(outcome, WrongExpectedPosition)
            assert outcome.actual != expected


async def run(engine: Engine, plan: list[tuple[object, ...]]) -> None:
    """Do the steps to the log and to the model."""
    model = Model()
    log = await engine.open_log()
    try:
        for name, *arguments in plan:
            if name == "append":
                event, expected = model.event(*arguments)  # type: ignore[arg-type]
                model.append(event, expected, await outcome_of(log, event, expected))
            elif name == "together":
                await together(log, model, [model.event(*each[1:]) for each in arguments[0]])  # type: ignore[attr-defined]
            elif name == "read":
                after, limit = arguments
                assert await log.read(after, limit) == model.records[after : after + limit]  # type: ignore[operator, arg-type]
            elif name == "stream":
                note_id, after, limit = arguments
                expected_page = model.stream(note_id)[after : after + limit]  # type: ignore[operator, arg-type]
                assert await log.read_stream(note_id, after, limit) == expected_page  # type: ignore[arg-type]
            else:
                await log.close()
                log = await engine.open_log()
            assert log.head == len(model.records)
        assert await everything(log) == model.records
    finally:
        await log.close()


@settings(max_examples=60)
@given(plan=st.lists(steps, max_size=25))
def test_the_log_does_what_its_model_does(engine: Engine, plan: list[tuple[object, ...]]) -> None:
    """Appends alone and together, right and wrong, repeated and reused, reads, restarts: all as the rules say."""
    engine.forget()
    asyncio.run(run(engine, plan))
