//! What a project says to Netlify: `netlify.toml`, `_redirects` and `_headers`, read as Netlify reads them.
//!
//! [`resolve`] finds the file and gives what it means for one deploy context; [`published_rules`] adds what stands in the
//! published directory. Precedence, merging and leniency are Netlify's own, held against its packages by a test
//! (`tests/oracle`); what differs is listed in `docs/netlify.md`. Pure: texts in, data and warnings out.

mod case;
mod context;
mod file;
mod header;
mod merge;
mod part;
mod plan;
mod process;
mod redirect;
mod rule;
mod text;
mod warning;

pub use context::DeployContext;
pub use file::{NETLIFY_FILE, resolve};
pub use header::from_text as headers;
pub(crate) use plan::add_rules_of_assets;
pub(crate) use process::leave_out_hiding_rules;
pub use redirect::from_text as redirects;
pub use rule::published_rules;
pub use warning::{RulePlace, RuleWarning};

use slipway_types::site::SiteRules;
use std::collections::BTreeMap;

/// What `netlify.toml` means for one deploy context. Paths are relative to the source tree; empty is the tree itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Netlify {
    /// The file that was read, such as `apps/web/netlify.toml`.
    pub file: String,
    /// Where commands run. None: the tree itself, and nobody said so.
    pub base: Option<String>,
    pub command: Option<String>,
    pub publish: String,
    /// The file says what is published; else it is the base.
    pub publish_is_set: bool,
    pub ignore: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub functions_directory: Option<String>,
    pub edge_functions_directory: Option<String>,
    /// Names of `[[edge_functions]]`.
    pub edge_functions: Vec<String>,
    pub plugins: Vec<Plugin>,
    /// Whether paths that are no file are answered by `index.html`.
    pub spa_fallback: Option<bool>,
    /// Of the file alone.
    pub rules: SiteRules,
    pub warnings: Vec<RuleWarning>,
}

/// A build plugin. It is known, not run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    pub package: String,
    pub inputs: toml::Table,
}

/// Why a configuration can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    /// As in `build.command`.
    key: String,
    what: String,
}

impl Problem {
    fn new(key: &str, what: impl Into<String>) -> Self {
        Self { key: key.to_owned(), what: what.into() }
    }

    /// The same in a context.
    fn under(self, context: &str) -> Self {
        Self { key: format!("context.{context}.{}", self.key), ..self }
    }
}

#[cfg(test)]
mod tests;
