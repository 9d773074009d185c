//! Every world begins with a service that was deployed twice. How that came about is lived once for each of the settings, and then
//! copied: it takes longer than a world.

use super::nature::BEGAN_AT;
use super::people::Settings;
use super::random::Random;
use super::source;
use super::world::World;
use crate::executor::Command;
use slipway_store::Store;
use slipway_types::{ProjectName, ServiceId, ServiceName};
use std::path::{Path, PathBuf};
use tokio::sync::{OnceCell, oneshot};

static PASTS: [OnceCell<Vec<u8>>; Settings::ALL.len()] = [const { OnceCell::const_new() }; Settings::ALL.len()];

const DAY_MS: i64 = 24 * 3600 * 1000;
/// Not that of a world: ids are made of it.
const PAST_SEED: u64 = u64::MAX;

/// A database in `dir` with the history of that number.
pub(super) async fn copy(dir: &Path, number: usize) -> Store {
    let past = PASTS[number].get_or_init(|| Box::pin(lived(Settings::ALL[number]))).await;
    let database = dir.join("slipway.db");
    std::fs::write(&database, past).unwrap();
    Store::open(&database).await.unwrap()
}

async fn lived(settings: Settings) -> Vec<u8> {
    let dir = tempfile::tempdir_in(memory()).unwrap();
    let database = dir.path().join("slipway.db");
    let store = Store::open(&database).await.unwrap();
    let (project, name) = (ProjectName::parse("shop").unwrap(), ServiceName::parse("web").unwrap());
    let id = ServiceId::parse("svc-1").unwrap();
    store.ensure_service(BEGAN_AT, &project, &name, &id).await.unwrap();
    store.put_settings(&id, &settings.patch()).await.unwrap();
    let service = store.service(&id).await.unwrap();
    let mut world = World::bare(PAST_SEED, Random::new(PAST_SEED), dir, store);
    world.clock.set_wrong_by(-DAY_MS);
    world.start();
    for _ in 0..2 {
        let (reply, _) = oneshot::channel();
        world.want(Command::Deploy {
            service: service.clone(),
            source: source::spec(),
            message: None,
            force: true,
            reply,
        });
        world.rest().await.unwrap();
    }
    let dir = world.close().await;
    std::fs::read(dir.path().join("slipway.db")).unwrap()
}

/// A directory in memory, where there is one: no world waits for a disk.
pub(super) fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
