"""Files that are served as they are. Only what the table names is served, so no path leads to another file."""

import asyncio
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from service.http import requests


class Files:
    """Some files by the names under which they are served."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    async def answer(self, request: web.Request, name: str, headers: Mapping[str, str] | None = None) -> web.Response:
        """The file: 200, or 304 when the client has it. Raises ``HTTPNotFound``."""
        path = self._paths.get(name)
        if path is None:
            raise web.HTTPNotFound
        stat = path.stat()
        # no-cache: a browser keeps the file and asks each time, so that a new version is seen at once.
        all_headers = {
            "ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
            "Cache-Control": "no-cache",
            **(headers or {}),
        }
        if requests.matches(request, all_headers["ETag"]):
            return web.Response(status=304, headers=all_headers)
        all_headers["Content-Type"] = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return web.Response(body=await asyncio.to_thread(path.read_bytes), headers=all_headers)
