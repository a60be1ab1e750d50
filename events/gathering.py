"""Let what comes together go together: work for a thread waits until the loop has nothing more to add to it.

Waking a thread, and its taking turns with the loop at the interpreter's lock, costs more than most of what is asked of
it (see docs/BENCHMARKS.md).
"""

import asyncio
from collections.abc import Callable, Sized

# Who is answered and asks again does so within three turns: one writes the answer, one reads the socket, one runs the
# handler.
QUIET_TURNS = 3


def when_gathered(waiting: Sized, most: int, go: Callable[[], object]) -> None:
    """Call ``go`` once: when ``QUIET_TURNS`` of the loop in a row have brought nothing more, or when ``most`` wait.

    The loop does not rest meanwhile: where nothing else is to be done, this takes some microseconds. What is added in
    each turn is waited for, so ``most`` is what bounds the wait of a loop that is always busy.
    """
    # No function that calls itself by its closure: such a cycle would hold what waited, with its results, until the
    # garbage collector comes.
    asyncio.get_running_loop().call_soon(_look, waiting, most, go, len(waiting), 0)


def _look(waiting: Sized, most: int, go: Callable[[], object], before: int, quiet: int) -> None:
    now = len(waiting)
    quiet = quiet + 1 if now == before else 0
    if quiet == QUIET_TURNS or now >= most:
        go()
    else:
        asyncio.get_running_loop().call_soon(_look, waiting, most, go, now, quiet)
