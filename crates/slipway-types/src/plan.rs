//! What detection decided: data, shown to its owner, the same for the same tree.

use crate::settings::ServiceKind;
use crate::site::{SitePlan, SiteRules};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a source tree becomes an image and how that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// `Static` exactly when [`Plan::start`] is a site.
    pub kind: ServiceKind,
    /// Directory of the service in the tree; empty is the tree itself.
    pub root: String,
    /// Name of what was recognised, such as `Next.js`.
    pub framework: Option<String>,
    /// The first one runs the app; the others are at hand too. Empty: plain files, nothing is run.
    pub toolchains: Vec<Toolchain>,
    pub package_manager: Option<PackageManager>,
    /// None: there is nothing to install.
    pub install: Option<InstallPlan>,
    /// Shell command. None: there is nothing to build.
    pub build_command: Option<String>,
    pub start: Start,
    /// Shell command of the source's own (`release` in a `Procfile`); the setting `pre_deploy_command` wins.
    pub pre_deploy_command: Option<String>,
    /// Variables of the build that the plan sets, not the owner.
    pub build_env: BTreeMap<String, String>,
    /// Variables of the app that the plan sets.
    pub run_env: BTreeMap<String, String>,
    /// Directories relative to the service's root that are kept between builds and left out of the image.
    pub cache_dirs: Vec<String>,
    /// Prefixes of variables that the build bakes into its output (`NEXT_PUBLIC_` …).
    pub public_prefixes: Vec<String>,
    /// From configuration files of the source; those in the published directory come before them.
    #[serde(default, skip_serializing_if = "SiteRules::is_empty")]
    pub rules: SiteRules,
    /// One sentence per decision, each with the file that it comes from.
    pub reasons: Vec<Reason>,
}

impl Plan {
    /// The command of a replica; None for a site.
    pub fn start_command(&self) -> Option<&str> {
        match &self.start {
            Start::Command { command } => Some(command),
            Start::Site(_) => None,
        }
    }

    /// What is published without a process; None for an app.
    pub fn site(&self) -> Option<&SitePlan> {
        match &self.start {
            Start::Command { .. } => None,
            Start::Site(site) => Some(site),
        }
    }
}

/// How a release answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Start {
    /// A process in a sandbox.
    Command {
        /// Shell command.
        command: String,
    },
    /// Files, served by the edge.
    Site(SitePlan),
}

/// A runtime and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    pub name: ToolchainName,
    /// A version range, as the source writes it (`>=22 <25`, `24`, `24.1.0`); `*` is any.
    pub version_range: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolchainName {
    Node,
    Python,
    Hugo,
}

impl ToolchainName {
    /// As in paths and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            ToolchainName::Node => "node",
            ToolchainName::Python => "python",
            ToolchainName::Hugo => "hugo",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            ToolchainName::Node => "Node.js",
            ToolchainName::Python => "Python",
            ToolchainName::Hugo => "Hugo",
        }
    }
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
    Pip,
    Uv,
    Poetry,
}

impl PackageManagerName {
    pub fn as_str(self) -> &'static str {
        match self {
            PackageManagerName::Npm => "npm",
            PackageManagerName::Pnpm => "pnpm",
            PackageManagerName::Yarn => "yarn",
            PackageManagerName::Bun => "bun",
            PackageManagerName::Pip => "pip",
            PackageManagerName::Uv => "uv",
            PackageManagerName::Poetry => "poetry",
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
