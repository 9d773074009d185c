//! Installs that take no time: an unchanged lockfile against what others do with it, and the saving of a large tree.

use super::tools::{Toolchain, run};
use super::{median, phase_ms, row, slipway};
use anyhow::{Context, Result, ensure};
use slipway_layers::{LayerStore, image};
use slipway_testing::{TestServer, app};
use slipway_types::{LayerKind, LayerRef};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 5;
/// The tree that is saved: as many files and bytes as a large `node_modules`.
pub(super) const FILES: usize = 40_000;
const FILE_BYTES: usize = 10 * 1024;
const FILES_PER_DIRECTORY: usize = 40;
pub(super) const IMAGE_BYTES: u64 = 4 << 30;

/// The example's dependencies with an unchanged lockfile, from the start of the install phase to the layer mounted, against
/// `npm ci` with a warm cache and against unpacking an archive of the same tree.
pub(crate) fn unchanged() -> Result<()> {
    let slipway = slipway()?;
    let server = TestServer::start(&slipway.to_string_lossy());
    let dir = tempfile::tempdir()?;
    let (ours, bare) = (dir.path().join("ours"), dir.path().join("bare"));
    for copy in [&ours, &bare] {
        run(Command::new("cp").arg("-r").arg(app::example("nextjs")).arg(copy))?;
    }
    let _ = server.run_in(&ours, &["up", "--json"]).expect_code(0);
    let node = Toolchain::mount(slipway.parent().context("own directory")?, dir.path())?;
    let cache = format!("npm_config_cache={}", dir.path().join("npm-cache").display());
    let install = format!("{cache} npm ci --prefer-offline --no-audit --no-fund");
    run(node.command(&install, &bare))?;
    let archive = dir.path().join("node_modules.tar.zst");
    run(node.command(&format!("tar -c node_modules | zstd -q -3 -o {}", archive.display()), &bare))?;
    let (mut ready, mut installs, mut unpacks) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let page = ours.join("app/page.tsx");
        std::fs::write(&page, format!("{}// {round}\n", std::fs::read_to_string(&page)?))?;
        let deployed = server.run_in(&ours, &["up", "--json"]).expect_code(0);
        ready.push(phase_ms(&deployed, "install")? + mount_ms(&newest_dependencies(&slipway)?, dir.path())?);
        installs.push(timed_ms(|| run(node.command(&install, &bare)))?);
        let unpacked = dir.path().join(format!("unpacked-{round}"));
        std::fs::create_dir(&unpacked)?;
        unpacks.push(timed_ms(|| run(node.command(&format!("zstd -dcq {} | tar -x", archive.display()), &unpacked)))?);
    }
    let ours = median(&ready);
    row("unchanged lockfile: dependencies ready", &format!("{ours:.0} ms"), "≤ 50 ms");
    for (what, reference) in
        [("`npm ci` with a warm cache", median(&installs)), ("unpacking a tar.zst", median(&unpacks))]
    {
        let figure = format!("{:.0} times ({:.1} s)", reference / ours, reference / 1000.0);
        row(&format!("{what} ÷ dependencies ready"), &figure, "≥ 20");
    }
    Ok(())
}

/// What a deployment waits for once an install has written its tree, against an archive of the same tree.
pub(crate) fn save() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = LayerStore::open(dir.path().join("layers"))?;
    let (mut saves, mut archives) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (image, at) = (dir.path().join("new.img"), dir.path().join("new"));
        image::create(&image, IMAGE_BYTES)?;
        let mounted = image::mount(&image, &at, image::ReadWrite)?;
        write_tree(&mounted.upper())?;
        let layer = LayerRef::new(LayerKind::Dependencies, format!("bench-{round}"));
        archives.push(timed_ms(|| {
            let pack = format!("tar -c . | zstd -q -3 -f -o {}", dir.path().join("tree.tar.zst").display());
            run(Command::new("sh").args(["-c", &pack]).current_dir(mounted.upper()))
        })?);
        saves.push(timed_ms(|| {
            mounted.unmount()?;
            ensure!(store.publish(&image, &layer)?, "the layer was there already");
            Ok(())
        })?);
        store.remove(&layer)?;
    }
    let megabytes = FILES * FILE_BYTES / 1_000_000;
    let figure = format!("{:.2} s (archive: {:.1} s)", median(&saves) / 1000.0, median(&archives) / 1000.0);
    row(&format!("saving {megabytes} MB in {FILES} files"), &figure, "≤ 1 s");
    Ok(())
}

pub(super) fn timed_ms(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

fn mount_ms(image: &Path, dir: &Path) -> Result<f64> {
    let at = dir.join("mounted");
    let start = Instant::now();
    let mounted = image::mount(image, &at, image::ReadOnly)?;
    let took = start.elapsed().as_secs_f64() * 1000.0;
    mounted.unmount()?;
    Ok(took)
}

/// The dependency layer that was published last.
fn newest_dependencies(slipway: &Path) -> Result<std::path::PathBuf> {
    let store = LayerStore::open(slipway.with_file_name("test-shared").join("layers"))?;
    let layers = store.list()?.into_iter().filter(|entry| entry.layer.kind == LayerKind::Dependencies);
    let newest = layers.max_by_key(|entry| entry.published_at).context("no dependency layer was made")?;
    Ok(store.path(&newest.layer))
}

/// Text that packs about as well as programs do.
pub(super) fn write_tree(root: &Path) -> Result<()> {
    let mut state = 1_u32;
    let mut bytes = vec![0_u8; FILE_BYTES];
    for number in 0..FILES {
        let directory = root.join(format!("app/node_modules/p{}", number / FILES_PER_DIRECTORY));
        if number % FILES_PER_DIRECTORY == 0 {
            std::fs::create_dir_all(&directory)?;
        }
        for byte in &mut bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = b'a' + u8::try_from((state >> 24) % 24)?;
        }
        std::fs::write(directory.join(format!("f{number}.js")), &bytes)?;
    }
    Ok(())
}
