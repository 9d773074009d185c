//! The shipped binary as a server on a data directory of its own.

use crate::app::App;
use crate::cli::{Background, Run};
use crate::http::{self, Response};
use crate::slot::Slot;
use crate::wait;
use serde_json::Value;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// First start on a machine makes the base image with mmdebstrap; other starts take well under a second.
const READY_BOUND: Duration = Duration::from_secs(500);
const STOP_BOUND: Duration = Duration::from_secs(60);

/// A running server. Dropping it destroys its services and stops it.
#[derive(Debug)]
pub struct TestServer {
    binary: PathBuf,
    dir: tempfile::TempDir,
    layers: PathBuf,
    process: Option<Child>,
    edge_port: u16,
    /// Of the edge, as a service manager would keep it.
    held: Option<TcpListener>,
    log_format: &'static str,
    manager: Option<UnixDatagram>,
    slot: Slot,
    /// Of a server that had this slot before and was not ended in order.
    pub(crate) former_cgroups: Vec<PathBuf>,
}

impl TestServer {
    /// Starts `binary server`. Layers (base, toolchains, dependencies) are shared by all test servers.
    pub fn start(binary: &str) -> TestServer {
        TestServer::start_with(binary, "")
    }

    /// As [`TestServer::start`], with more lines for the server's configuration file.
    pub fn start_with(binary: &str, config_lines: &str) -> TestServer {
        let layers = Path::new(binary).parent().unwrap().join("test-shared/layers");
        // Whatever else fills this machine's disk.
        TestServer::start_on(binary, &layers, "keep_free = \"512MB\"", config_lines, |_| {})
    }

    /// As [`TestServer::start_with`], with a directory of layers of its own. `layers_lines` are of the table `[layers]`;
    /// `prepare` is given the path of the data directory before it exists.
    pub fn start_on(
        binary: &str,
        layers: &Path,
        layers_lines: &str,
        config_lines: &str,
        prepare: impl FnOnce(&Path),
    ) -> TestServer {
        let target = Path::new(binary).parent().unwrap().to_owned();
        let slot = Slot::claim("servers");
        let dir = tempfile::Builder::new().prefix("slipway-test-").tempdir().unwrap();
        let [api_port, edge_port] = slot.ports();
        // Tests share a machine: what one has standing ready is taken from the others.
        let warm = if config_lines.contains("warm") { "" } else { "warm = { idle = 0 }\n" };
        let config = format!(
            "[api]\nlisten = \"127.0.0.1:{api_port}\"\n[edge]\nlisten = \"127.0.0.1:{edge_port}\"\n[sandbox]\nsubnet = \"{}\"\nagent = \"{}\"\n{warm}{config_lines}\n[layers]\ndir = \"{}\"\n{layers_lines}\n",
            slot.subnet(),
            target.join("libexec/slipway-agent").display(),
            layers.display(),
        );
        prepare(&dir.path().join("data"));
        std::fs::create_dir_all(layers).unwrap();
        std::fs::write(dir.path().join("server.toml"), config).unwrap();
        let layers = layers.to_owned();
        let mut server = TestServer {
            binary: binary.into(),
            dir,
            layers,
            process: None,
            edge_port,
            held: None,
            log_format: "text",
            manager: None,
            slot,
            former_cgroups: Vec::new(),
        };
        server.former_cgroups = server.cgroups();
        server.start_process();
        server
    }

