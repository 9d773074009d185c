//! Layer store: immutable file-system images addressed by key.
//!
//! A layer is one ext4 image file whose `upper/` directory is the layer's tree. The same kind of image, mounted
//! read-write, is a sandbox's writable layer: its size is the sandbox's disk limit, and publishing it is a rename, whatever
//! the number of files in it. Everything here blocks; asynchronous callers go through a blocking task.
//!
//! - [`image`]: create, mount, measure one image.
//! - [`copy`]: copy one image, as quickly as the disk can.
//! - [`portable`]: a layer as a stream of bytes.
//! - [`LayerStore`]: a directory of published images, their locks, their durability.
//! - [`LayerKey`]: a key from labelled inputs.
//! - [`LayerRecord`]: what is known of a layer, and when it was last used.
//! - Pins and [`Lease`]s keep layers in place; [`eviction`] decides what goes, [`LayerStore::sweep`] does it.

mod cold;
pub mod copy;
mod digest;
mod durability;
mod error;
pub mod eviction;
mod hold;
pub mod image;
mod inventory;
mod key;
mod leftover;
mod lock;
mod loop_device;
mod machine;
mod mount;
pub mod portable;
mod record;
mod store;
mod sweep;
mod temp_file;
mod tiers;
mod write_back;
mod written;

pub use cold::{ColdBounds, ColdConfig, ColdCredentials, ColdError};
pub use digest::LayerDigest;
pub use error::LayerError;
pub use eviction::{Eviction, EvictionReason, Quota, SweepMode, SweepReport};
pub use hold::Lease;
pub use image::{Access, Usage};
pub use inventory::{Stored, StoredId};
pub use key::{LayerKey, is_valid_key};
pub use lock::LayerLock;
pub use mount::Mounted;
pub use record::LayerRecord;
pub use store::{LayerEntry, LayerStore};
pub use tiers::{Ensured, Tiers};
