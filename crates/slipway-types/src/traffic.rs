//! What an edge counts of its requests.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Upper bounds of the first buckets of [`Traffic::heads`], in milliseconds, inclusive; the last bucket has none.
pub const HEAD_BOUNDS_MS: [u64; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// Since the start of an edge, and how it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub connections_accepted: u64,
    /// Upgraded ones too.
    pub connections_open: u64,
    /// Whose answer is not at its end. One that became a WebSocket has ended.
    pub requests_open: u64,
    /// Answers by the first digit of their status, from 1xx to 5xx.
    pub answers: [u64; 5],
    /// The edge's own answers, which are in `answers` too, by their code.
    pub refusals: BTreeMap<String, u64>,
    /// Answers by the time from the head of the request to the head of the answer.
    pub heads: [u64; HEAD_BOUNDS_MS.len() + 1],
    /// All of these times together, in microseconds.
    pub heads_us: u64,
}
