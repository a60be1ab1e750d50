"""``python -m service`` is ``notelog``."""

from service.cli import main

if __name__ == "__main__":  # a second process of ``verify`` imports this
    main()
