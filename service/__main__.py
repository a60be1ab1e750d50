"""``python -m service`` is ``notelog``."""

from service.cli import main

main()
