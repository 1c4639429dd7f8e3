-- What is parked comes back lane by lane, so that a replay does not stand before what is new. The condition is said in other
-- words than usual: an index that is empty as a rule draws whoever asks for what is parked, and without a lane it would be read as a
-- whole, by a plan that is kept when it is empty no more.
CREATE INDEX schedule_parked ON schedule (lane, tenant, endpoint, due_at) WHERE lower(wait) = 'parked';
