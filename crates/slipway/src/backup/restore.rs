//! `slipway restore`: checked while it is read, and in force only when all of it was found good.

use super::member::{DATABASE, Header, KEY, LAYERS, Member};
use super::reader;
use super::staging::Staging;
use super::{failed, sync_directory};
use crate::failure::Failure;
use crate::server::Places;
use slipway_control::check_secrets;
use slipway_layers::{LayerError, LayerStore, portable};
use slipway_store::{Store, StoreError, check_database};
use slipway_types::LayerRef;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a backup held.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Restored {
    pub(crate) header: Header,
    pub(crate) services: usize,
    pub(crate) layers: usize,
    /// Whether the configuration of the server was among it.
    pub(crate) has_config: bool,
}

/// Into `places`, or nowhere when there are none: then it is only checked.
///
/// # Errors
/// When the file is damaged, of a newer version or no backup, or the directory is not empty. Then nothing of it is left.
pub(crate) async fn restore(file: &Path, places: Option<&Places>) -> Result<Restored, Failure> {
    let staging = places.map(|places| Staging::begin(&places.data_dir)).transpose()?;
    let checked = tempfile::tempdir().map_err(failed("create a directory for", file))?;
    let directory = staging.as_ref().map_or_else(|| checked.path().to_owned(), Staging::directory);
    let mut into = Into { directory: directory.clone(), keeps_layers: staging.is_some(), layers: Vec::new() };
    let header = reader::read(file, |member, input| into.take(member, input))?;
    let services = check(file, &header, &directory).await?;
    let has_config = directory.join(super::member::CONFIG).exists();
    let layers = into.layers;
    let count = layers.len();
    if let (Some(staging), Some(places)) = (staging, places) {
        publish(&places.layers_dir, &directory, layers)?;
        staging.keep()?;
    }
    Ok(Restored { header, services, layers: count, has_config })
}

/// Writes members below a directory.
struct Into {
    directory: PathBuf,
    keeps_layers: bool,
    layers: Vec<LayerRef>,
}

impl Into {
    fn take(&mut self, member: &Member, input: &mut dyn Read) -> Result<(), Failure> {
        let path = self.directory.join(member.name());
        let written = match member {
            // Many, and each is checked by its digest alone.
            Member::Layer(layer) => {
                self.layers.push(layer.clone());
                match self.keeps_layers {
                    true => make_parent(&path).and_then(|()| portable::unpack(&mut &mut *input, &path)),
                    false => Ok(()),
                }
            }
            _ => make_parent(&path).and_then(|()| write(&path, input)),
        };
        written.map_err(failed("restore", &path))
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(super::parent(path))
}

fn write(path: &Path, input: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(input, &mut file)?;
    file.sync_all()?;
    sync_directory(super::parent(path))
}

/// The database is whole, of the schema that was said, readable by this version, and the key opens its secrets.
async fn check(file: &Path, header: &Header, directory: &Path) -> Result<usize, Failure> {
    let unusable =
        |member: &str| Failure::usage(format!("`{member}` of the backup `{}` is not usable", file.display()));
    let (database, key) = (directory.join(DATABASE), directory.join(KEY));
    for (name, path) in [(DATABASE, &database), (KEY, &key)] {
        if !path.is_file() {
            return Err(Failure::usage(format!("the backup `{}` has no `{name}`", file.display())));
        }
    }
    let bad_database = |error: StoreError| unusable(DATABASE).caused_by(&error);
    let schema = check_database(&database).await.map_err(bad_database)?;
    if schema != header.schema {
        return Err(unusable(DATABASE).hint(format!("it has schema {schema}, and {} was written", header.schema)));
    }
    // A copy: what is restored stays as it was, for the version that made it.
    let asked = directory.join("asked.db");
    fs::copy(&database, &asked).map_err(failed("copy the database to", &asked))?;
    let store = Store::open(&asked).await.map_err(bad_database)?;
    let services = store.overviews().await.map_err(bad_database)?.len();
    let secrets = check_secrets(&key, &store).await;
    store.close().await;
    fs::remove_file(&asked).map_err(failed("remove", &asked))?;
    secrets.map_err(|error| unusable(KEY).caused_by(&error))?;
    Ok(services)
}

/// Into the store of layers, and onto the disk. Those that it had already stay; those of a restore that fails after this are
/// nobody's, and make room like others.
fn publish(layers_dir: &Path, staged: &Path, layers: Vec<LayerRef>) -> Result<(), Failure> {
    let failed = |error: LayerError| Failure::server("cannot restore the layers").caused_by(&error);
    let store = LayerStore::open(layers_dir).map_err(failed)?;
    for layer in layers {
        store.publish(&staged.join(format!("{LAYERS}{layer}")), &layer).map_err(failed)?;
        store.sync(&layer).map_err(failed)?;
    }
    Ok(())
}
