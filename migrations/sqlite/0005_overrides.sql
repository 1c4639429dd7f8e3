-- Rates that a tenant has for a while in place of its plan's. One that has ended counts no more; it goes when another one is set.

CREATE TABLE limit_overrides (
    tenant      BLOB    NOT NULL,
    policy      TEXT    NOT NULL,
    limit_      INTEGER NOT NULL,   -- so many
    window_ms   INTEGER NOT NULL,   -- in this time
    created_at  INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant, policy)
) STRICT, WITHOUT ROWID;
