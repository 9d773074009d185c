//! `slipway backup`: beside a server that runs, or without one.
//!
//! The database is copied first, and the layers that it names are leased before they are read: nothing that the copy stands on is
//! evicted meanwhile. What was evicted between the two makes the copy a stale one, and another is taken.

use super::member::{FORMAT, Header, Member};
use super::writer::BackupWriter;
use super::{failed, parent, sync_directory};
use crate::failure::Failure;
use crate::server::Places;
use slipway_layers::{LayerError, LayerStore, Lease};
use slipway_store::{Store, StoreError, copy_database};
use slipway_types::cache::Keeper;
use slipway_types::{LayerRef, UploadId};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Copies of the database until one has all of its layers: releases come and go, but not so often.
const COPIES_MAX: u32 = 3;
/// Of one lease.
const LEASE_LAYERS_MAX: usize = 256;
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// What a backup holds.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Taken {
    pub(crate) header: Header,
    pub(crate) layers: usize,
    pub(crate) uploads: usize,
    /// Before they were compressed.
    pub(crate) data_bytes: u64,
    pub(crate) file_bytes: u64,
}

/// # Errors
/// When there is no server's data, or it cannot be read, or the file not be written. Then there is none, or the former one.
pub(crate) async fn take(places: &Places, target: &Path, with_layers: bool) -> Result<Taken, Failure> {
    let database = places.data_dir.join(Member::Database.name());
    if !database.is_file() {
        return Err(Failure::usage(format!("there is no server's data in `{}`", places.data_dir.display()))
            .hint("name its data directory by `--data`"));
    }
    check_target(target)?;
    let work = WorkArea::claim(target)?;
    let (copy, schema, held) = consistent_copy(places, &database, &work, with_layers).await?;
    check_layers(places, &held)?;
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        created_at: i64::try_from(UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()).unwrap_or_default(),
        with_layers,
        missing: held.missing.iter().map(LayerRef::to_string).collect(),
    };
    let archive = work.path("archive");
    let taken = write(places, header, &copy, &held, &archive).map_err(failed("write the backup", target))?;
    fs::rename(&archive, target).map_err(failed("write the backup", target))?;
    sync_directory(parent(target)).map_err(failed("write the backup", target))?;
    Ok(taken)
}

/// Where none of what releases stand on is found, this is not the directory that the server uses: nothing would start from the backup.
fn check_layers(places: &Places, held: &Held) -> Result<(), Failure> {
    if held.missing.is_empty() || !held.layers.is_empty() {
        return Ok(());
    }
    let layers = places.layers_dir.display();
    Err(Failure::usage(format!(
        "none of the layers of the releases is in `{layers}`, so nothing could be started from the backup"
    ))
    .hint("`--config FILE` names the configuration that the server was started with, in which `layers.dir` may stand")
    .hint("`--without-layers` is for servers whose cold tier has them, or whose sources can all be deployed again"))
}

/// Any file but a backup that stands there is there by mistake.
fn check_target(target: &Path) -> Result<(), Failure> {
    let mut magic = [0; ZSTD_MAGIC.len()];
    let is_ours = match File::open(target).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) => magic == ZSTD_MAGIC && target.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        // As `mktemp` makes one.
        Err(_) => target.metadata().is_ok_and(|found| found.is_file() && found.len() == 0),
    };
    match is_ours {
        true => Ok(()),
        false => Err(Failure::usage(format!("`{}` is there already and is no backup", target.display()))
            .hint("only a backup is replaced: choose another name")),
    }
}

/// Layers that stay until the backup is written.
#[derive(Default)]
struct Held {
    store: Option<LayerStore>,
    _leases: Vec<Lease>,
    layers: BTreeSet<LayerRef>,
    /// Of releases, and not on the disk.
    missing: BTreeSet<LayerRef>,
}

async fn consistent_copy(
    places: &Places,
    database: &Path,
    work: &WorkArea,
    with_layers: bool,
) -> Result<(PathBuf, i64, Held), Failure> {
    let mut left = COPIES_MAX;
    loop {
        left -= 1;
        let copy = work.path("slipway.db");
        work.clear().map_err(failed("clear", &work.directory))?;
        let schema = copy_database(database, &copy).await.map_err(|error| unreadable(database, &error))?;
        let held = match with_layers {
            true => hold(places, work, &copy).await?,
            false => Held::default(),
        };
        if held.missing.is_empty() || left == 0 {
            return Ok((copy, schema, held));
        }
    }
}

