-- The control plane of one environment. What must never happen is a constraint here, so that a
-- mistake in the code is an error and not a state.

CREATE TABLE environment (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL CHECK (name <> ''),
    issuer TEXT NOT NULL CHECK (issuer <> ''),
    audience TEXT NOT NULL CHECK (audience <> ''),
    -- What widens or reopens takes two operators.
    two_persons INTEGER NOT NULL CHECK (two_persons IN (0, 1)),
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    hash_key BLOB NOT NULL CHECK (length(hash_key) = 16),
    root_version INTEGER NOT NULL CHECK (root_version >= 0),
    keys_version INTEGER NOT NULL CHECK (keys_version > 0),
    -- The newest `issued_at` signed; it never falls.
    issued_at INTEGER NOT NULL,
    batch_life INTEGER NOT NULL CHECK (batch_life > 0),
    policy INTEGER NOT NULL CHECK (policy >= 0),
    -- Why issuance is closed; NULL while it is open.
    issuance_closed TEXT
) STRICT;

CREATE TRIGGER environment_positions_only_rise BEFORE UPDATE ON environment
WHEN NEW.epoch < OLD.epoch
  OR (NEW.epoch = OLD.epoch AND NEW.sequence < OLD.sequence)
  OR NEW.issued_at < OLD.issued_at
  OR NEW.root_version < OLD.root_version
  OR NEW.keys_version < OLD.keys_version
BEGIN SELECT RAISE(ABORT, 'a position never falls'); END;

CREATE TABLE roots (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    envelope TEXT NOT NULL
) STRICT;

CREATE TABLE issuer_keys (
    public BLOB PRIMARY KEY CHECK (length(public) = 32),
    issuer TEXT NOT NULL,
    algorithm TEXT NOT NULL CHECK (algorithm IN ('EdDSA', 'Ed25519')),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL CHECK (not_after > not_before)
) STRICT;

-- Revocations in force, by the hash that gates know them under.
CREATE TABLE revocations (
    key INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    -- NULL: for good.
    below INTEGER,
    drop_after INTEGER NOT NULL
) STRICT;

-- The signed deltas that followers may still ask for.
CREATE TABLE deltas (
    sequence INTEGER PRIMARY KEY,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT;

CREATE TABLE policies (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    content TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE publications (
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    version INTEGER NOT NULL REFERENCES policies (version),
    published_at INTEGER NOT NULL,
    published_by TEXT NOT NULL,
    PRIMARY KEY (epoch, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
    id TEXT PRIMARY KEY CHECK (id GLOB 'user:?*/?*'),
    name TEXT NOT NULL,
    contact TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'ended')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE blueprints (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    purpose TEXT NOT NULL CHECK (purpose <> ''),
    owners TEXT NOT NULL CHECK (owners <> ''),
    ceiling TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE agents (
    id TEXT PRIMARY KEY CHECK (id GLOB 'agent:?*'),
    name TEXT NOT NULL,
    blueprint TEXT NOT NULL REFERENCES blueprints (id),
    owner TEXT NOT NULL REFERENCES people (id),
    creator TEXT NOT NULL,
    department TEXT NOT NULL,
    purpose TEXT NOT NULL,
    contact TEXT NOT NULL,
    project TEXT NOT NULL,
    environment TEXT NOT NULL,
    valid_until INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('staged', 'active', 'suspended', 'orphaned', 'retired')),
    -- Who is asked to take it over, and whether they have.
    proposed_owner TEXT REFERENCES people (id),
    accepted_at INTEGER,
    created_at INTEGER NOT NULL,
    CHECK (accepted_at IS NULL OR proposed_owner IS NOT NULL)
) STRICT;
CREATE INDEX agents_by_owner ON agents (owner);
CREATE INDEX agents_by_blueprint ON agents (blueprint);
CREATE INDEX agents_by_project ON agents (project);

CREATE TRIGGER retired_is_final BEFORE UPDATE OF state ON agents
WHEN OLD.state = 'retired' AND NEW.state <> 'retired'
BEGIN SELECT RAISE(ABORT, 'a retired agent stays retired'); END;

CREATE TRIGGER agents_are_not_forgotten BEFORE DELETE ON agents
BEGIN SELECT RAISE(ABORT, 'agents are retired, not deleted'); END;

-- Public keys that agents prove themselves with. One key speaks for one agent.
CREATE TABLE agent_keys (
    thumbprint TEXT PRIMARY KEY,
    agent TEXT NOT NULL REFERENCES agents (id),
    jwk TEXT NOT NULL,
    algorithm TEXT NOT NULL CHECK (algorithm IN ('EdDSA', 'ES256', 'RS256', 'PS256')),
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;
CREATE INDEX agent_keys_by_agent ON agent_keys (agent);

CREATE TABLE tasks (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    agent TEXT NOT NULL REFERENCES agents (id),
    purpose TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'completed', 'revoked')),
    created_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX tasks_by_agent ON tasks (agent, state);

CREATE TRIGGER an_ended_task_is_final BEFORE UPDATE OF state ON tasks
WHEN OLD.state <> 'open'
BEGIN SELECT RAISE(ABORT, 'an ended task stays ended'); END;

-- `jti` of client assertions, so that each is spent once (RFC 7523 section 3).
CREATE TABLE spent (
    agent TEXT NOT NULL,
    jti TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (agent, jti)
) STRICT, WITHOUT ROWID;

CREATE TABLE gatepasses (
    jti TEXT PRIMARY KEY,
    agent TEXT NOT NULL,
    task TEXT NOT NULL,
    subject TEXT NOT NULL,
    claims TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX gatepasses_by_expiry ON gatepasses (expires_at);

CREATE TABLE operators (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    -- The person they are, where they accept agents as their owner.
    person TEXT REFERENCES people (id),
    state TEXT NOT NULL CHECK (state IN ('active', 'ended')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    operator TEXT NOT NULL REFERENCES operators (id),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'auditor', 'admin')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > created_at),
    last_used_at INTEGER,
    ended_at INTEGER
) STRICT;
CREATE INDEX tokens_by_operator ON tokens (operator);

-- Join tokens of the feed: read only, one fleet each.
CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    fleet TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL CHECK (expires_at > created_at),
    ended_at INTEGER
) STRICT;

-- Changes that wait for a second person.
CREATE TABLE proposals (
    id TEXT PRIMARY KEY,
    change TEXT NOT NULL,
    reason TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER,
    outcome TEXT CHECK (outcome IN ('accepted', 'rejected')),
    CHECK (decided_by IS NULL OR outcome IS NOT NULL),
    CHECK (outcome IS NOT 'accepted' OR decided_by <> proposed_by)
) STRICT;

-- The record: append-only, each line bound to the one before.
CREATE TABLE audit (
    n INTEGER PRIMARY KEY CHECK (n > 0),
    at INTEGER NOT NULL,
    target TEXT NOT NULL,
    body TEXT NOT NULL,
    prev TEXT NOT NULL CHECK (length(prev) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX audit_by_target ON audit (target, n);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END;
CREATE TRIGGER audit_has_no_gaps BEFORE INSERT ON audit
WHEN NEW.n <> (SELECT ifnull(max(n), 0) + 1 FROM audit)
  OR NEW.prev <> ifnull((SELECT hash FROM audit WHERE n = NEW.n - 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'the audit record has no gaps'); END;
