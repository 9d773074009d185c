//! Small apps, written to a directory of their own.

use std::path::{Path, PathBuf};

/// Answers `GET /` with `VERSION`, streams on `/stream`, echoes WebSocket frames on `/ws`. No dependencies: it deploys in a second.
const SERVER_JS: &str = include_str!("app/server.js");

/// An app in a temporary directory that vanishes with it.
#[derive(Debug)]
pub struct App {
    dir: tempfile::TempDir,
    name: String,
}

impl App {
    /// An empty directory; `name` is the project's name.
    pub fn empty(name: &str) -> App {
        App { dir: tempfile::tempdir().unwrap(), name: name.to_owned() }
            .with("slipway.toml", &format!("project = \"{name}\"\n"))
    }

    /// The files of `source`, without what `npm install` may have left there.
    pub fn copy_of(name: &str, source: &Path) -> App {
        let app = App { dir: tempfile::tempdir().unwrap(), name: name.to_owned() };
        copy(source, app.path());
        app
    }

    /// A Node.js server without dependencies that answers `version`.
    pub fn node(name: &str, version: &str) -> App {
        App::empty(name)
            .with(
                "package.json",
                &format!(
                    r#"{{"name":"{name}","version":"1.0.0","private":true,"scripts":{{"start":"node server.js"}}}}"#
                ),
            )
            .with("server.js", &SERVER_JS.replace("@VERSION@", version))
    }

    /// Writes a file, with its directories.
    #[must_use]
    pub fn with(self, path: &str, text: &str) -> App {
        self.write(path, text);
        self
    }

    /// The app's `slipway.toml`, with more lines after the project's name.
    #[must_use]
    pub fn settings(self, lines: &str) -> App {
        self.settings_again(lines);
        self
    }

    /// Replaces what [`App::settings`] wrote.
    pub fn settings_again(&self, lines: &str) {
        self.write("slipway.toml", &format!("project = \"{}\"\n{lines}\n", self.name));
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Makes the Node.js server answer another version.
    pub fn set_version(&self, version: &str) {
        self.write("server.js", &SERVER_JS.replace("@VERSION@", version));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes the directory a git repository with one commit of everything; returns the commit.
    pub fn commit(&self, message: &str) -> String {
        let git = |args: &[&str]| -> String {
            let identity =
                ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"];
            let output =
                std::process::Command::new("git").args(identity).args(args).current_dir(self.path()).output().unwrap();
            assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        if !self.path().join(".git").exists() {
            git(&["init", "-q"]);
        }
        git(&["add", "-A"]);
        git(&["commit", "-q", "--allow-empty", "-m", message]);
        git(&["rev-parse", "HEAD"])
    }
}

fn copy(source: &Path, target: &Path) {
    std::fs::create_dir_all(target).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() && entry.file_name() != "node_modules" => copy(&from, &to),
            kind if kind.is_file() => drop(std::fs::copy(&from, &to).unwrap()),
            _ => {}
        }
    }
}

/// The repository's own `examples/NAME`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}
