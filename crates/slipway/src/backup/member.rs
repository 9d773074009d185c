//! What a backup holds, by name. Whatever else stands in a file is refused: a name decides where its bytes are written.

use serde::{Deserialize, Serialize};
use slipway_types::{LayerKind, LayerRef, UploadId};

/// Of this form of the file. Another one is refused.
pub(super) const FORMAT: u32 = 1;
pub(super) const DATABASE: &str = "slipway.db";
pub(super) const KEY: &str = "keys/master.key";
pub(super) const TOKEN: &str = "admin-token";
pub(super) const CONFIG: &str = "slipway-server.toml";
pub(super) const LAYERS: &str = "layers/";
pub(super) const UPLOADS: &str = "uploads/";
const UPLOAD_SUFFIX: &str = ".tar.gz";
const HEADER: &str = "backup.json";
const SUMS: &str = "SUMS";

/// Largest of the members that are read into memory.
pub(super) const HEADER_BYTES_MAX: u64 = 1 << 20;
/// About 500,000 members.
pub(super) const SUMS_BYTES_MAX: u64 = 64 << 20;

/// The first member: what the rest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
    /// Of Slipway.
    pub(crate) version: String,
    pub(crate) schema: i64,
    /// Milliseconds since 1970.
    pub(crate) created_at: i64,
    pub(crate) with_layers: bool,
    /// Layers that releases stand on and that were not on the disk.
    pub(crate) missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Header,
    Database,
    Key,
    Token,
    Config,
    Upload(UploadId),
    Layer(LayerRef),
    Sums,
}

impl Member {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            HEADER => Some(Self::Header),
            DATABASE => Some(Self::Database),
            KEY => Some(Self::Key),
            TOKEN => Some(Self::Token),
            CONFIG => Some(Self::Config),
            SUMS => Some(Self::Sums),
            _ => {
                let upload = name.strip_prefix(UPLOADS).and_then(|name| name.strip_suffix(UPLOAD_SUFFIX));
                match upload {
                    Some(id) => UploadId::parse(id).ok().map(Self::Upload),
                    None => name.strip_prefix(LAYERS).and_then(layer).map(Self::Layer),
                }
            }
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Header => HEADER.to_owned(),
            Self::Database => DATABASE.to_owned(),
            Self::Key => KEY.to_owned(),
            Self::Token => TOKEN.to_owned(),
            Self::Config => CONFIG.to_owned(),
            Self::Upload(id) => format!("{UPLOADS}{id}{UPLOAD_SUFFIX}"),
            Self::Layer(layer) => format!("{LAYERS}{layer}"),
            Self::Sums => SUMS.to_owned(),
        }
    }
}

fn layer(name: &str) -> Option<LayerRef> {
    let (kind, key) = name.split_once('-')?;
    let kind = LayerKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    slipway_layers::is_valid_key(key).then(|| LayerRef::new(kind, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_one_name_and_no_other_name_is_one() {
        for name in [HEADER, DATABASE, KEY, TOKEN, CONFIG, SUMS, "uploads/up-1.tar.gz", "layers/source-dpl-1"] {
            assert_eq!(Member::parse(name).unwrap().name(), name);
        }
        for name in [
            "",
            "/slipway.db",
            "./slipway.db",
            "../x",
            "layers/../x",
            "layers/",
            "layers/source-",
            "layers/source-../x",
            "layers/unknown-1",
            "uploads/../x.tar.gz",
            "uploads/.tar.gz",
            "uploads/up-1",
            "server-id",
            "keys/other",
        ] {
            assert_eq!(Member::parse(name), None, "{name}");
        }
    }
}
