-- What gates told of their decisions. A file of its own: however much is told, a revocation waits for none of it,
-- a start looks at none of its pages, and a copy of the environment is as small as before.

-- Each VM of each Envoy that has told anything, by who it proved to be.
CREATE TABLE reporters (
    id INTEGER PRIMARY KEY,
    -- `certificate`, `join_token` or `none`.
    identity TEXT NOT NULL,
    -- The certificate's name, or the fleet of the join token.
    node TEXT NOT NULL,
    vm TEXT NOT NULL CHECK (length(vm) = 16),
    envoy TEXT NOT NULL,
    audience TEXT NOT NULL,
    version TEXT NOT NULL,
    shadow INTEGER NOT NULL CHECK (shadow IN (0, 1)),
    -- The number that comes next, and the hash of the last batch.
    next INTEGER NOT NULL CHECK (next >= 0),
    head BLOB NOT NULL CHECK (length(head) = 32),
    told INTEGER NOT NULL DEFAULT 0,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    UNIQUE (identity, node, vm)
) STRICT;
CREATE INDEX reporters_by_last ON reporters (last_at);

-- Batches as they came: their entries in order have this hash (docs/decisions.md).
CREATE TABLE batches (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    reporter INTEGER NOT NULL REFERENCES reporters (id) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    prev BLOB NOT NULL CHECK (length(prev) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    -- Who told it, as it stands under the hash.
    header BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    UNIQUE (reporter, first)
) STRICT;
CREATE INDEX batches_by_time ON batches (received_at);

-- Entries: decisions, and what was counted only.
CREATE TABLE entries (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER NOT NULL REFERENCES batches (n) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    -- NULL for what was counted.
    id BLOB CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT NOT NULL,
    agent TEXT,
    action TEXT,
    task TEXT,
    -- As it came.
    entry BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_batch ON entries (batch);
CREATE INDEX entries_by_id ON entries (id) WHERE id IS NOT NULL;
CREATE INDEX entries_by_agent ON entries (agent, n) WHERE agent IS NOT NULL;
CREATE INDEX entries_by_task ON entries (task, n) WHERE task IS NOT NULL;
CREATE INDEX entries_by_code ON entries (code, n);
CREATE INDEX entries_by_action ON entries (action, n) WHERE action IS NOT NULL;

-- What is known to be missing, or was not as it should be. Outlives the entries beside it.
CREATE TABLE gaps (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    reporter INTEGER NOT NULL REFERENCES reporters (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('dropped', 'missing', 'broken', 'altered')),
    sequence INTEGER NOT NULL,
    -- Decisions, for `dropped`; numbers, for `missing`.
    count INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT NOT NULL,
    from_at INTEGER,
    to_at INTEGER,
    noticed_at INTEGER NOT NULL,
    UNIQUE (reporter, kind, sequence, outcome, code)
) STRICT;

CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'what was told is not changed'); END;
CREATE TRIGGER batches_are_not_changed BEFORE UPDATE ON batches
BEGIN SELECT RAISE(ABORT, 'what was told is not changed'); END;
CREATE TRIGGER a_reporters_number_only_rises BEFORE UPDATE OF next ON reporters
WHEN NEW.next < OLD.next
BEGIN SELECT RAISE(ABORT, 'a number never falls'); END;
