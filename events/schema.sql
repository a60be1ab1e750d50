-- The log: the truth. One file, events.db. Any SQLite tool may read it; nothing may change it.

CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY,        -- dense, 1, 2, 3, …; given by the one writer, held by the trigger below
    note_id  INTEGER NOT NULL,           -- the stream
    version  INTEGER NOT NULL,           -- the event's place in the life of its note, 1, 2, 3, …
    type     TEXT    NOT NULL,           -- NoteCreated, NoteEdited, NoteDeleted, NoteRestored
    schema   INTEGER NOT NULL,           -- the number of the payload's shape
    at       INTEGER NOT NULL,           -- microseconds since 1970 UTC, the writer's clock as it was
    actor    TEXT    NOT NULL,           -- who
    command  BLOB,                       -- 16 bytes: hash of (subject, Idempotency-Key); null without a key
    part     INTEGER NOT NULL,           -- 0; room for several events of one command
    request  BLOB,                       -- 16 bytes: hash of what was asked under the key
    meta     TEXT    NOT NULL,           -- JSON: request id, traceparent, node
    salt     BLOB    NOT NULL,           -- 16 random bytes
    data     TEXT    NOT NULL,           -- the payload's JSON as first written
    UNIQUE (note_id, version)
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS events_by_command ON events (command, part) WHERE command IS NOT NULL;

CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,              -- epoch, parent_epoch, parent_position, created, stream
    value TEXT NOT NULL
) STRICT;

-- INSERT OR REPLACE slips past the triggers on UPDATE and DELETE, so the INSERT itself is held to the next position,
-- the next version and a new command: it has nothing to replace.
CREATE TRIGGER IF NOT EXISTS events_are_dense BEFORE INSERT ON events
WHEN NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'a position must be the last one plus 1'); END;

CREATE TRIGGER IF NOT EXISTS versions_are_dense BEFORE INSERT ON events
WHEN NEW.version <> (SELECT coalesce(max(version), 0) + 1 FROM events WHERE note_id = NEW.note_id)
BEGIN SELECT RAISE(ABORT, 'a version must be the last one of its note plus 1'); END;

CREATE TRIGGER IF NOT EXISTS commands_are_new BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE command = NEW.command AND part = NEW.part)
BEGIN SELECT RAISE(ABORT, 'a command appends once'); END;

CREATE TRIGGER IF NOT EXISTS events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

CREATE TRIGGER IF NOT EXISTS events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
