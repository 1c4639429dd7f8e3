//! From a checked event to its 202: batches, commits, publishing.
