-- What was spent once, and what was stored before a request went on.

-- The one use of a gatepass: the key is what makes it one, in the whole fleet.
CREATE TABLE uses (
    jti TEXT PRIMARY KEY CHECK (jti <> ''),
    -- Of the question that it was granted to: the same question may be asked again.
    nonce TEXT NOT NULL CHECK (nonce <> ''),
    -- The gate that asked, by its certificate.
    gate TEXT NOT NULL CHECK (gate <> ''),
    spent_at INTEGER NOT NULL,
    -- `exp` of the gatepass: after it nobody asks.
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uses_by_until ON uses (until);

CREATE TRIGGER a_use_stays_spent BEFORE UPDATE ON uses
BEGIN SELECT RAISE(ABORT, 'a use that is spent stays as it is'); END;

-- Records of decisions that were stored before the request went on (`audit: confirmed`).
CREATE TABLE confirmed_records (
    jti TEXT NOT NULL CHECK (jti <> ''),
    nonce TEXT NOT NULL CHECK (nonce <> ''),
    gate TEXT NOT NULL CHECK (gate <> ''),
    stored_at INTEGER NOT NULL,
    -- JSON as the gate sent it.
    record TEXT NOT NULL,
    PRIMARY KEY (jti, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX confirmed_records_by_time ON confirmed_records (stored_at);
