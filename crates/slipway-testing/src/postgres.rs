//! A real PostgreSQL of its own for one test: Debian's programs, a fresh cluster, an address that sandboxes may reach.

use crate::neighbour::Neighbour;
use crate::wait;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where Debian and Ubuntu put each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
/// It refuses to run as root.
const SYSTEM_USER: &str = "postgres";
const PORT: u16 = 5432;
/// The role's password: a test may look for it where no secret may be.
pub const PASSWORD: &str = "pg-sentinel-4711";
const START_BOUND: Duration = Duration::from_secs(30);

/// A running server with an empty database `app` of the role `app`. Dropping it ends and removes it.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    // After the server: it runs in the one and writes to the other.
    neighbour: Neighbour,
    _dir: tempfile::TempDir,
}

impl Postgres {
    pub fn start() -> Postgres {
        let programs = programs();
        let neighbour = Neighbour::new();
        let dir = tempfile::Builder::new().prefix("slipway-postgres-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        make_cluster(&programs, dir.path());
        let server = neighbour
            .command(Some(SYSTEM_USER), programs.join("postgres").to_str().unwrap())
            .arg("-D")
            .arg(dir.path().join("data"))
            .arg("-k")
            .arg(dir.path())
            .args(["-p", &PORT.to_string(), "-c", "listen_addresses=*", "-c", "fsync=off"])
            // A client that was killed gives back its locks at once.
            .args(["-c", "client_connection_check_interval=100ms"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut postgres = Postgres { server, neighbour, _dir: dir };
        postgres.wait_until_ready();
        postgres
    }

    fn wait_until_ready(&mut self) {
        wait::until("PostgreSQL to be ready", START_BOUND, || {
            let log = || std::fs::read_to_string(self._dir.path().join("log")).unwrap_or_default();
            if let Some(status) = self.server.try_wait().unwrap() {
                panic!("PostgreSQL ended with {status}\n{}", log());
            }
            self.psql("postgres", "SELECT 1").ok()
        });
        self.psql("postgres", "CREATE DATABASE app").unwrap();
    }

    /// Line for [`crate::TestServer::start_with`]: sandboxes may reach this server.
    pub fn allow(&self) -> String {
        self.neighbour.allow()
    }

    /// What an app is given as `DATABASE_URL`.
    pub fn url(&self) -> String {
        self.url_of("app")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://app:{PASSWORD}@{}:{PORT}/{database}", self.neighbour.address())
    }

    /// Rows of a query as `psql` prints them: values separated by `|`, one row a line.
    pub fn query(&self, sql: &str) -> String {
        self.psql("app", sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A session that holds what `sql` takes (a lock, say) until it is dropped.
    pub fn hold(&self, sql: &str) -> Session {
        let mut client = Command::new("psql");
        client.args([&self.url(), "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        client.args(["-c", "SELECT 'held'", "-c", "SELECT pg_sleep(600)"]);
        let mut client = client.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(client.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap() == "held"), "psql did not hold: {sql}");
        Session(client)
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = Command::new("psql");
        client.args([&self.url_of(database), "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", sql]).stdin(Stdio::null());
        let output = client.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The postmaster's own children end when it is gone; nothing of the cluster is kept.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A client that stays connected.
#[derive(Debug)]
pub struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The programs of the newest installed version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest =
        versions.map(|entry| entry.path()).filter(|path| number(path).is_some()).max_by_key(|path| number(path));
    newest
        .unwrap_or_else(|| panic!("PostgreSQL is not installed in {VERSIONS}: `apt-get install postgresql`"))
        .join("bin")
}

fn make_cluster(programs: &Path, dir: &Path) {
    let password = dir.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups", "--"])
        .arg(programs.join("initdb"))
        .args(["--username=app", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--pwfile"])
        .arg(&password)
        .arg("-D")
        .arg(dir.join("data"))
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let rules = dir.join("data/pg_hba.conf");
    let mut text = std::fs::read_to_string(&rules).unwrap();
    text.push_str("host all all all scram-sha-256\n");
    std::fs::write(&rules, text).unwrap();
}
