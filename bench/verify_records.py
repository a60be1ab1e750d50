"""The part of `notelog verify` that the plain loop over leaves does too: hash every record, compare with the ledger.

`python -m bench.verify_records FOLDER`.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from events.folder import DataFolder
from events.store import select_head
from projections.rebuild import open_log_file, select_epoch
from projections.verification import Task, verify_log


def main() -> None:
    """Ends with 1 when something does not hold."""
    folder = DataFolder(Path(sys.argv[1]))
    with closing(open_log_file(folder.events)) as log:
        task = Task(folder.path, select_epoch(log), select_head(log), in_use=False)
    sys.exit(bool(verify_log(task, lambda position: None).count))


if __name__ == "__main__":
    main()
