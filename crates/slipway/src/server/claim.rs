//! What a server must have for itself before it begins: its data directory and its two ports. Each is refused with
//! words that name the setting to change.

use super::config::ServerConfig;
use super::handed::Handed;
use crate::failure::{Exit, Failure};
use slipway_edge::EdgeListener;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const LOCK_NAME: &str = "server.lock";
/// A server that was killed while it started a program left a process that has all of its files until that program begins:
/// its lock and its ports come free a moment later.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Somebody else's port is told without delay.
const PORT_WAIT_MAX: Duration = Duration::from_secs(2);
const LET_GO_POLL: Duration = Duration::from_millis(5);

/// The data directory, as long as this lives. The kernel lets go of the lock however the process ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// When it cannot be made, or another server has it.
    pub(crate) fn claim(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            let failure = Failure::server(format!("cannot use the data directory `{}`", path.display()));
            failure.caused_by(&error).hint("run the server as root, or choose another by `--data`")
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock_path = path.join(LOCK_NAME);
        let mut lock =
            File::options().create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(unusable)?;
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&lock_path);
                    if Instant::now() >= deadline || holder.is_some_and(is_running) {
                        return Err(taken(path, holder));
                    }
                    std::thread::sleep(LET_GO_POLL);
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        // For the message of a second server; the lock itself is what counts.
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { _lock: lock })
    }
}

impl DataDir {
    /// The server that has it, where one does.
    pub(crate) fn server_of(path: &Path) -> Option<u32> {
        let lock_path = path.join(LOCK_NAME);
        let lock = File::open(&lock_path).ok()?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => holder(&lock_path),
            _ => None,
        }
    }
}

/// The process that took the lock last.
fn holder(lock_path: &Path) -> Option<u32> {
    fs::read_to_string(lock_path).ok()?.trim().parse().ok()
}

fn is_running(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn taken(path: &Path, holder: Option<u32>) -> Failure {
    let holder = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    Failure::server(format!("another server{holder} runs in the data directory `{}`", path.display()))
        .hint("stop it first, or give this one another directory by `--data`")
}

/// Both ports, taken.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) api: TcpListener,
    pub(super) edge: EdgeListener,
}

impl Listeners {
    /// What was handed over, whatever the configuration says; the rest is bound.
    ///
    /// # Errors
    /// When an address cannot be taken.
    pub(super) async fn bind(config: &ServerConfig, handed: Handed) -> Result<Self, Failure> {
        let api = match handed.api {
            Some(listener) => TcpListener::from_std(listener),
            None => once_free(async || TcpListener::bind(config.api_listen).await).await,
        };
        let api = api.map_err(|error| refused(config.api_listen, &error, "api.listen", "--listen"))?;
        let edge = match handed.edge.is_empty() {
            false => EdgeListener::try_from(handed.edge),
            true => once_free(async || EdgeListener::bind(config.edge_listen)).await.and_then(EdgeListener::widened),
        };
        let edge = edge.map_err(|error| refused(config.edge_listen, &error, "edge.listen", "--edge-listen"))?;
        Ok(Self { api, edge })
    }
}

async fn once_free<T>(bind: impl AsyncFn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PORT_WAIT_MAX;
    loop {
        match bind().await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(LET_GO_POLL).await;
            }
            bound => return bound,
        }
    }
}

fn refused(address: SocketAddr, error: &io::Error, key: &str, flag: &str) -> Failure {
    let (message, exit) = match error.kind() {
        io::ErrorKind::AddrInUse => (format!("port {} of {} is in use", address.port(), address.ip()), Exit::Server),
        io::ErrorKind::AddrNotAvailable => (format!("this machine has no address {}", address.ip()), Exit::Usage),
        _ => (format!("cannot listen on {address}"), Exit::Server),
    };
    let failure = Failure::new(exit, message).caused_by(error);
    failure.hint(format!("choose another by `{flag}`, or `{key}` in slipway-server.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_per_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::claim(&path).unwrap();
        let refusal = format!("{:?}", DataDir::claim(&path).unwrap_err());
        assert!(refusal.contains(&format!("another server (process {})", std::process::id())), "{refusal}");
        drop(first);
        DataDir::claim(&path).unwrap();
    }

    #[test]
    fn a_lock_that_a_dead_server_s_child_still_has_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let first = DataDir::claim(&path).unwrap();
        // As left by a process that was killed between fork and exec: no process has that number.
        fs::write(path.join(LOCK_NAME), format!("{}\n", u32::MAX)).unwrap();
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(4 * LET_GO_POLL);
            drop(first);
        });
        DataDir::claim(&path).unwrap();
        letting_go.join().unwrap();
    }

    #[test]
    fn a_taken_port_names_the_setting() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let refusal = format!("{:?}", refused(address, &error, "api.listen", "--listen"));
        assert!(refusal.contains(&format!("port {} of 127.0.0.1 is in use", address.port())), "{refusal}");
        assert!(refusal.contains("--listen") && refusal.contains("api.listen"), "{refusal}");
    }
}
