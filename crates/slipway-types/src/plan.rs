//! What detection decided: data, shown to its owner, the same for the same tree.

use crate::settings::ServiceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a source tree becomes an image and how that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub kind: ServiceKind,
    /// Directory of the service in the tree; empty is the tree itself.
    pub root: String,
    /// Name of what was recognised, such as `Next.js`.
    pub framework: Option<String>,
    pub toolchain: Toolchain,
    pub package_manager: Option<PackageManager>,
    /// None: there is nothing to install.
    pub install: Option<InstallPlan>,
    /// Shell command. None: there is nothing to build.
    pub build_command: Option<String>,
    /// Shell command.
    pub start_command: String,
    /// Variables of the build that the plan sets, not the owner.
    pub build_env: BTreeMap<String, String>,
    /// Variables of the app that the plan sets.
    pub run_env: BTreeMap<String, String>,
    /// Directories relative to the service's root that are kept between builds and left out of the image.
    pub cache_dirs: Vec<String>,
    /// Prefixes of variables that the build bakes into its output (`NEXT_PUBLIC_` …).
    pub public_prefixes: Vec<String>,
    /// One sentence per decision, each with the file that it comes from.
    pub reasons: Vec<Reason>,
}

/// A runtime and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// `node`.
    pub name: String,
    /// A semver range, as the source writes it (`>=22 <25`, `24`, `24.1.0`).
    pub version_range: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManager {
    pub name: PackageManagerName,
    /// Exact version or range; None: the one that comes with the runtime, else the newest.
    pub version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageManagerName {
    Npm,
    Pnpm,
    Yarn,
    Bun,
}

impl PackageManagerName {
    pub fn as_str(self) -> &'static str {
        match self {
            PackageManagerName::Npm => "npm",
            PackageManagerName::Pnpm => "pnpm",
            PackageManagerName::Yarn => "yarn",
            PackageManagerName::Bun => "bun",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallPlan {
    /// Shell command, run in the tree's root.
    pub command: String,
    /// Files whose contents decide what is installed: lockfile, manifests, configuration. Paths relative to the tree.
    pub key_files: Vec<String>,
}

/// Why a plan says what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What was decided, such as `Node.js >=22`.
    pub decided: String,
    /// From what, such as `engines.node in package.json`.
    pub from: String,
}
