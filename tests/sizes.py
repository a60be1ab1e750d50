"""How much of each fault: quick in `make test`, ci before a change lands, long by hand. One table for all of them.

`NOTELOG_FAULTS=ci` or `=long` chooses a column.
"""

import os

SIZES = ("quick", "ci", "long")
COUNTS = {
    # what                  quick      ci    long
    "kills":               (    6,     60,  1_000),
    "past_events":         (1_000, 100_000, 100_000),  # in the log before the first kill
    "graceful_stops":      (    1,      5,     50),
    "power_cuts":          (   60,    200, 10_000),
    "served_power_cuts":   (    4,     10,    200),  # of them those that are opened with the real service too
    "recorded_answers":    (1_000,  1_000,  3_000),  # while the writes are recorded that the cuts are made of
    "failed_fsyncs":       (    8,     50,    100),  # of the log
    "failed_fsyncs_notes": (    1,      8,     20),
    "broken_disks":        (    1,      2,     10),  # on which no fsync succeeds for a while
    "disk_full_rounds":    (    2,     10,    100),
    "cut_replies":         (1_000,  1_000, 10_000),
    "command_kills":       (    6,     20,    300),  # of each: rebuild, import, backup
    "flips":               (   30,  1_000, 10_000),
    "large_log_flips":     (    0,     50,  1_000),
    "index_flips":         (   20,    200,  2_000),  # in the full-text index
    "flipped_columns":     (   12,    100,    100),  # more than there are: all of them
    "tree_sizes":          (   40,    300,    300),  # of Merkle trees, whose proofs are all checked
    "clock_jumps":         (    6,     60,    600),
    "stopped_s":           (    2,     30,     30),  # SIGSTOP
    "slow_sockets":        (   60,    500,    500),  # of each kind
    "vanished_sockets":    (    0,     50,     50),  # of each kind; takes 40 s whatever the number
    "broken_requests":     (2_000, 10_000, 100_000),
    "history_kills":       (    1,      5,     20),  # in the recorded history of concurrent clients
}  # fmt: skip

SIZE = os.environ.get("NOTELOG_FAULTS") or SIZES[0]
if SIZE not in SIZES:
    raise ValueError(f"NOTELOG_FAULTS={SIZE}: expected one of {', '.join(SIZES)}")
LONG = SIZE == "long"


def count(what: str) -> int:
    """So many of them in this run."""
    return COUNTS[what][SIZES.index(SIZE)]
