"""How the client asks: one request, sent again as often as that is safe and of use.

The problem: an answer can be lost after the change was recorded, and a service that restarts refuses for a moment what
it takes a second later. The way taken: every change has an Idempotency-Key, so that sending it again records it once;
every read may be sent again anyway. So both are, until an answer comes that more tries would not change.
"""

import random
import secrets
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
import stamina
from yarl import URL

from service.client.errors import ClientError, Problem, UnexpectedAnswer, Unreachable, problem_of

T = TypeVar("T")

# A service that restarts is back in seconds; a cluster that lost its leader in 5 to 8.
RETRY_TOTAL_S = 30.0
RETRY_WAIT_FIRST_S = 0.1
RETRY_WAIT_S_MAX = 5.0
RETRY_JITTER_S = 0.3
# The service answers a change within 30 s, whatever happens behind it.
ANSWER_TIMEOUT_S = 35.0
CONNECT_TIMEOUT_S = 10.0
# What a proxy says while the service is away, and what the service says when it may come to something later.
COME_BACK = frozenset({429, 502, 503, 504})


class Requests:
    """The connections to one service, and the last place of its log that was seen, so that no read shows an older one.

    ``token`` can be set to a new one at any time.
    """

    def __init__(self, url: str, token: str | None, retry_total_s: float) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.epoch: str | None = None
        self.position = 0
        self._retry_total_s = retry_total_s
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the pool of connections; none is opened yet."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        # No limit of connections here: feeds hold theirs, and would keep the requests waiting.
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open pool. Raises ``RuntimeError`` before ``open``."""
        if self._session is None:
            raise RuntimeError("use the client as `async with Client(url) as client`")
        return self._session

    def saw(self, epoch: str, position: int) -> None:
        """Remember a place of the log. One of another epoch makes those before it meaningless."""
        self.position = max(self.position, position) if epoch == self.epoch else position
        self.epoch = epoch

    def authorization(self) -> dict[str, str]:
        """The header with the token of now, if there is one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def read(self, path: str, type_: type[T]) -> T:
        """GET a path: everything that this client has seen is in the answer. Cancel: safe. Raises ``ClientError``."""
        return decoded(self.url + path, await self._ask("GET", path), type_)

    async def change(
        self, method: str, path: str, fields: dict[str, Any] | None, expected_version: int | None, key: str | None
    ) -> bytes:
        """Send a change until it is known what became of it. Raises ``ClientError``, which then carries the key.

        Cancel: whether it was recorded is not known; with a key of one's own it can be asked again.
        """
        key = key or secrets.token_urlsafe(16)
        headers = {"Idempotency-Key": key}
        if expected_version is not None:
            headers["If-Match"] = f'"{expected_version}"'
        try:
            # Encoded once: a request is told from another one under the same key by its bytes.
            return await self._ask(method, path, None if fields is None else msgspec.json.encode(fields), headers)
        except ClientError as error:
            error.key = key
            raise

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        async for attempt in stamina.retry_context(
            on=_when_again,
            attempts=None if self._retry_total_s else 1,
            timeout=self._retry_total_s or None,
            wait_initial=RETRY_WAIT_FIRST_S,
            wait_max=RETRY_WAIT_S_MAX,
            wait_jitter=RETRY_JITTER_S,
        ):
            with attempt:
                return await self._ask_once(method, path, body, headers or {})
        raise AssertionError("a try returns or raises")

    async def _ask_once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        sent = {**headers, **self.authorization()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if method == "GET" and self.position:
            sent["Notelog-Min-Position"] = str(self.position)
        url = self.url + path
        try:
            async with self.session.request(method, URL(url, encoded=True), data=body, headers=sent) as response:
                answer = await response.read()
                self._saw_in(response.headers)
                if response.status >= 400:
                    raise problem_of(response.status, answer, response.headers.get("Retry-After"))
                return answer
        except aiohttp.InvalidURL as error:
            raise UnexpectedAnswer(url, f"it is no URL: {error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(self.url, str(error)) from error

    def _saw_in(self, headers: Mapping[str, str]) -> None:
        epoch, position = headers.get("Notelog-Epoch"), headers.get("Notelog-Position", "")
        if epoch and position.isdigit():
            self.saw(epoch, int(position))


def decoded(url: str, answer: bytes, type_: type[T]) -> T:
    """The answer as a ``type_``. Raises ``UnexpectedAnswer``."""
    try:
        return msgspec.json.decode(answer, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnexpectedAnswer(url, str(error)) from error


def _when_again(error: Exception) -> bool | float:
    """Whether a try more can help; a number: after so many seconds, because the service said so."""
    if isinstance(error, Problem) and error.status in COME_BACK:
        return True if error.retry_after_s is None else error.retry_after_s + random.uniform(0, RETRY_JITTER_S)
    return isinstance(error, Unreachable)


def wait_after(failures: int, first_s: float, longest_s: float, at_least_s: float = 0.0) -> float:
    """Seconds to wait: longer after each failure, and never as long as another client that failed with us."""
    return max(at_least_s, min(longest_s, first_s * 2.0 ** min(failures, 30))) * random.uniform(0.5, 1.0)
