//! Layer store: immutable file-system images addressed by key.
//!
//! A layer is one ext4 image file whose `upper/` directory is the layer's tree. The same kind of image, mounted
//! read-write, is a sandbox's writable layer: its size is the sandbox's disk limit, and publishing it is a rename, whatever
//! the number of files in it. Everything here blocks; asynchronous callers go through a blocking task.
//!
//! - [`image`]: create, mount, measure one image.
//! - [`copy`]: copy one image, as quickly as the disk can.
//! - [`LayerStore`]: a directory of published images, their locks, their durability.
//! - [`LayerKey`]: a key from labelled inputs.

pub mod copy;
mod durability;
mod error;
pub mod image;
mod key;
mod leftover;
mod lock;
mod loop_device;
mod mount;
mod store;

pub use error::LayerError;
pub use image::{Access, Usage};
pub use key::{LayerKey, is_valid_key};
pub use lock::LayerLock;
pub use mount::Mounted;
pub use store::{LayerEntry, LayerStore};
