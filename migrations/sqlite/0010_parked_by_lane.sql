-- What is parked comes back lane by lane, so that a replay does not stand before what is new. (The lane is the first column so that
-- nobody who asks without it is drawn to this index, which has no order by time then.)
CREATE INDEX schedule_parked ON schedule (lane, tenant, endpoint, due_at) WHERE wait = 'parked';
