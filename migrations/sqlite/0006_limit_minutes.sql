-- What limits did, minute by minute, for a week: requests by their route, by the policy that refused them, and by tenant.

CREATE TABLE limit_minutes (
    minute      INTEGER NOT NULL,   -- its beginning
    counted_by  TEXT    NOT NULL,   -- route, policy or tenant
    name        TEXT    NOT NULL,   -- which
    total       INTEGER NOT NULL,
    blocked     INTEGER NOT NULL,   -- of these, answered with 429
    PRIMARY KEY (minute, counted_by, name)
) STRICT, WITHOUT ROWID;
