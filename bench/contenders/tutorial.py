"""The tutorial's application, written anew with as few repairs as make it run.

Kept from it: SQLAlchemy with one session that blocks the event loop, aiohttp on asyncio's own loop, answers as indented
JSON, a POST that answers the whole collection. Repaired: GET of the collection and of one note (they named attributes
that do not exist), the 404 of PUT and DELETE, and the tables are made at start. SQLite is at its default settings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import Session, declarative_base, scoped_session, sessionmaker

from bench.contenders.listening import serve

Base: Any = declarative_base()
FIELDS = ("title", "description", "created_at", "created_by", "priority")


class Note(Base):
    """A note, as a row."""

    __tablename__ = "notes"
    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    description = Column(String(50))
    created_at = Column(String(50))
    created_by = Column(String(50))
    priority = Column(Integer)


class Notes:
    """The handlers: each one keeps the event loop for as long as the database takes."""

    def __init__(self, session: scoped_session[Session]) -> None:
        """One session serves all requests."""
        self._session = session

    async def collection(self, request: web.Request) -> web.Response:
        """GET /notes."""
        return self._collection(200)

    async def create(self, request: web.Request) -> web.Response:
        """POST /notes."""
        data = await request.json()
        self._session.add(Note(**{field: data[field] for field in FIELDS}))
        self._session.commit()
        return self._collection(201)

    async def read(self, request: web.Request) -> web.Response:
        """GET /notes/{id}."""
        return answer(200, render(self._note(request)))

    async def edit(self, request: web.Request) -> web.Response:
        """PUT /notes/{id}."""
        data = await request.json()
        note = self._note(request)
        for field in FIELDS:
            setattr(note, field, data[field])
        self._session.add(note)
        self._session.commit()
        return answer(201, render(note))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /notes/{id}."""
        self._session.delete(self._note(request))
        self._session.commit()
        return web.Response(status=204)

    def _note(self, request: web.Request) -> Note:
        note = self._session.query(Note).filter(Note.id == request.match_info["id"]).first()
        if not note:
            raise web.HTTPNotFound
        return note

    def _collection(self, status: int) -> web.Response:
        return answer(status, {"notes": [render(note) for note in self._session.query(Note)]})


def render(note: Note) -> dict[str, Any]:
    """A note as JSON's dictionary."""
    return {field: getattr(note, field) for field in ("id", *FIELDS)}


def answer(status: int, data: Any) -> web.Response:
    """Indented JSON, as the tutorial has it."""
    return web.Response(status=status, body=json.dumps(data, indent=4).encode(), content_type="application/json")


def application(session: scoped_session[Session]) -> web.Application:
    """The routes."""
    notes = Notes(session)
    app = web.Application()
    app.router.add_get("/notes", notes.collection)
    app.router.add_post("/notes", notes.create)
    app.router.add_get("/notes/{id}", notes.read)
    app.router.add_put("/notes/{id}", notes.edit)
    app.router.add_delete("/notes/{id}", notes.delete)
    return app


def main() -> None:
    """Serves the folder that is named, with so many notes to begin with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notes", type=int)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    engine = create_engine(f"sqlite:///{given.data / 'stuff.db'}")
    Base.metadata.create_all(bind=engine)
    session = scoped_session(sessionmaker(autocommit=False, autoflush=False, bind=engine))
    sample = {"title": "note", "description": "sample notes", "created_at": "2017-08-23 00:00", "priority": 4}
    session.add_all(Note(**sample, created_by="apcelent") for _ in range(given.notes))
    session.commit()
    asyncio.run(serve(application(session)))


if __name__ == "__main__":
    main()
