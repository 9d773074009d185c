//! The host's side of the protocol, for tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::Secret;
use slipway_types::agent::{
    AgentCommand, AgentEvent, LINE_BYTES_MAX, ListeningSocket, OUTPUT_CHUNK_BYTES_MAX, PROTOCOL_VERSION, Stream,
    TaskSpec,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Longest wait for anything; far above what a loaded machine needs.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

/// A running agent, ended with everything under it when dropped.
pub(crate) struct Agent {
    pub(crate) process: Child,
    pub(crate) directory: tempfile::TempDir,
}

impl Agent {
    pub(crate) fn start() -> Self {
        Self::spawn(&mut Command::new(env!("CARGO_BIN_EXE_slipway-agent")))
    }

    pub(crate) fn start_as_pid_1() -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]);
        Self::spawn(unshare.arg(env!("CARGO_BIN_EXE_slipway-agent")))
    }

    fn spawn(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = command.arg(directory.path().join("agent.sock")).spawn().unwrap();
        Self { process, directory }
    }

    /// The agent itself: the process, or the only child of the program that made its namespaces.
    fn pid(&self) -> i32 {
        let pid = self.process.id();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        if name.trim() == "slipway-agent" {
            return pid.cast_signed();
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Connects, and takes the greeting.
    pub(crate) fn connect(&self) -> Host {
        let stream = wait_for("the agent's socket", || UnixStream::connect(self.socket()).ok());
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let mut host = Host { reader: BufReader::new(stream), listening: Vec::new() };
        assert_eq!(host.next(), AgentEvent::Hello { version: PROTOCOL_VERSION });
        host
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn terminate(&self) {
        // SAFETY: a plain system call on a process that was not waited for.
        unsafe { libc::kill(self.pid(), libc::SIGTERM) };
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the agent's end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(mut stream) = UnixStream::connect(self.socket()) {
            let _ = stream.write_all(b"{\"command\":\"shutdown\",\"grace_ms\":0}\n");
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && self.process.try_wait().is_ok_and(|status| status.is_none()) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The end of a task, with all its output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Outcome {
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

pub(crate) struct Host {
    pub(crate) reader: BufReader<UnixStream>,
    /// As last told.
    pub(crate) listening: Vec<ListeningSocket>,
}

impl Host {
    pub(crate) fn send(&mut self, command: &AgentCommand) {
        let mut line = serde_json::to_vec(command).unwrap();
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).unwrap();
    }

    pub(crate) fn credit(&mut self, bytes: usize) {
        self.send(&AgentCommand::Credit { bytes: bytes as u64 });
    }

    /// Any event but the news of listening sockets, which come from the whole machine here.
    pub(crate) fn next(&mut self) -> AgentEvent {
        loop {
            match self.next_any() {
                AgentEvent::Listening { .. } => {}
                event => return event,
            }
        }
    }

    pub(crate) fn next_any(&mut self) -> AgentEvent {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an event in time");
        assert!(line.len() <= LINE_BYTES_MAX);
        let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        if let AgentEvent::Listening { sockets } = &event {
            self.listening.clone_from(sockets);
        }
        event
    }

    pub(crate) fn start(&mut self, spec: TaskSpec) -> i32 {
        let wanted = spec.task;
        self.send(&AgentCommand::StartTask(spec));
        match self.next() {
            AgentEvent::Started { task, pid } if task == wanted => pid,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn shell(&mut self, task: u32, script: &str) -> i32 {
        self.start(spec(task, &["/bin/sh", "-c", script]))
    }

    /// The next output of the task; nothing is credited.
    pub(crate) fn output(&mut self) -> (Stream, Vec<u8>) {
        match self.next() {
            AgentEvent::Output { stream, base64, .. } => (stream, decode(&base64)),
            other => panic!("{other:?}"),
        }
    }

    /// Reads, and credits, until the task exits.
    pub(crate) fn outcome(&mut self, wanted: u32) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            match self.next() {
                AgentEvent::Output { task, stream, base64 } if task == wanted => {
                    let bytes = decode(&base64);
                    self.credit(bytes.len());
                    match stream {
                        Stream::Stdout => outcome.stdout.extend(bytes),
                        Stream::Stderr => outcome.stderr.extend(bytes),
                    }
                }
                AgentEvent::Exited { task, code, signal, .. } if task == wanted => {
                    return Outcome { code, signal, ..outcome };
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) fn decode(base64: &str) -> Vec<u8> {
    let bytes = STANDARD.decode(base64).unwrap();
    assert!((1..=OUTPUT_CHUNK_BYTES_MAX).contains(&bytes.len()));
    bytes
}

/// What a task printed of itself.
pub(crate) fn number(bytes: &[u8]) -> i32 {
    std::str::from_utf8(bytes).unwrap().trim().parse().unwrap()
}

/// As the user that runs the tests.
pub(crate) fn spec(task: u32, argv: &[&str]) -> TaskSpec {
    TaskSpec {
        task,
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        env: [("PATH".to_owned(), Secret::new(std::env::var("PATH").unwrap()))].into(),
        cwd: "/".to_owned(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        open_files_max: 1024,
        output_rate: None,
    }
}

pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}
