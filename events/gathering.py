"""Let what comes together go together: work for a thread waits until the loop has nothing more to add to it.

Waking a thread, and its taking turns with the loop at the interpreter's lock, costs more than most of what is asked of
it (see docs/BENCHMARKS.md).
"""

import asyncio
from collections.abc import Callable, Sized

# Who is answered and asks again does so within three turns: one writes the answer, one reads the socket, one runs the
# handler.
QUIET_TURNS = 3
# Nobody is waited for longer than this, though somebody comes in each turn: a loop that is busy has long turns.
TURNS_MAX = 12


def when_gathered(waiting: Sized, go: Callable[[], object]) -> None:
    """Call ``go`` once: when ``QUIET_TURNS`` of the loop in a row have brought nothing more, or after ``TURNS_MAX``.

    The loop does not rest meanwhile: where nothing else is to be done, this takes some microseconds.
    """
    # No function that calls itself by its closure: such a cycle would hold what waited, with its results, until the
    # garbage collector comes.
    asyncio.get_running_loop().call_soon(_look, waiting, go, len(waiting), 0, 1)


def _look(waiting: Sized, go: Callable[[], object], before: int, quiet: int, turns: int) -> None:
    now = len(waiting)
    quiet = quiet + 1 if now == before else 0
    if quiet == QUIET_TURNS or turns == TURNS_MAX:
        go()
    else:
        asyncio.get_running_loop().call_soon(_look, waiting, go, now, quiet, turns + 1)
