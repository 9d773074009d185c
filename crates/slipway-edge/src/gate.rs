//! Who may still go to a replica, and how many are there.
//!
//! A [`Gate`] is one word: a count of permits and a bit that says closed. Entering and closing change the same word,
//! so there is no moment between picking a replica and being counted: once a gate is closed and its count is zero,
//! no request is at the replica and none will come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const CLOSED: u64 = 1 << 63;

/// The door of one replica.
#[derive(Debug)]
pub(crate) struct Gate {
    /// [`CLOSED`] and the number of permits.
    word: AtomicU64,
    /// Told when the last permit of a closed gate is given back.
    emptied: Arc<Notify>,
    began: Instant,
    /// When the last permit was given back, since `began`.
    left_ms: AtomicU64,
}

impl Gate {
    pub(crate) fn new(emptied: Arc<Notify>) -> Self {
        Self { word: AtomicU64::new(0), emptied, began: Instant::now(), left_ms: AtomicU64::new(0) }
    }

    /// One more request, unless the gate is closed. Each success is paired with one [`Gate::leave`].
    pub(crate) fn try_enter(&self) -> bool {
        let enter = |word: u64| (word & CLOSED == 0).then_some(word + 1);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
    }

    /// One more for a request that is inside already, closed or not.
    pub(crate) fn enter_again(&self) {
        self.word.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn leave(&self) {
        // Before the count: whoever sees that nobody is inside sees since when.
        self.left_ms.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.word.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            self.emptied.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, Ordering::AcqRel);
    }

    pub(crate) fn reopen(&self) {
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.word.load(Ordering::Acquire) == CLOSED
    }

    /// Since when nobody is inside. None: somebody is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let empty = self.word.load(Ordering::Acquire) & !CLOSED == 0;
        empty.then(|| self.began + Duration::from_millis(self.left_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !CLOSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_tells_when_empty() {
        let emptied = Arc::new(Notify::new());
        let gate = Gate::new(emptied.clone());
        assert!(gate.try_enter());
        gate.enter_again();
        gate.close();
        assert!(!gate.try_enter());
        assert!(!gate.is_drained());
        gate.leave();
        assert!(!gate.is_drained());
        gate.leave();
        assert!(gate.is_drained());
        gate.reopen();
        assert!(!gate.is_drained());
        assert!(gate.try_enter());
        assert_eq!(gate.in_flight(), 1);
    }

    /// Threads enter and leave while the gate closes: nobody is inside after it was seen drained.
    #[test]
    fn nobody_enters_after_drained() {
        for _ in 0..200 {
            let gate = Arc::new(Gate::new(Arc::new(Notify::new())));
            let inside = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, inside) = (gate.clone(), inside.clone());
                    std::thread::spawn(move || {
                        while gate.try_enter() {
                            inside.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            gate.leave();
                        }
                    })
                })
                .collect();
            gate.close();
            while !gate.is_drained() {
                std::hint::spin_loop();
            }
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(gate.is_drained());
        }
    }
}
