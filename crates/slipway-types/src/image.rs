//! What a build makes: an ordered list of immutable layers and how to start it.

use crate::site::SiteRules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a layer holds; also the first part of its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Debian with build tools.
    Base,
    /// A runtime or a package manager.
    Toolchain,
    /// What the install command wrote.
    Dependencies,
    /// The source tree.
    Source,
    /// What the build command wrote.
    Output,
    /// A site without a process: see [`crate::site`].
    Site,
}

impl LayerKind {
    pub const ALL: [LayerKind; 6] = [
        LayerKind::Base,
        LayerKind::Toolchain,
        LayerKind::Dependencies,
        LayerKind::Source,
        LayerKind::Output,
        LayerKind::Site,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LayerKind::Base => "base",
            LayerKind::Toolchain => "toolchain",
            LayerKind::Dependencies => "dependencies",
            LayerKind::Source => "source",
            LayerKind::Output => "output",
            LayerKind::Site => "site",
        }
    }

    /// By an owner's command. The others are the host's own work on every driver.
    pub fn is_written_in_a_sandbox(self) -> bool {
        matches!(self, LayerKind::Dependencies | LayerKind::Output)
    }
}

/// One immutable layer, by kind and key. Equal keys mean equal inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerRef {
    pub kind: LayerKind,
    /// Lower-case letters, digits, `.` and `-`.
    pub key: String,
}

/// Whose kernel wrote a file system. The host's kernel reads only what it wrote itself: a guest's may have been made to break it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrittenBy {
    /// The host's, for itself or for a container.
    #[default]
    Host,
    /// A virtual machine's. Only virtual machines mount it.
    Guest,
}

/// End of the key of a layer that a virtual machine wrote. Being part of the name, the mark is kept wherever the name is: in
/// releases, in both tiers, in pins. No other key of these kinds has a dot.
const GUEST_SUFFIX: &str = ".vm";

impl LayerRef {
    pub fn new(kind: LayerKind, key: impl Into<String>) -> Self {
        Self { kind, key: key.into() }
    }

    /// The name of the same layer, written by that kernel. Only commands in sandboxes write differently.
    #[must_use]
    pub fn written(self, by: WrittenBy) -> Self {
        let suffix = match by {
            WrittenBy::Guest if self.kind.is_written_in_a_sandbox() => GUEST_SUFFIX,
            _ => "",
        };
        Self { key: format!("{}{suffix}", self.key), ..self }
    }

    pub fn written_by(&self) -> WrittenBy {
        match self.kind.is_written_in_a_sandbox() && self.key.ends_with(GUEST_SUFFIX) {
            true => WrittenBy::Guest,
            false => WrittenBy::Host,
        }
    }
}

impl std::fmt::Display for LayerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.key)
    }
}

/// The result of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Lowest first. Of a site: its one layer.
    pub layers: Vec<LayerRef>,
    pub start: ImageStart,
    #[serde(default, skip_serializing_if = "SiteRules::is_empty")]
    pub rules: SiteRules,
}

/// What answers for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum ImageStart {
    Process(StartConfig),
    /// The edge, from the files of the layer.
    Site,
}

impl Image {
    /// How its process starts; None for a site.
    pub fn process(&self) -> Option<&StartConfig> {
        match &self.start {
            ImageStart::Process(start) => Some(start),
            ImageStart::Site => None,
        }
    }
}

/// How a replica of an image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartConfig {
    /// Shell command.
    pub command: String,
    /// Absolute directory in the sandbox.
    pub cwd: String,
    /// Variables that the plan sets; the owner's come over them.
    pub env: BTreeMap<String, String>,
    /// Directories that go in front of `PATH`.
    pub path: Vec<String>,
}
