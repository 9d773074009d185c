//! A store, an S3 server, and a proxy between them that can fail.

use slipway_layers::{ColdBounds, ColdConfig, ColdCredentials, Ensured, LayerError, LayerStore, Tiers};
use slipway_testing::{FaultProxy, S3Server, s3, wait};
use slipway_types::{LayerKind, LayerRef};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub(crate) const MIB: u64 = 1024 * 1024;
pub(crate) const PREFIX: &str = "a/prefix";
/// A part that outlived its upload has come by then.
const LATE_PART: Duration = Duration::from_secs(1);
/// Far more than anything here takes.
pub(crate) const BOUND: Duration = Duration::from_secs(300);

pub(crate) struct Setup {
    pub(crate) s3: S3Server,
    pub(crate) proxy: FaultProxy,
    pub(crate) dir: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        // Shown when a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().with_ansi(false).try_init();
        let binary = std::env::current_exe().unwrap();
        let s3 = S3Server::start(&binary.parent().unwrap().parent().unwrap().join("test-shared"));
        let proxy = FaultProxy::start(&s3.authority());
        Setup { s3, proxy, dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> ColdConfig {
        config(&self.proxy.endpoint())
    }

    pub(crate) fn directory(&self, host: &str) -> PathBuf {
        self.dir.path().join(host)
    }

    /// A host of that name, with its own hot tier.
    pub(crate) fn host(&self, name: &str) -> Tiers {
        self.host_with(name, self.config())
    }

    pub(crate) fn host_with(&self, name: &str, config: ColdConfig) -> Tiers {
        let store = LayerStore::open(self.directory(name)).unwrap();
        Tiers::with_bounds(store, Some(config), bounds()).unwrap()
    }

    pub(crate) fn host_within(&self, name: &str, bounds: ColdBounds) -> Tiers {
        let store = LayerStore::open(self.directory(name)).unwrap();
        Tiers::with_bounds(store, Some(self.config()), bounds).unwrap()
    }

    /// Objects and unfinished uploads in the store.
    pub(crate) fn objects(&self) -> Vec<String> {
        self.s3.list(PREFIX)
    }

    pub(crate) fn uploads(&self) -> Vec<String> {
        self.s3.list(".uploads")
    }

    pub(crate) fn object(&self, layer: &LayerRef) -> String {
        format!("{PREFIX}/{layer}.layer")
    }
}

pub(crate) fn config(endpoint: &str) -> ColdConfig {
    ColdConfig {
        endpoint: Some(endpoint.to_owned()),
        bucket: s3::BUCKET.to_owned(),
        prefix: PREFIX.to_owned(),
        region: None,
        credentials: keys(s3::KEY),
        concurrency: 4,
        bytes_per_second: None,
        allow_http: true,
        ca_bundle: None,
    }
}

pub(crate) fn keys(id: &str) -> ColdCredentials {
    let (access_key_id, secret_access_key) = (id.to_owned(), s3::SECRET.to_owned());
    ColdCredentials::Keys { access_key_id, secret_access_key, session_token: None }
}

/// Long where a busy machine could come to one, short where a test waits for it.
pub(crate) fn bounds() -> ColdBounds {
    ColdBounds {
        connect_wait: Duration::from_secs(30),
        answer_wait: Duration::from_secs(30),
        fetch_wait: BOUND,
        fetch_bytes_per_second_min: 64 * 1024,
        progress_every: Duration::from_secs(30),
        trouble_kept: Duration::ZERO,
        archive_every: Duration::from_millis(20),
        retry_after: Duration::from_millis(200),
        late_part: LATE_PART,
        ..ColdBounds::default()
    }
}

pub(crate) fn layer(key: &str) -> LayerRef {
    LayerRef::new(LayerKind::Dependencies, key)
}

/// Publishes a layer of about so many bytes that do not compress, and waits until it is on the disk.
pub(crate) fn publish(store: &LayerStore, layer: &LayerRef, bytes: u64) {
    let fill = |root: &Path| {
        let (file, mut content) = (root.join("content"), vec![0; bytes as usize]);
        noise(bytes ^ layer.key.len() as u64, &mut content);
        std::fs::write(&file, content).map_err(|e| LayerError::io("write", &file, e))
    };
    assert!(store.write_layer(layer, 16 * MIB + 2 * bytes, fill).unwrap());
    store.sync(layer).unwrap();
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn noise(seed: u64, content: &mut [u8]) {
    let mut state = seed | 1;
    for piece in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
    }
}

/// An archiver that runs until it is stopped.
pub(crate) struct Archiver {
    shutdown: CancellationToken,
    runs: tokio::task::JoinHandle<()>,
}

impl Archiver {
    pub(crate) fn start(tiers: &Tiers) -> Self {
        let (shutdown, tiers) = (CancellationToken::new(), tiers.clone());
        let stop = shutdown.clone();
        Self { shutdown, runs: tokio::spawn(async move { tiers.run_archiver(stop).await }) }
    }

    /// Takes a few seconds, whatever the store does: no test's bounds are so short.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let asked_at = Instant::now();
        self.runs.await.unwrap();
        assert!(asked_at.elapsed() < BOUND / 2, "the archiver ended after {:?}", asked_at.elapsed());
    }
}

/// Waits within a test that runs on several threads.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    tokio::task::block_in_place(|| wait::until(what, BOUND, || condition().then_some(())));
}

/// Runs an archiver until the condition holds.
pub(crate) async fn archive_until(tiers: &Tiers, what: &str, condition: impl Fn() -> bool) {
    let archiver = Archiver::start(tiers);
    wait_for(what, condition);
    archiver.stop().await;
}

/// Uploads that this host has still to abort.
pub(crate) fn journal(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory.join("uploads")) else { return Vec::new() };
    entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect()
}

/// Gives each of the layers a cold copy.
pub(crate) async fn archive(tiers: &Tiers, layers: &[&LayerRef]) {
    let all_cold = || layers.iter().all(|layer| tiers.store().record(layer).cold);
    archive_until(tiers, "the layers to be cold", all_cold).await;
}

/// Archives a layer and takes its image away.
pub(crate) async fn make_cold(tiers: &Tiers, layer: &LayerRef, bytes: u64) {
    publish(tiers.store(), layer, bytes);
    archive(tiers, &[layer]).await;
    assert!(tiers.store().remove(layer).unwrap());
}

pub(crate) fn trouble(ensured: Ensured) -> String {
    match ensured {
        Ensured::Trouble(note) => note,
        other => panic!("trouble was expected: {other:?}"),
    }
}

/// Nothing of an unfinished fetch or upload lies in the hot tier's directory, but for uploads that are still to be aborted.
pub(crate) fn assert_clean(directory: &Path) {
    let mut left: Vec<String> = Vec::new();
    for part in ["", "locks"] {
        let Ok(entries) = std::fs::read_dir(directory.join(part)) else { continue };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        left.extend(names.filter(|name| !part.is_empty() || name.starts_with(".new-")));
    }
    assert_eq!(left, [] as [String; 0], "left in {}", directory.display());
}
