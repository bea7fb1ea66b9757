-- What gatepasses take together of the budgets that the policy states.

-- Of gatepasses that were issued and not used. What is not used until the gatepass ends is free again.
CREATE TABLE reserved (
    jti TEXT NOT NULL CHECK (jti <> ''),
    -- Its name and the unit of what is summed: another unit is another budget.
    budget TEXT NOT NULL CHECK (budget <> ''),
    -- The agent, task, owner or blueprint that it is counted for.
    holder TEXT NOT NULL CHECK (holder <> ''),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    -- `exp` of the gatepass: after it nobody may use it.
    until INTEGER NOT NULL,
    -- Seconds that it counts for once it is used.
    window INTEGER NOT NULL CHECK (window > 0),
    PRIMARY KEY (jti, budget)
) STRICT, WITHOUT ROWID;
CREATE INDEX reserved_by_holder ON reserved (budget, holder, until, amount);
CREATE INDEX reserved_by_until ON reserved (until);

-- Of gatepasses that were used, added up in steps of a 64th of the window, so that a holder has few rows.
CREATE TABLE taken (
    budget TEXT NOT NULL,
    holder TEXT NOT NULL,
    -- When all of the step is outside of the window.
    until INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (budget, holder, until)
) STRICT, WITHOUT ROWID;
CREATE INDEX taken_by_until ON taken (until);