async fn hold(places: &Places, work: &WorkArea, copy: &Path) -> Result<Held, Failure> {
    // Asked of the present schema; the copy that is kept stays as it is.
    let asked = work.path("asked.db");
    fs::copy(copy, &asked).map_err(failed("copy the database to", &asked))?;
    let store = Store::open(&asked).await.map_err(|error| unreadable(copy, &error))?;
    let retained = store.retained(places.keep_releases).await.map_err(|error| unreadable(copy, &error));
    store.close().await;
    let retained = retained?;
    let wanted: BTreeSet<LayerRef> = retained.iter().flat_map(|retained| retained.layers.clone()).collect();
    // A deployment that has not ended names layers that it may make yet.
    let needed = retained.iter().filter(|retained| !matches!(retained.keeper, Keeper::Building { .. }));
    let needed: BTreeSet<LayerRef> = needed.flat_map(|retained| retained.layers.clone()).collect();

    let unusable = |error: LayerError| Failure::server("cannot keep layers in place for the backup").caused_by(&error);
    let store = LayerStore::open(&places.layers_dir).map_err(unusable)?;
    let all: Vec<LayerRef> = wanted.iter().cloned().collect();
    let leases =
        all.chunks(LEASE_LAYERS_MAX).map(|some| store.lease(some)).collect::<Result<_, _>>().map_err(unusable)?;
    let (layers, gone): (BTreeSet<_>, BTreeSet<_>) = wanted.into_iter().partition(|layer| store.contains(layer));
    let missing = gone.intersection(&needed).cloned().collect();
    Ok(Held { store: Some(store), _leases: leases, layers, missing })
}

fn write(places: &Places, header: Header, database: &Path, held: &Held, archive: &Path) -> io::Result<Taken> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(archive)?;
    let seconds = u64::try_from(header.created_at / 1000).unwrap_or_default();
    let mut writer = BackupWriter::new(file, seconds)?;
    writer.add_bytes(&Member::Header, &serde_json::to_vec(&header)?)?;
    writer.add_file(&Member::Database, &File::open(database)?)?;
    writer.add_file(&Member::Key, &open(&places.data_dir.join(Member::Key.name()))?)?;
    let config = places.config_file.clone().into_iter().map(|file| (Member::Config, file));
    for (member, path) in [(Member::Token, places.data_dir.join(Member::Token.name()))].into_iter().chain(config) {
        if path.is_file() {
            writer.add_file(&member, &open(&path)?)?;
        }
    }
    let uploads = add_uploads(&mut writer, &places.data_dir.join("uploads"))?;
    for layer in &held.layers {
        let Some(store) = &held.store else { continue };
        let portable = store.portable(layer).map_err(io::Error::other)?;
        writer.add(&Member::Layer(layer.clone()), portable.bytes(), |out| portable.write_to(out))?;
    }
    let data_bytes = writer.bytes();
    let file = writer.finish()?;
    file.sync_all()?;
    let file_bytes = file.metadata()?.len();
    Ok(Taken { header, layers: held.layers.len(), uploads, data_bytes, file_bytes })
}

/// An upload never changes; one that goes meanwhile is needed by nobody.
fn add_uploads(writer: &mut BackupWriter, directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_suffix(".tar.gz").and_then(|id| UploadId::parse(id).ok());
        match (id, File::open(entry.path())) {
            (Some(id), Ok(file)) => {
                writer.add_file(&Member::Upload(id), &file)?;
                count += 1;
            }
            (Some(_), Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(count)
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

fn unreadable(database: &Path, error: &StoreError) -> Failure {
    Failure::server(format!("cannot back up the database `{}`", database.display())).caused_by(error)
}

/// A directory beside the file. Its name is the file's, so that what a killed backup left goes with the next one.
struct WorkArea {
    directory: PathBuf,
    _lock: File,
}

impl WorkArea {
    fn claim(target: &Path) -> Result<Self, Failure> {
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!("`{}` is not the name of a file", target.display())));
        };
        let directory = parent(target).join(format!(".{}.partial", name.to_string_lossy()));
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &directory)(error));
            }
            _ => {}
        }
        let lock = File::open(&directory).map_err(failed("open", &directory))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::server(format!("another backup to `{}` is being written", target.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &directory)(error)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

impl Drop for WorkArea {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
