//! Layers to the cold tier and back, against an archive of the same tree on the local disk.

use super::layers::{FILES, IMAGE_BYTES, timed_ms, write_tree};
use super::tools::run;
use super::{median, row, slipway};
use anyhow::{Context, Result, ensure};
use slipway_layers::{
    ColdBounds, ColdConfig, ColdCredentials, Ensured, LayerError, LayerRecord, LayerStore, Tiers, image,
};
use slipway_testing::{S3Server, s3};
use slipway_types::{LayerKind, LayerRef};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 3;
/// Between two looks at a record; little beside the seconds that are measured.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Digest, packing and upload of a layer to a local S3 server against `tar | zstd -3` to a file; its download, check and
/// unpacking against `zstd -d | tar -x`.
pub(crate) fn there_and_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = S3Server::start(&slipway()?.with_file_name("test-shared"));
    let bounds = ColdBounds { archive_every: LOOK_EVERY, ..ColdBounds::default() };
    let tiers = Tiers::with_bounds(LayerStore::open(dir.path().join("layers"))?, Some(config(&server)), bounds)?;
    let runtime = Runtime::new()?;
    let (mut archives, mut packs, mut fetches, mut unpacks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let layer = LayerRef::new(LayerKind::Dependencies, format!("bench-{round}"));
        let fill = |root: &Path| write_tree(root).map_err(|error| LayerError::io("write", root, to_io(&error)));
        ensure!(tiers.store().write_layer(&layer, IMAGE_BYTES, fill)?, "the layer was there already");
        tiers.store().sync(&layer)?;
        let archive = dir.path().join("tree.tar.zst");
        packs.push(pack_ms(&tiers.store().path(&layer), &dir.path().join("mounted"), &archive)?);
        archives.push(timed_ms(|| runtime.block_on(make_cold(&tiers, &layer)))?);
        ensure!(tiers.store().remove(&layer)?, "the layer was not there");
        fetches.push(timed_ms(|| runtime.block_on(fetch(&tiers, &layer)))?);
        ensure!(tiers.store().remove(&layer)?, "the layer did not come back");
        let unpacked = dir.path().join("unpacked");
        std::fs::create_dir(&unpacked)?;
        let unpack = format!("zstd -dcq {} | tar -x", archive.display());
        unpacks.push(timed_ms(|| run(Command::new("sh").args(["-c", &unpack]).current_dir(&unpacked)))?);
        std::fs::remove_dir_all(&unpacked)?;
    }
    compared("archive in the local S3 server", "tar | zstd -3", &archives, &packs);
    compared("fetch from the local S3 server", "zstd -d | tar -x", &fetches, &unpacks);
    Ok(())
}

/// Speeds are of the same tree, so their ratio is that of the times, turned over.
fn compared(what: &str, reference: &str, ours: &[f64], others: &[f64]) {
    let (ours, others) = (median(ours), median(others));
    let figure =
        format!("{:.0} % ({:.1} s against {:.1} s, {FILES} files)", 100.0 * others / ours, ours / 1e3, others / 1e3);
    row(&format!("speed of {what} ÷ `{reference}`"), &figure, "≥ 60 %");
}

fn to_io(error: &anyhow::Error) -> std::io::Error {
    std::io::Error::other(format!("{error:#}"))
}

fn pack_ms(layer: &Path, at: &Path, archive: &Path) -> Result<f64> {
    let mounted = image::mount(layer, at, image::ReadOnly)?;
    let pack = format!("tar -c . | zstd -q -3 -f -o {}", archive.display());
    let took = timed_ms(|| run(Command::new("sh").args(["-c", &pack]).current_dir(mounted.upper())))?;
    mounted.unmount()?;
    Ok(took)
}

async fn make_cold(tiers: &Tiers, layer: &LayerRef) -> Result<()> {
    let (shutdown, archiver) = (CancellationToken::new(), tiers.clone());
    let stop = shutdown.clone();
    let archiver = tokio::spawn(async move { archiver.run_archiver(stop).await });
    while !matches!(tiers.store().record(layer), LayerRecord { cold: true, .. }) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    shutdown.cancel();
    archiver.await.context("the archiver")
}

async fn fetch(tiers: &Tiers, layer: &LayerRef) -> Result<()> {
    let ensured = tiers.ensure(layer).await;
    ensure!(matches!(ensured, Ensured::Fetched { .. }), "the layer did not come back: {ensured:?}");
    Ok(())
}

fn config(server: &S3Server) -> ColdConfig {
    ColdConfig {
        endpoint: Some(server.endpoint()),
        bucket: s3::BUCKET.to_owned(),
        prefix: "bench".to_owned(),
        region: None,
        credentials: ColdCredentials::Keys {
            access_key_id: s3::KEY.to_owned(),
            secret_access_key: s3::SECRET.to_owned(),
            session_token: None,
        },
        concurrency: 8,
        bytes_per_second: None,
        allow_http: true,
        ca_bundle: None,
    }
}
