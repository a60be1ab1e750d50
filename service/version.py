"""Which version of notelog this is."""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    try:
        return version("notelog")
    except PackageNotFoundError:
        return "0+source"  # run from its source, without being installed


VERSION = _version()
