-- Cohorts: followers with a feed audience of their own, which may have a policy before all have it.
-- What is for those in no cohort stays in the tables that were there before.

CREATE TABLE cohorts (
    -- The feed audience too.
    name TEXT PRIMARY KEY CHECK (name <> ''),
    -- Its own policy; NULL while it has the one of all.
    policy INTEGER REFERENCES policies (version),
    -- What gates of the cohort had decided under the policy of all when theirs was published.
    allowed_before INTEGER NOT NULL DEFAULT 0 CHECK (allowed_before >= 0),
    denied_before INTEGER NOT NULL DEFAULT 0 CHECK (denied_before >= 0),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- As `deltas`, for cohorts.
CREATE TABLE cohort_deltas (
    sequence INTEGER NOT NULL,
    cohort TEXT NOT NULL REFERENCES cohorts (name) ON DELETE CASCADE,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (sequence, cohort)
) STRICT;

-- As `publications`: when which version was put in force in a cohort. Outlives the cohort.
CREATE TABLE cohort_publications (
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    cohort TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES policies (version),
    published_at INTEGER NOT NULL,
    published_by TEXT NOT NULL,
    PRIMARY KEY (epoch, sequence, cohort)
) STRICT, WITHOUT ROWID;

-- A join token is good for one audience; NULL is that of those in no cohort.
ALTER TABLE join_tokens ADD COLUMN cohort TEXT;
