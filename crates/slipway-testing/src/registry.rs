//! A private npm registry and git server for one test, at an address that sandboxes may reach. Nothing is answered
//! without the token.

use crate::app::App;
use crate::neighbour::Neighbour;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const SERVER_PY: &str = include_str!("registry.py");
const PORT: u16 = 4873;

/// Dropping it ends and removes it.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    // After the server, which runs in it.
    neighbour: Neighbour,
    token: String,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// With the npm package `@private/lib` and the git repository `lib.git`.
    pub fn start() -> Registry {
        let neighbour = Neighbour::new();
        let dir = tempfile::Builder::new().prefix("slipway-registry-").tempdir().unwrap();
        // Another one for each test, so that none is found where another test has left it.
        let token = format!("sentinel-{}", dir.path().file_name().unwrap().to_string_lossy());
        make_repository(dir.path());
        std::fs::write(dir.path().join("registry.py"), SERVER_PY).unwrap();
        let mut server = neighbour
            .command(None, "python3")
            .arg(dir.path().join("registry.py"))
            .args([&neighbour.address(), &PORT.to_string(), &token])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "the registry did not start");
        Registry { server, neighbour, token, _dir: dir }
    }

    /// Line for [`crate::TestServer::start_with`].
    pub fn allow(&self) -> String {
        self.neighbour.allow()
    }

    /// What it is asked with: as bearer token, or as the password of `reader`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("{}:{PORT}", self.neighbour.address())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn make_repository(dir: &std::path::Path) {
    let library = App::empty("lib")
        .with("package.json", r#"{"name":"private-git","version":"1.0.0","main":"index.js"}"#)
        .with("index.js", "module.exports = 'from the private repository';\n");
    library.commit("first");
    let cloned =
        Command::new("git").args(["clone", "--quiet", "--bare"]).arg(library.path()).arg(dir.join("lib.git")).status();
    assert!(cloned.unwrap().success());
}