    /// Starts the server process again after [`TestServer::stop_process`] or [`TestServer::kill_process`].
    pub fn start_process(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = match &self.held {
            None => Command::new(&self.binary),
            // As a service manager does: the socket is descriptor 3, and the process id that of the server.
            Some(held) => {
                let mut command = Command::new("sh");
                let script =
                    "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=edge; exec \"$0\" \"$@\"";
                command.args(["-c", script]).arg(&self.binary).env("NOTIFY_SOCKET", self.manager_name());
                command.stdin(OwnedFd::from(held.try_clone().unwrap()));
                command
            }
        };
        if self.held.is_none() {
            command.stdin(Stdio::null());
        }
        let child = command
            .arg("server")
            .arg("--data")
            .arg(self.data())
            .arg("--config")
            .arg(self.dir.path().join("server.toml"))
            .env("SLIPWAY_LOG_FORMAT", self.log_format)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        wait::until("the server to be ready", READY_BOUND, || {
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                panic!("the server ended with {status}\n{}", self.log());
            }
            (self.run(&["ps"]).code == 0).then_some(())
        });
    }

    /// From the next start on there is a service manager: it hands the edge's socket to the server, which outlives it, and is told.
    pub fn hold_edge_socket(&mut self) {
        assert!(self.process.is_none(), "the server still has it");
        self.held = Some(TcpListener::bind(("127.0.0.1", self.edge_port)).unwrap());
        let name = SocketAddr::from_abstract_name(&self.manager_name()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&name).unwrap();
        manager.set_nonblocking(true).unwrap();
        self.manager = Some(manager);
    }

    fn manager_name(&self) -> String {
        format!("@slipway-test-manager-{}", self.edge_port)
    }

    /// What the server has told its service manager since the last question.
    pub fn told(&self) -> Vec<String> {
        let mut bytes = [0; 512];
        let next =
            || self.manager.as_ref()?.recv(&mut bytes).ok().map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned());
        std::iter::from_fn(next).collect()
    }

    /// From the next start on.
    pub fn log_as_json(&mut self) {
        self.log_format = "json";
    }

    /// SIGTERM, then waits: apps keep running.
    pub fn stop_process(&mut self) {
        self.signal(libc::SIGTERM);
        let process = self.process.as_mut().unwrap();
        let status = wait::until("the server to stop", STOP_BOUND, || process.try_wait().unwrap());
        assert!(status.success(), "the server stopped with {status}\n{}", self.log());
        self.process = None;
    }

    /// SIGKILL, then waits.
    pub fn kill_process(&mut self) {
        self.signal(libc::SIGKILL);
        self.process.take().unwrap().wait().unwrap();
    }

    /// Waits until the process has ended by itself.
    pub fn has_ended(&mut self) {
        let process = self.process.as_mut().unwrap();
        wait::until("the server to end", STOP_BOUND, || process.try_wait().unwrap());
        self.process = None;
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.process.as_ref().unwrap().id()).unwrap();
        // SAFETY: kill takes two integers; the process is a child that was not yet waited for, so the pid is still its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("server.toml")
    }

    /// The directory of layers, which other test servers may share.
    pub fn layers(&self) -> &Path {
        &self.layers
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub(crate) fn pid_if_running(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// What the names of all that this server makes on the machine contain: its subnet, in hexadecimal.
    pub(crate) fn tag(&self) -> String {
        let subnet: std::net::Ipv4Addr = self.slot.subnet().split('/').next().unwrap().parse().unwrap();
        format!("{:06x}", subnet.to_bits() >> 8)
    }

    /// What the file `state.json` of a sandbox says of its holder (`shim`) or its first process (`init`), once it says it.
    pub fn process_of(&self, sandbox: &str, who: &str) -> Option<i32> {
        let state = std::fs::read(self.data().join("sandboxes").join(sandbox).join("state.json")).ok()?;
        let state: Value = serde_json::from_slice(&state).ok()?;
        i32::try_from(state[who]["pid"].as_i64()?).ok()
    }

    /// What `ps` says of the app's service.
    pub fn service(&self, app: &App) -> Option<Value> {
        let list: Value = serde_json::from_str(&self.run_in(app.path(), &["ps", "--json"]).stdout).ok()?;
        let mut services = list["services"].as_array().or(list.as_array())?.iter();
        services.find(|service| service["project"] == app.name()).cloned()
    }

    /// The view of a deployment of the app, once it has ended.
    pub fn ended(&self, app: &App, deployment: &str) -> Option<Value> {
        const ENDS: [&str; 4] = ["live", "failed", "canceled", "superseded"];
        let service = self.service(app)?;
        let views = [&service["live"], &service["newest"]].into_iter();
        let mut own = views.filter(|view| view["deployment"] == deployment);
        own.find(|view| view["status"].as_str().is_some_and(|status| ENDS.contains(&status))).cloned()
    }

    pub fn edge_port(&self) -> u16 {
        self.edge_port
    }

    /// Names of the sandboxes that exist.
    pub fn sandboxes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data().join("sandboxes")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A command of the CLI against this server.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--data").arg(self.data()).args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
        for name in ["SLIPWAY_URL", "SLIPWAY_TOKEN", "SLIPWAY_DATA", "SLIPWAY_PROJECT", "SLIPWAY_SERVICE"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command(args).output().unwrap())
    }

    /// Runs the CLI in `dir`, as its user would.
    pub fn run_in(&self, dir: &Path, args: &[&str]) -> Run {
        Run::of(&self.command(args).current_dir(dir).output().unwrap())
    }

    /// Starts the CLI in `dir` without waiting.
    pub fn spawn_in(&self, dir: &Path, args: &[&str]) -> Background {
        Background::spawn(self.command(args).current_dir(dir))
    }

    /// `GET path` from the edge, for a host name such as `web-shop.localhost`.
    pub fn get(&self, host: &str, path: &str) -> Response {
        http::get(self.edge_port, host, path).unwrap_or_else(|e| panic!("GET {host}{path}: {e}\n{}", self.log()))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.log());
        }
        let ended = |process: &mut Child| process.try_wait().is_ok_and(|status| status.is_some());
        if self.process.as_mut().is_some_and(|process| !ended(process)) {
            let _ = self.run(&["destroy", "--all", "--yes"]);
            // A server that stops leaves what runs alone, also what is being stopped: wait for the end of the sandboxes.
            let deadline = Instant::now() + STOP_BOUND;
            while !self.sandboxes().is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.signal(libc::SIGTERM);
            let _ = self.process.take().unwrap().wait();
        }
        // Nobody comes back to what it kept.
        if let Ok(id) = std::fs::read_to_string(self.data().join("server-id")) {
            let _ = std::fs::remove_file(self.layers.join(format!("pins/{}.json", id.trim())));
        }
    }
}
