"""Why the service ends a websocket: each code says whose fault it is, and whether to come back."""

from msgspec import Struct


class CloseCode(Struct, frozen=True):
    """A code of a close frame. ``come_back``: the client should connect again, and resume."""

    code: int
    meaning: str
    come_back: bool


GOING_AWAY = CloseCode(1001, "The service is shutting down.", True)
TOO_LARGE = CloseCode(1009, "A frame of the client was over 64 KiB.", False)
INTERNAL_ERROR = CloseCode(1011, "Something went wrong inside.", True)
TOO_SLOW = CloseCode(4008, "Nothing was read for 30 s.", True)
BAD_FRAME = CloseCode(4400, "A frame was no JSON object, or of an unknown type.", False)
BAD_TOKEN = CloseCode(4401, "The token is bad or has expired: come back with another.", False)
NOT_ALLOWED = CloseCode(4403, "The token does not allow this.", False)
NO_AUTH_IN_TIME = CloseCode(4408, "No token came within 10 s.", True)
TOO_MANY = CloseCode(4429, "There are too many connections.", True)

CLOSE_CODES = [value for value in list(globals().values()) if isinstance(value, CloseCode)]

# What clients and libraries end with by themselves: in order, gone, a frame that they do not take, no close frame.
OF_CLIENTS = {1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011}
COUNTED = OF_CLIENTS | {close.code for close in CLOSE_CODES}


def counted_as(code: int | None) -> str:
    """What the end of a websocket is counted as: a client may end with any code, and each would be a series."""
    code = code or 1006
    return str(code) if code in COUNTED else "other"
