//! The command line and the server.
fn main() {}
