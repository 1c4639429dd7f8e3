//! One attempt: sign, send, read the answer within bounds.
