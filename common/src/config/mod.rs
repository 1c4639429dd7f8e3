//! Configuration: flags over environment over a TOML file, read once, checked whole.
