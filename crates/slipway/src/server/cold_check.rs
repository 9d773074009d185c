//! Is the cold tier there? A real request with the server's own settings, for `slipway doctor`.

use super::config::ServerConfig;
use crate::cli::Check;
use slipway_layers::{ColdConfig, Ensured, LayerStore, Tiers};
use slipway_types::{LayerKind, LayerRef};
use std::path::PathBuf;
use std::time::Duration;

/// A store that takes longer for one small request would not help a build.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);
/// A layer that nobody has: whoever answers that it is not there can be asked for those that are.
const UNKNOWN_KEY: &str = "asked-by-doctor";

/// None: no cold tier is configured.
pub(super) async fn check(config: &ServerConfig) -> Option<Check> {
    let cold = config.host.layers.cold.clone()?;
    let name = "cold tier".to_owned();
    let place = format!("{}, bucket {}", cold.endpoint.as_deref().unwrap_or("AWS S3"), cold.bucket);
    Some(match ask(cold).await {
        Ok(()) => Check { name, ok: true, needed: true, found: format!("{place} answers"), hint: None },
        Err(why) => {
            let hint = "check `[layers.cold]` of slipway-server.toml; without it builds go on, and what was moved there is made again";
            Check { name, ok: false, needed: true, found: format!("{place}: {why}"), hint: Some(hint.to_owned()) }
        }
    })
}

async fn ask(cold: ColdConfig) -> Result<(), String> {
    let scratch = Scratch::new();
    let directory = scratch.0.clone();
    let store = tokio::task::spawn_blocking(move || LayerStore::open(directory)).await;
    let store = store.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let tiers = Tiers::new(store, Some(cold)).map_err(|error| error.to_string())?;
    let layer = LayerRef::new(LayerKind::Output, UNKNOWN_KEY);
    match tokio::time::timeout(ANSWER_WAIT_MAX, tiers.ensure(&layer)).await {
        Ok(Ensured::Trouble(note)) => Err(note),
        Ok(Ensured::Missing | Ensured::Hot | Ensured::Fetched { .. }) => Ok(()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs())),
    }
}

/// A hot tier for one question.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("slipway-doctor-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
