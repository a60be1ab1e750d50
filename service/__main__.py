"""``python -m service`` is ``notelog``."""

from service.cli import main

if __name__ == "__main__":  # the processes of ``verify`` import this
    main()
