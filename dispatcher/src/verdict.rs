//! What an attempt means for its delivery: pure.
