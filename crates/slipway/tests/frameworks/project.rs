//! A project on disk, from its scaffold to its deployment.
//!
//! The tools are told not to install: the build is to do that. So there is no lockfile either; that lockfiles are kept to
//! is for `tests/e2e`.

use crate::served::Served;
use crate::tool;
use slipway_testing::TestServer;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A project in a directory of its own name, without a `slipway.toml`: nothing is configured.
pub(crate) struct Project {
    parent: tempfile::TempDir,
    name: &'static str,
}

impl Project {
    /// An empty directory.
    pub(crate) fn empty(name: &'static str) -> Project {
        let project = Project::absent(name);
        std::fs::create_dir(project.path()).unwrap();
        project
    }

    /// What `npx package args` makes; in `args`, `@` stands for the project's name.
    pub(crate) fn scaffold(name: &'static str, package: &str, args: &[&str]) -> Project {
        let project = Project::absent(name);
        // Two at once would both put the package into npx's cache.
        let alone = std::fs::File::create(tool::shared().join(format!("{}.lock", package.replace('/', "-")))).unwrap();
        alone.lock().unwrap();
        let started = Instant::now();
        let mut npx = tool::node("npx", project.parent.path());
        npx.args(["--yes", package]).args(args.iter().map(|arg| if *arg == "@" { name } else { *arg }));
        tool::run(npx);
        eprintln!("{name}: {package} took {:.1} s", started.elapsed().as_secs_f64());
        project
    }

    fn absent(name: &'static str) -> Project {
        Project { parent: tempfile::Builder::new().prefix("slipway-framework-").tempdir().unwrap(), name }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.parent.path().join(self.name)
    }

    pub(crate) fn parent(&self) -> &Path {
        self.parent.path()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[must_use]
    pub(crate) fn with(self, path: &str, text: &str) -> Project {
        self.write(path, text);
        self
    }

    /// Changes what the scaffold wrote; it must be there.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path().join(path)).unwrap();
        assert!(text.contains(from), "`{path}` of the scaffold has no `{from}`:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// `slipway up`, which must go live.
    pub(crate) fn deploy<'s>(&self, server: &'s TestServer) -> Served<'s> {
        let started = Instant::now();
        let run = server.run_in(&self.path(), &["up", "--json"]);
        let log = || server.run_in(&self.path(), &["logs", "--build"]).stdout;
        assert_eq!(
            run.code,
            0,
            "{}: `slipway up`\n{}\n{}\n--- build log\n{}",
            self.name,
            run.stdout,
            run.stderr,
            log()
        );
        let outcome = run.outcome();
        assert_eq!(outcome.event(), "deployed", "{}", run.stdout);
        eprintln!("{}: `slipway up` took {:.1} s", self.name, started.elapsed().as_secs_f64());
        for phase in run.events().iter().filter(|event| event["event"] == "phase_finished") {
            eprintln!("{}:   {} {} ms", self.name, phase["phase"].as_str().unwrap_or_default(), phase["duration_ms"]);
        }
        Served::new(server, format!("web-{}.localhost", self.name))
    }
}
