"""The same notes as most people would write them: aiohttp, aiosqlite, a table, one transaction a request, no log."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import uvloop
from aiohttp import web

from bench.contenders.listening import serve

FIELDS = ("title", "description", "created_at", "created_by", "priority")
DEFAULTS = {"description": "", "created_at": "", "created_by": "anonymous", "priority": 0}
SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY, title TEXT NOT NULL, description TEXT NOT NULL,
    created_at TEXT NOT NULL, created_by TEXT NOT NULL, priority INTEGER NOT NULL)
"""


class Notes:
    """The handlers. The lock keeps the statements of two requests out of one transaction."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        """One connection serves all requests."""
        self._database = database
        self._writing = asyncio.Lock()

    async def create(self, request: web.Request) -> web.Response:
        """POST /notes."""
        values = DEFAULTS | await request.json()
        sql = (
            "INSERT INTO notes (title, description, created_at, created_by, priority)"
            " VALUES (?, ?, ?, ?, ?) RETURNING *"
        )
        row = await self._write(sql, [values[field] for field in FIELDS])
        return web.json_response(dict(row), status=201, headers={"Location": f"/notes/{row['id']}"})

    async def edit(self, request: web.Request) -> web.Response:
        """PUT /notes/{id}."""
        values = DEFAULTS | await request.json()
        sql = (
            "UPDATE notes SET title = ?, description = ?, created_at = ?, created_by = ?, priority = ?"
            " WHERE id = ? RETURNING *"
        )
        row = await self._write(sql, [*(values[field] for field in FIELDS), int(request.match_info["id"])])
        return web.json_response(dict(row))

    async def read(self, request: web.Request) -> web.Response:
        """GET /notes/{id}."""
        identity = int(request.match_info["id"])
        async with self._database.execute("SELECT * FROM notes WHERE id = ?", (identity,)) as cursor:
            row = await cursor.fetchone()
        if row is None:
            raise web.HTTPNotFound
        return web.json_response(dict(row))

    async def page(self, request: web.Request) -> web.Response:
        """GET /notes."""
        limit = int(request.query.get("limit", "100"))
        async with self._database.execute("SELECT * FROM notes ORDER BY id LIMIT ?", (limit,)) as cursor:
            rows = await cursor.fetchall()
        return web.json_response({"notes": [dict(row) for row in rows]})

    async def _write(self, sql: str, values: list[Any]) -> sqlite3.Row:
        async with self._writing:
            async with self._database.execute(sql, values) as cursor:
                row = await cursor.fetchone()
            await self._database.commit()
        if row is None:
            raise web.HTTPNotFound
        return row


async def run(data: Path) -> None:
    """Serves the folder's database until told to end."""
    async with aiosqlite.connect(data / "crud.db") as database:
        database.row_factory = sqlite3.Row
        await database.execute("PRAGMA journal_mode = WAL")
        await database.execute("PRAGMA synchronous = FULL")
        await database.execute(SCHEMA)
        await database.commit()
        notes = Notes(database)
        app = web.Application()
        app.router.add_post("/notes", notes.create)
        app.router.add_get("/notes", notes.page)
        app.router.add_get("/notes/{id}", notes.read)
        app.router.add_put("/notes/{id}", notes.edit)
        await serve(app)


def main() -> None:
    """Serves the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(parser.parse_args().data))


if __name__ == "__main__":
    main()
