//! The embedded backend: SQLite through sqlx, one writer, readers with deadlines.
