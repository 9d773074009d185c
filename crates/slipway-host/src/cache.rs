//! Build caches, one image per service. One build at a time uses it; another goes without.

use slipway_layers::image::allocated_bytes;
use slipway_types::ServiceId;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Of one cache; the file is sparse. A build that fills it would fail, so one that comes near begins afresh.
pub(crate) const CACHE_BYTES: u64 = 4 << 30;
const CACHE_BYTES_KEPT: u64 = CACHE_BYTES / 4 * 3;

#[derive(Debug, Clone)]
pub(crate) struct Caches {
    directory: PathBuf,
    in_use: Arc<Mutex<HashSet<ServiceId>>>,
}

/// The right to use a cache, until dropped.
#[derive(Debug)]
pub(crate) struct CacheClaim {
    service: ServiceId,
    in_use: Arc<Mutex<HashSet<ServiceId>>>,
    image: PathBuf,
}

impl Caches {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, in_use: Arc::default() }
    }

    /// None: another build has it.
    pub(crate) fn claim(&self, service: &ServiceId) -> Option<CacheClaim> {
        let claimed = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).insert(service.clone());
        claimed.then(|| {
            let image = self.directory.join(format!("{service}.img"));
            CacheClaim { service: service.clone(), in_use: Arc::clone(&self.in_use), image }
        })
    }
}

impl CacheClaim {
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// Removes a cache that is nearly full. Returns whether it did.
    pub(crate) fn remove_if_nearly_full(&self) -> bool {
        allocated_bytes(&self.image).is_ok_and(|bytes| bytes > CACHE_BYTES_KEPT)
            && std::fs::remove_file(&self.image).is_ok()
    }
}

impl Drop for CacheClaim {
    fn drop(&mut self) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_build_at_a_time_has_a_cache() {
        let caches = Caches::new("/caches".into());
        let [web, api] = ["web", "api"].map(|id| ServiceId::parse(id).unwrap());
        let claim = caches.claim(&web).unwrap();
        assert_eq!(claim.image(), Path::new("/caches/web.img"));
        assert!(caches.claim(&web).is_none());
        assert!(caches.claim(&api).is_some());
        drop(claim);
        assert!(caches.claim(&web).is_some());
    }
}
