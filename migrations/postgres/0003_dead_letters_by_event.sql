-- Whether a day that is about to go still has dead letters has to be known at once, while everybody waits for it.
CREATE INDEX dead_letters_by_event ON dead_letters (event);
