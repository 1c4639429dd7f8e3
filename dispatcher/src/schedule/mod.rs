//! Who is served next: a pure data structure.
