//! Test harness: a real server, real apps, real clients.
