"""The websockets that may be open at the same time."""

import ipaddress
from collections import Counter


class Places:
    """Places for websockets: in all, and for one address (None: no limit of its own)."""

    def __init__(self, places_max: int, places_per_address_max: int | None) -> None:
        self._max = places_max
        self._per_address_max = places_per_address_max
        self._taken = 0
        self._taken_by: Counter[str] = Counter()

    def take(self, remote: str | None) -> bool:
        """Take a place for an address; False when there is none."""
        address = counted_address(remote)
        if self._taken >= self._max:
            return False
        if self._per_address_max is not None and self._taken_by[address] >= self._per_address_max:
            return False
        self._taken += 1
        self._taken_by[address] += 1
        return True

    def leave(self, remote: str | None) -> None:
        """Give the place back."""
        address = counted_address(remote)
        self._taken -= 1
        self._taken_by[address] -= 1
        if not self._taken_by[address]:
            del self._taken_by[address]


def counted_address(remote: str | None) -> str:
    """What an address is counted as: an IPv6 client has the lower 64 bits to itself, and can take any of them."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))
