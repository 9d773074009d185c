//! What is known of frameworks. The data stands in `framework/catalog.rs` and `framework/site_catalog.rs`: a new
//! framework is one entry there. Where its configuration decides what it makes, the entry names a rule, one file each.

mod angular;
mod astro;
mod catalog;
mod generator;
mod next;
mod nuxt;
mod react_router;
mod site_catalog;
mod sveltekit;
mod tanstack;
mod vite;

use super::node::Project;
use crate::package_json::PackageJson;
use crate::tree::Tree;

/// One framework. Commands are what its own programs are called with when `package.json` has no script for it.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) name: &'static str,
    /// Dependencies of which any gives it away.
    pub(super) packages: &'static [&'static str],
    /// Must hold too, where a dependency alone says too little; alone enough where there are no packages.
    pub(super) condition: Option<fn(&Tree<'_>, &PackageJson) -> bool>,
    /// Scripts that build it for production, best first.
    pub(super) build_scripts: &'static [&'static str],
    /// Empty: it needs no build of its own.
    pub(super) build_command: &'static str,
    /// Scripts that start it for production, best first.
    pub(super) start_scripts: &'static [&'static str],
    /// Programs that start its development server when a script calls them.
    pub(super) development_commands: &'static [&'static str],
    /// Programs that show its site, or start the server that it has when it makes no site.
    pub(super) site_commands: &'static [&'static str],
    /// Kept between builds, relative to the service's root.
    pub(super) cache_dirs: &'static [&'static str],
    /// Variables with such a name are baked into what the browser gets.
    pub(super) public_prefixes: &'static [&'static str],
    pub(super) build_env: &'static [(&'static str, &'static str)],
    pub(super) run_env: &'static [(&'static str, &'static str)],
    pub(super) output: Output,
}

/// What a build leaves behind.
#[derive(Debug)]
pub(super) enum Output {
    /// Nothing that starts by itself: the source says how.
    Unsaid,
    /// A server; the command that starts it.
    Server(&'static str),
    /// Files, in this directory.
    Site { directory: &'static str, fallback: Option<&'static str> },
    /// The configuration decides.
    Rule(fn(&Project<'_>) -> Found),
}

/// What one project's build leaves behind, and why that is known.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) shape: Shape,
    /// Where it is said; None: it is what the framework does by default.
    pub(super) from: Option<String>,
    /// Shell command after the build.
    pub(super) after_build: Option<String>,
    pub(super) run_env: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Unsaid,
    /// Shell command that starts it.
    Server(String),
    Site {
        directory: String,
        fallback: Option<String>,
    },
    /// Output for somebody else's platform, which does not run here.
    Foreign {
        why: String,
        hint: String,
    },
}

impl Found {
    /// Where there is no framework.
    pub(super) fn unsaid() -> Self {
        Self::new(Shape::Unsaid)
    }

    fn new(shape: Shape) -> Self {
        Self { shape, from: None, after_build: None, run_env: &[] }
    }

    fn server(command: impl Into<String>) -> Self {
        Self::new(Shape::Server(command.into()))
    }

    fn site(directory: impl Into<String>, fallback: Option<&str>) -> Self {
        Self::new(Shape::Site { directory: directory.into(), fallback: fallback.map(str::to_owned) })
    }

    fn from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// The same, where nothing more telling is said yet.
    fn or_from(self, from: impl Into<String>) -> Self {
        if self.from.is_some() { self } else { self.from(from) }
    }

    /// A fallback with a name of its own that the build makes only sometimes: else the front page takes its place.
    fn with_fallback_made(mut self) -> Self {
        if let Shape::Site { directory, fallback: Some(fallback) } = &self.shape {
            self.after_build = Some(format!(
                "{{ [ -f {directory}/{fallback} ] || cp {directory}/index.html {directory}/{fallback}; }}"
            ));
        }
        self
    }
}

impl Framework {
    pub(super) fn found(&self, project: &Project<'_>) -> Found {
        match &self.output {
            Output::Unsaid => Found::new(Shape::Unsaid),
            Output::Server(command) => Found::server(*command),
            Output::Site { directory, fallback } => Found::site(*directory, *fallback),
            Output::Rule(rule) => rule(project),
        }
    }
}

/// The first framework that the package depends on, and what gave it away.
pub(super) fn detect(tree: &Tree<'_>, package: &PackageJson) -> Option<(&'static Framework, String)> {
    catalog::FRAMEWORKS.iter().chain(site_catalog::FRAMEWORKS).chain(catalog::LIBRARIES).find_map(|framework| {
        let holds = framework.condition.is_none_or(|condition| condition(tree, package));
        let seen = framework.packages.iter().find(|name| package.dependency(name).is_some());
        match seen {
            _ if !holds => None,
            Some(name) => Some((framework, format!("the dependency `{name}` in `{}`", tree.path("package.json")))),
            None if framework.packages.is_empty() => Some((framework, "its configuration in the source".to_owned())),
            None => None,
        }
    })
}

/// Nothing of its own: what each entry of the data starts from.
const PLAIN: Framework = Framework {
    name: "",
    packages: &[],
    condition: None,
    build_scripts: &["build"],
    build_command: "",
    start_scripts: &["start"],
    development_commands: &[],
    site_commands: &[],
    cache_dirs: &[],
    public_prefixes: &[],
    build_env: &[],
    run_env: &[],
    output: Output::Unsaid,
};
