//! Layer store: immutable file-system images addressed by key.
