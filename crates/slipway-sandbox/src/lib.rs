//! Drivers that boot a sandbox, and the shim that holds it.
