-- What limits did, minute by minute, for a week: requests by their route, by the policy that refused them, and by tenant. Every
-- ingest adds to the same rows. Only the engine looks here.

CREATE TABLE limit_minutes (
    minute      bigint  NOT NULL,   -- its beginning
    counted_by  text    NOT NULL,   -- route, policy or tenant
    name        text    NOT NULL,   -- which
    total       bigint  NOT NULL,
    blocked     bigint  NOT NULL,   -- of these, answered with 429
    PRIMARY KEY (minute, counted_by, name)
);
