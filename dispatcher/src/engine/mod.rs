//! The loops around the pure parts.
