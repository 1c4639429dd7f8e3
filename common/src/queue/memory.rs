//! The in-process queue of the embedded engine.
