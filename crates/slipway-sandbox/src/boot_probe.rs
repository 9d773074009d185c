//! Whether a driver boots on this machine: by booting.

use crate::config::{SandboxConfig, WarmConfig};
use crate::error::SandboxError;
use crate::sandboxes::Sandboxes;
use crate::spec::{SandboxSpec, WritableSpec};
use slipway_layers::{LayerError, image};
use slipway_types::settings::{ByteSize, ResourceLimits};
use std::path::Path;
use std::time::Duration;

const ID: &str = "boot-probe";
/// Of the empty layer, and of what the sandbox could write.
const IMAGE_BYTES: u64 = 2 * image::IMAGE_BYTES_MIN;

/// Boots a sandbox until its agent is ready, and stops it. Before anything else uses the same directory of sandboxes; those that run
/// go on.
///
/// # Errors
/// When the driver does not work here, with the reason.
pub async fn try_boot(config: SandboxConfig) -> Result<(), SandboxError> {
    let scratch = config.sandboxes_dir.join(format!(".{ID}"));
    let layer = scratch.join("layer.img");
    let made = {
        let (scratch, layer) = (scratch.clone(), layer.clone());
        tokio::task::spawn_blocking(move || make_empty_layer(&scratch, &layer)).await
    };
    let booted = match made {
        Ok(Ok(())) => boot(config, &scratch, layer).await,
        Ok(Err(error)) => Err(SandboxError::file("make", &layer)(std::io::Error::other(error))),
        Err(error) => Err(SandboxError::Background { why: error.to_string() }),
    };
    let _ = std::fs::remove_dir_all(&scratch);
    booted
}

async fn boot(config: SandboxConfig, scratch: &Path, layer: std::path::PathBuf) -> Result<(), SandboxError> {
    let sandboxes = Sandboxes::open(SandboxConfig { warm: WarmConfig::OFF, ..config }).await?;
    let spec = SandboxSpec {
        id: ID.to_owned(),
        layers: vec![layer],
        writable: WritableSpec::scratch(scratch.join("writable.img"), IMAGE_BYTES),
        cache: None,
        limits: ResourceLimits {
            memory: ByteSize::mebibytes(64),
            cpus: 1.0,
            processes_max: 16,
            disk: ByteSize(IMAGE_BYTES),
        },
        hostname: ID.to_owned(),
    };
    let booted = match sandboxes.boot(spec).await {
        Ok(sandbox) => sandbox.stop(Duration::ZERO).await,
        Err(error) => Err(error),
    };
    sandboxes.close().await;
    booted
}

/// As layers are: with a tree under `upper`, here an empty one.
fn make_empty_layer(scratch: &Path, layer: &Path) -> Result<(), LayerError> {
    let _ = std::fs::remove_dir_all(scratch);
    // Where this fails, the next step says so.
    let _ = std::fs::create_dir_all(scratch);
    image::create(layer, IMAGE_BYTES)?;
    image::mount(layer, &scratch.join("mounted"), image::Access::ReadWrite)?.unmount()
}
