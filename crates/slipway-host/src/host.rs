//! What all parts of one host share: its configuration, its layers, its sandboxes, and the names of things.

use crate::cache::Caches;
use crate::config::HostConfig;
use crate::custodian::CustodianHandle;
use crate::head::Heads;
use crate::toolchain::Toolchains;
use crate::turn::Turns;
use slipway_layers::{LayerStore, Tiers};
use slipway_sandbox::Sandboxes;
use slipway_types::id::ID_BYTES_MAX;
use slipway_types::{DeploymentId, LayerRef, ReplicaId, WrittenBy};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: HostConfig,
    /// The hot tier.
    pub(crate) store: LayerStore,
    pub(crate) tiers: Tiers,
    pub(crate) custodian: CustodianHandle,
    /// Under which its pins stand; the same as long as its data directory lives.
    pub(crate) server_id: String,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) toolchains: Toolchains,
    pub(crate) caches: Caches,
    pub(crate) heads: Heads,
    pub(crate) base: LayerRef,
    pub(crate) turns: Turns,
}

const BUILD_PREFIX: &str = "b-";
const REPLICA_PREFIX: &str = "r-";

impl Host {
    /// Everything that a deployment needs while it is built, and nothing else.
    pub(crate) fn scratch(&self, deployment: &DeploymentId) -> PathBuf {
        self.scratch_root().join(deployment.as_str())
    }

    /// Whose kernel writes what sandboxes of this host write.
    pub(crate) fn written_by(&self) -> WrittenBy {
        self.config.sandbox.written_by()
    }

    /// Why sandboxes of this host cannot be booted on the layer, whatever tier it is in.
    pub(crate) fn objection(&self, layer: &LayerRef) -> Option<String> {
        let foreign = layer.written_by() == WrittenBy::Guest && self.written_by() == WrittenBy::Host;
        foreign.then(|| {
            format!(
                "the layer `{layer}` was written in a virtual machine, and this server runs containers: the host's kernel does not \
                 mount what another kernel wrote"
            )
        })
    }

    pub(crate) fn scratch_root(&self) -> PathBuf {
        self.config.data_dir.join("scratch")
    }

    /// Writable images of replicas. An id never begins with a dot.
    pub(crate) fn replica_images(&self) -> PathBuf {
        self.scratch_root().join(".replicas")
    }

    /// Where it is written down which run the sandbox of a replica is, for a later server.
    pub(crate) fn run_path(&self, sandbox_id: &str) -> PathBuf {
        self.replica_images().join(format!("{sandbox_id}.run"))
    }

    /// Mounts of the replicas that are sites, each under its id.
    pub(crate) fn sites(&self) -> PathBuf {
        sites_in(&self.config.data_dir)
    }

    pub(crate) fn build_sandbox_id(&self, deployment: &DeploymentId) -> String {
        sandbox_id(BUILD_PREFIX, deployment.as_str())
    }
}

pub(crate) fn replica_sandbox_id(replica: &ReplicaId) -> String {
    sandbox_id(REPLICA_PREFIX, replica.as_str())
}

pub(crate) fn is_replica_sandbox(id: &str) -> bool {
    id.starts_with(REPLICA_PREFIX)
}

/// Prefix and id; where that is too long, the id's digest stands for it.
fn sandbox_id(prefix: &str, id: &str) -> String {
    if prefix.len() + id.len() <= ID_BYTES_MAX {
        return format!("{prefix}{id}");
    }
    let digest = blake3::hash(id.as_bytes()).to_hex();
    format!("{prefix}{}", &digest[..32])
}

/// Where the sites of a host with that data directory are mounted.
pub(crate) fn sites_in(data_dir: &Path) -> PathBuf {
    data_dir.join("sites")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sandboxes_are_ids_and_tell_what_they_are() {
        for id in ["rpl-1", &"a".repeat(ID_BYTES_MAX)] {
            let name = replica_sandbox_id(&ReplicaId::parse(id).unwrap());
            assert!(is_replica_sandbox(&name));
            assert!(ReplicaId::parse(name.clone()).is_ok(), "{name}");
            assert!(!is_replica_sandbox(&sandbox_id(BUILD_PREFIX, id)));
        }
    }
}
