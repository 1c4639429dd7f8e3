-- A process says which version of the membership it keeps to but for these tenants, whose deliveries hang: who has joined
-- waits for its share of these only.
ALTER TABLE nodes ADD COLUMN behind uuid[] NOT NULL DEFAULT '{}';   -- tenants, a few hundred at most
