"""Websockets, the cost of deliveries: one event at a time and in bursts, beside a bare loop and beside PocketBase."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from bench.figures import ratio, spread_of
from bench.report import Report, Table, Target
from bench.sides import Side, beside_bare, beside_pocketbase
from bench.stage import Run, progress, stage

SUBSCRIBERS = 1000
CROWDS = (1, 100, SUBSCRIBERS)
BURST_EVENTS = 1000
BURST_ROUNDS_MAX = 3  # a burst costs the bare loop a million writes
WARM_UP_S = 0.5
WARM_UP_EVENTS = 100
COLUMNS = (
    ("CPU µs/delivery", "cpu_us"),
    ("deliveries/s", "deliveries_per_s"),
    ("frames/delivery", "frames_per_delivery"),
    ("generator's CPU share", "generator_share"),
)
FAIRNESS = "notelog's CPU holds the durable POSTs too; the bare loop sends a frame that notelog sent for one event."
GENERATOR = "The generator's share of a core is that of who subscribes and who writes."

Work = Callable[[Side], int]  # one turn of a side: how many events it delivered to all


class Delivered(Struct, frozen=True):
    """One turn of a broadcast. A delivery is one event that reached one subscriber, alone in its frame or not."""

    cpu_us: float
    deliveries_per_s: float
    frames_per_delivery: float
    generator_share: float


def fanout(run: Run) -> Report:
    """1, 100, 1,000 subscribers, one event at a time: each has reached all before the next is written."""
    tables = []
    for crowd in CROWDS:
        with stage() as place, beside_bare(place, crowd) as both:
            table, beside = compare(run.rounds, both, *one_at_a_time(run), (f"to {crowd:,}", 1.3))
            tables.append(table)
    return Report("fanout", "Fan-out, one event at a time", tables, [beside], [FAIRNESS, GENERATOR], run.how)


def realtime(run: Run) -> Report:
    """The same to 1,000 subscribers, beside the realtime feed of PocketBase."""
    with stage() as place, beside_pocketbase(place, SUBSCRIBERS) as both:
        table, beside = compare(run.rounds, both, *one_at_a_time(run), (f"to {SUBSCRIBERS:,}", 0.33))
    remarks = [
        "Both sides' CPU holds the writes too; PocketBase uses both cores.",
        "PocketBase's subscribers are the dearer clients: streams of server-sent events in the process that writes, "
        "which read every byte; notelog's look at the heads of frames. Deliveries/s suffer from that, CPU does not.",
        GENERATOR,
    ]
    return Report("realtime", "Fan-out beside PocketBase's realtime feed", [table], [beside], remarks, run.how)


def burst(run: Run) -> Report:
    """1,000 events as fast as 64 clients write them, to 1,000 subscribers; the bare loop sends each one by itself."""
    rounds = min(run.rounds, BURST_ROUNDS_MAX)
    with stage() as place, beside_bare(place, SUBSCRIBERS) as both:
        table, beside = compare(rounds, both, in_bursts(WARM_UP_EVENTS), in_bursts(BURST_EVENTS), ("in bursts", 0.15))
    how = f"{rounds} rounds of one burst a turn."
    return Report("burst", "Fan-out in bursts of 1,000 events", [table], [beside], [FAIRNESS, GENERATOR], how)


def one_at_a_time(run: Run) -> tuple[Work, Work]:
    """A warm-up, and a turn: one event after the other for so many seconds."""

    def work(side: Side, seconds: float) -> int:
        ends, events = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            side.one()
            events += 1
        return events

    return partial(work, seconds=WARM_UP_S), partial(work, seconds=run.seconds)


def in_bursts(events: int) -> Work:
    """A turn of one burst."""

    def work(side: Side) -> int:
        side.many(events)
        return events

    return work


def compare(
    rounds: int, both: tuple[Side, Side], warm_up: Work, work: Work, most: tuple[str, float]
) -> tuple[Table, Target]:
    """Takes notelog and another in turn, after a warm-up of each. `most`: how it is delivered, and the target."""
    taken: tuple[list[Delivered], list[Delivered]] = ([], [])
    for side in both:
        warm_up(side)
    for round_ in range(rounds):
        for samples, side in zip(taken, both, strict=True):
            progress(f"round {round_ + 1} of {rounds}: {side.server.name}")
            samples.append(delivered(side, work))
    names = [side.server.name.replace("bare", "bare loop") for side in both]
    rows = [
        [name, *(str(spread_of(samples, figure)) for _, figure in COLUMNS)]
        for name, samples in zip(names, taken, strict=True)
    ]
    columns = [f"{both[0].crowd:,} subscribers", *(column for column, _ in COLUMNS)]
    how, limit = most
    return Table(columns, rows), Target(f"CPU per delivery {how} ÷ {names[1]}", ratio(*taken, "cpu_us"), limit)


def delivered(side: Side, work: Work) -> Delivered:
    """One turn of one side."""
    before, cpu_s = side.figures(), side.server.cpu_s()
    deliveries = work(side) * side.crowd
    after, cpu_s = side.figures(), side.server.cpu_s() - cpu_s
    clock_s = after.clock_s - before.clock_s
    return Delivered(
        cpu_us=cpu_s / deliveries * 1e6,
        deliveries_per_s=deliveries / clock_s,
        frames_per_delivery=(after.frames - before.frames) / deliveries,
        generator_share=(after.cpu_s - before.cpu_s) / clock_s,
    )
