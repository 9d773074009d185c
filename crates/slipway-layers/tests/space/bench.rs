//! One store in a directory of its own, and small layers whose content is their key.

use slipway_layers::LayerStore;
use slipway_layers::image::{self, ReadOnly, ReadWrite};
use slipway_types::{LayerKind, LayerRef};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

pub(crate) const MIB: u64 = 1024 * 1024;
const WAIT_MAX: Duration = Duration::from_secs(120);

pub(crate) fn layer(key: &str) -> LayerRef {
    LayerRef::new(LayerKind::Dependencies, key)
}

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: LayerStore,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::open(dir.path().join("layers")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.path("")
    }

    /// In the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("layers").join(name)
    }

    pub(crate) fn publish(&self, layer: &LayerRef) {
        let scratch = self.dir.path().join(format!("{layer}.scratch"));
        make_image(&scratch, &layer.key, &self.dir.path().join(format!("{layer}.at")));
        assert!(self.store.publish(&scratch, layer).unwrap());
    }

    pub(crate) fn publish_synced(&self, layer: &LayerRef) {
        self.publish(layer);
        self.store.sync(layer).unwrap();
    }

    /// Waits until the background thread has synced all that was published before.
    pub(crate) fn settle(&self) {
        let last = layer("last-in-the-queue");
        self.publish(&last);
        wait_until("all is synced", || self.store.list().unwrap().iter().any(|one| one.layer == last && one.synced));
        self.store.remove(&last).unwrap();
    }

    /// As if the layer's last use were so long ago.
    pub(crate) fn set_used(&self, layer: &LayerRef, ago: Duration) {
        self.store.update_record(layer, |_| {}).unwrap();
        for path in [self.path(&format!("records/{layer}.json")), self.store.path(layer)] {
            std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - ago).unwrap();
        }
    }

    pub(crate) fn read(&self, layer: &LayerRef) -> String {
        let at = self.dir.path().join(format!("{layer}.read"));
        let mounted = image::mount(&self.store.path(layer), &at, ReadOnly).unwrap();
        std::fs::read_to_string(mounted.upper().join("content")).unwrap()
    }

    /// What a crash could leave in the store's directories.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        leftovers(&self.store_dir())
    }
}

/// An unmounted image whose `content` is that text.
pub(crate) fn make_image(path: &Path, content: &str, at: &Path) {
    image::create(path, 8 * MIB).unwrap();
    let mounted = image::mount(path, at, ReadWrite).unwrap();
    std::fs::write(mounted.upper().join("content"), content).unwrap();
    mounted.unmount().unwrap();
}

/// Areas, temporary files, locks and leases; mounts and loop devices below the directory.
pub(crate) fn leftovers(store: &Path) -> Vec<String> {
    let mut found: Vec<String> = names(store).into_iter().filter(|name| name.starts_with('.')).collect();
    for part in ["locks", "records", "pins", "leases"] {
        let hidden = |name: &String| name.starts_with(".tmp-") || matches!(part, "locks" | "leases") && name != ".gate";
        found.extend(names(&store.join(part)).into_iter().filter(hidden));
    }
    let store = store.to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(store)).map(str::to_owned));
    let devices = || names(Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop"));
    let backing = |name: String| std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    let attached = || devices().filter_map(backing).filter(|path| path.contains(store)).collect::<Vec<_>>();
    // A device frees itself a moment after its last mount.
    let deadline = Instant::now() + WAIT_MAX;
    while !attached().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    found.extend(attached());
    found
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !done() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
