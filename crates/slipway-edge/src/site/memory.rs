//! Small files in memory: each form of a file is read once, as long as there is room in the one budget of the edge.
//!
//! Nothing is evicted: what does not fit is read from disk each time, where the kernel caches it. The room comes back
//! when the site goes.

use super::encoding::Encoding;
use crate::limits::SITE_MEMORY_BYTES_MAX;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What all sites together may still keep.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget {
    left: Arc<AtomicU64>,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self { left: Arc::new(AtomicU64::new(SITE_MEMORY_BYTES_MAX)) }
    }
}

impl MemoryBudget {
    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The forms of one file that are in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    forms: OnceLock<Box<[OnceLock<Bytes>; 3]>>,
}

impl Memory {
    pub(super) fn get(&self, encoding: Encoding) -> Option<Bytes> {
        self.forms.get()?[place(encoding)].get().cloned()
    }

    /// Keeps a form if the budget has room for it.
    pub(super) fn keep(&self, encoding: Encoding, bytes: &Bytes, budget: &MemoryBudget) {
        let size = bytes.len() as u64;
        if budget.take(size) && self.forms.get_or_init(Box::default)[place(encoding)].set(bytes.clone()).is_err() {
            budget.give_back(size);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let forms = self.forms.get().into_iter().flat_map(|forms| forms.iter());
        forms.filter_map(OnceLock::get).map(|bytes| bytes.len() as u64).sum()
    }
}

fn place(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Identity => 0,
        Encoding::Brotli => 1,
        Encoding::Gzip => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_kept_and_room_comes_back() {
        let budget = MemoryBudget { left: Arc::new(AtomicU64::new(10)) };
        let (first, second) = (Memory::default(), Memory::default());
        first.keep(Encoding::Brotli, &Bytes::from_static(b"123456"), &budget);
        first.keep(Encoding::Brotli, &Bytes::from_static(b"1234"), &budget);
        second.keep(Encoding::Identity, &Bytes::from_static(b"12345"), &budget);
        assert_eq!(first.get(Encoding::Brotli).unwrap(), "123456");
        assert_eq!((first.get(Encoding::Gzip), second.get(Encoding::Identity)), (None, None));
        budget.give_back(first.bytes());
        second.keep(Encoding::Identity, &Bytes::from_static(b"1234567890"), &budget);
        assert_eq!(second.get(Encoding::Identity).unwrap(), "1234567890");
    }
}
