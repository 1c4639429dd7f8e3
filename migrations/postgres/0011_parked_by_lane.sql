-- What is parked comes back lane by lane in turn, so that a replay does not stand before what is new.
CREATE INDEX schedule_parked ON schedule (tenant, endpoint, lane, due_at) WHERE wait = 'parked';
