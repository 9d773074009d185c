//! The loop: waits for whatever comes first, and does what it asks for.

use crate::clock;
use crate::connection::{Connection, Line, ReadState};
use crate::listener::Listener;
use crate::listening;
use crate::memory;
use crate::outbox::{self, Outbox};
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::spawn::{self, SpawnError, Spawned};
use crate::statistics;
use crate::task::Task;
use crate::values;
use rustix::event::{PollFd, PollFlags, Timespec};
use slipway_types::agent::{AgentCommand, AgentEvent, ListeningSocket, PROTOCOL_VERSION, TaskSignal, ValuesSpec};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Tasks at once. A host runs one, and another to look at it.
const TASKS_MAX: usize = 64;
/// Listening sockets are looked for at these intervals: often while a task starts up, since the host waits for them, then
/// ever more seldom. The kernel walks its whole hash table of connections for one look, which takes milliseconds.
const LISTENING_POLL_MIN: Duration = Duration::from_millis(100);
const LISTENING_POLL_MAX: Duration = Duration::from_secs(30);
/// Without a task: what ended one may have closed a socket.
const LISTENING_POLL_IDLE: Duration = Duration::from_secs(2);
/// Part of the youngest task's age that passes between two looks.
const LISTENING_POLL_AGE_PART: u32 = 4;
/// Grace when the agent itself gets SIGTERM, as Docker and runc users expect.
const TERMINATE_GRACE: Duration = Duration::from_secs(10);
/// Commands read before output gets its turn again.
const READS_PER_TURN_MAX: usize = 16;

pub(crate) struct Supervisor {
    listener: Listener,
    signals: Signals,
    /// The tree of the uppermost layer alone, where it is known.
    top_layer: Option<OwnedFd>,
    connection: Option<Connection>,
    outbox: Outbox,
    tasks: Vec<Task>,
    sockets: Vec<ListeningSocket>,
    sockets_at: Instant,
    shutdown: Option<Shutdown>,
    /// Whether a child of any kind is left to be reaped.
    childless: bool,
}

/// What poll found ready.
#[derive(Default)]
struct Ready {
    signals: bool,
    listener: bool,
    connection: bool,
    /// Index of the task, index of its pipe.
    pipes: Vec<(usize, usize)>,
}

impl Supervisor {
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let signals = Signals::block()?;
        // Orphans come to PID 1 by themselves; elsewhere they have to be asked for.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self {
            listener,
            signals,
            top_layer: None,
            connection: None,
            outbox: Outbox::default(),
            tasks: Vec::new(),
            sockets: Vec::new(),
            sockets_at: Instant::now(),
            shutdown: None,
            childless: true,
        })
    }

    /// Goes on with a host that was greeted already and whose `configure` was carried out.
    pub(crate) fn resume(&mut self, connection: Connection, top_layer: Option<OwnedFd>) {
        self.top_layer = top_layer;
        self.connection = Some(connection);
        self.reply(&AgentEvent::Ready);
    }

    /// Returns when a shutdown is complete.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals();
            }
            if ready.connection {
                self.receive();
            }
            if ready.listener {
                self.accept();
            }
            for (task, pipe) in ready.pipes {
                self.tasks[task].read(pipe, &mut self.outbox);
            }
            let now = Instant::now();
            self.tasks.iter_mut().for_each(|task| task.send_held(now, &mut self.outbox));
            self.end_tasks(now);
            self.look_for_sockets(now);
            self.send();
            if self.shutdown_is_complete(now) {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        if let Some(connection) = &self.connection {
            let mut interest = PollFlags::empty();
            interest.set(PollFlags::IN, connection.has_room());
            interest.set(PollFlags::OUT, connection.backlog() > 0);
            polled.push(PollFd::new(connection, interest));
        }
        let first_pipe = polled.len();
        let mut pipes = Vec::new();
        let has_room = self.outbox.room() > 0;
        for (task_index, task) in self.tasks.iter().enumerate().filter(|(_, task)| has_room || task.drops()) {
            for (pipe_index, pipe) in task.open_pipes() {
                pipes.push((task_index, pipe_index));
                polled.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let timeout = self.timeout(Instant::now());
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: usize| polled.get(index).is_some_and(|polled| !polled.revents().is_empty());
        Ok(Ready {
            signals: is_ready(0),
            listener: is_ready(1),
            connection: first_pipe > 2 && is_ready(2),
            pipes: pipes
                .iter()
                .enumerate()
                .filter(|(at, _)| is_ready(first_pipe + at))
                .map(|(_, pipe)| *pipe)
                .collect(),
        })
    }

    fn timeout(&self, now: Instant) -> Timespec {
        let mut wake_at = self.sockets_at + self.listening_poll(now);
        for at in self.tasks.iter().filter_map(|task| task.wake_at(now)) {
            wake_at = wake_at.min(at);
        }
        if let Some(shutdown) = &self.shutdown {
            wake_at = wake_at.min(shutdown.wake_at());
        }
        // A nanosecond early would be a turn for nothing.
        let wait = wake_at.saturating_duration_since(now) + Duration::from_micros(100);
        Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() }
    }

    fn take_signals(&mut self) {
        let pending = self.signals.take();
        if pending.terminate {
            self.begin_shutdown(TERMINATE_GRACE);
        }
        if pending.child {
            self.reap();
        }
    }

    /// Reaps all that have exited, the orphans that came to this process too.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            match pid {
                0 => return,
                -1 => {
                    self.childless = io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD);
                    return;
                }
                _ => {}
            }
            if let Some(task) = self.tasks.iter_mut().find(|task| task.pid == pid && !task.has_exited()) {
                task.exited(status);
            }
        }
    }

    /// The newest connection is the host's: an older one is broken, or its holder gave it up.
    fn accept(&mut self) {
        while let Ok(stream) = self.listener.accept() {
            // Its last credits say how much arrived.
            while self.connection.is_some() && self.receive() {}
            let Ok(mut connection) = Connection::new(stream) else { continue };
            connection.queue(&outbox::encode(&AgentEvent::Hello { version: PROTOCOL_VERSION }));
            if !self.sockets.is_empty() {
                connection.queue(&outbox::encode(&AgentEvent::Listening { sockets: self.sockets.clone() }));
            }
            self.connection = Some(connection);
            self.outbox.rewind();
        }
    }

    /// Takes commands from the connection. `true` when more may be there.
    fn receive(&mut self) -> bool {
        for _ in 0..READS_PER_TURN_MAX {
            let Some(connection) = &mut self.connection else { return false };
            let received = connection.receive();
            for line in received.lines {
                self.command(line);
            }
            match received.state {
                ReadState::More => {}
                ReadState::Empty => return false,
                ReadState::Closed => {
                    self.connection = None;
                    return false;
                }
            }
        }
        true
    }

    fn command(&mut self, line: Line) {
        let Line::Text(line) = line else {
            return self.refuse("the command is too long");
        };
        match serde_json::from_slice(&line) {
            Ok(command) => self.carry_out(command),
            // The position only: the text may hold a secret.
            Err(error) => self.refuse(&format!("the command does not parse at column {}", error.column())),
        }
    }

    fn carry_out(&mut self, command: AgentCommand) {
        match command {
            AgentCommand::Configure { machine: Some(_), .. } | AgentCommand::File { .. } => {
                self.refuse("this agent owns no machine, or it was configured before");
            }
            AgentCommand::Configure { hostname, unix_time_ms, machine: None } => {
                // Only PID 1 may: elsewhere host name and clock are not the sandbox's own.
                if std::process::id() == 1 {
                    clock::set_identity(&hostname, unix_time_ms);
                }
                self.reply(&AgentEvent::Ready);
            }
            AgentCommand::StartTask(spec) => {
                self.start(spec.task, spec.output_rate.is_some(), |_| spawn::spawn(&spec));
            }
            AgentCommand::StartArchive(spec) => self.start(spec.task, false, |top| spawn::spawn_archive(&spec, top)),
            AgentCommand::Signal { task, signal } => self.signal(task, signal),
            AgentCommand::WriteValues(spec) => self.write_values(&spec),
            AgentCommand::Credit { bytes } => self.outbox.credit(bytes),
            AgentCommand::Stats => self.reply(&statistics::statistics()),
            AgentCommand::Shutdown { grace_ms } => self.begin_shutdown(Duration::from_millis(grace_ms)),
        }
    }

    fn start(&mut self, id: u32, drops: bool, spawn: impl FnOnce(Option<&OwnedFd>) -> Result<Spawned, SpawnError>) {
        if self.shutdown.is_some() {
            return self.refuse(&format!("task {id}: the sandbox is shutting down"));
        }
        if self.tasks.len() >= TASKS_MAX || self.tasks.iter().any(|task| task.id == id) {
            return self.refuse(&format!("task {id}: it runs already, or {TASKS_MAX} others do"));
        }
        let oom_kills_before = memory::oom_kills();
        match spawn(self.top_layer.as_ref()) {
            Ok(spawned) => {
                self.childless = false;
                self.outbox.push_event(AgentEvent::Started { task: id, pid: spawned.pid });
                self.tasks.push(Task::new(id, spawned, oom_kills_before, drops));
            }
            Err(error) => {
                let (errno, message) = (error.errno, error.message);
                self.outbox.push_event(AgentEvent::StartFailed { task: id, errno, message });
            }
        }
    }

    fn signal(&mut self, id: u32, signal: i32) {
        let Some(task) = self.tasks.iter().find(|task| task.id == id) else {
            return self.refuse(&format!("task {id} does not run"));
        };
        // SAFETY: a plain system call. A group number is not reused while the group has a member.
        let result = unsafe { libc::kill(-task.pid, signal) };
        let error = io::Error::last_os_error();
        // Gone in this very moment: its exit is on the way.
        if result != 0 && error.raw_os_error() != Some(libc::ESRCH) {
            self.refuse(&format!("signal {signal} to task {id}: {error}"));
        }
    }

    /// The answer is no output of the task, and not held for a later connection: whoever comes asks for the newest values.
    fn write_values(&mut self, spec: &ValuesSpec) {
        let done = values::write(spec).map_err(|error| format!("cannot write `{}`: {error}", spec.path));
        let done = done.and_then(|()| spec.signal.map_or(Ok(()), |to| self.signal_process(to)));
        self.reply(&AgentEvent::ValuesWritten { revision: spec.revision, trouble: done.err() });
    }

    fn signal_process(&mut self, TaskSignal { task, signal }: TaskSignal) -> Result<(), String> {
        // One that was reaped is no process any more: its number may be another's.
        let Some(task) = self.tasks.iter().find(|known| known.id == task && !known.has_exited()) else {
            return Err(format!("task {task} does not run"));
        };
        // SAFETY: a plain system call on a child that was not waited for.
        match unsafe { libc::kill(task.pid, signal) } {
            0 => Ok(()),
            _ => Err(format!("signal {signal} to task {}: {}", task.id, io::Error::last_os_error())),
        }
    }

    fn begin_shutdown(&mut self, grace: Duration) {
        let now = Instant::now();
        match &mut self.shutdown {
            Some(shutdown) => shutdown.hurry(grace, now),
            None => self.shutdown = Some(Shutdown::begin(grace, now)),
        }
    }

    fn shutdown_is_complete(&mut self, now: Instant) -> bool {
        let Some(shutdown) = &mut self.shutdown else { return false };
        let too_late = shutdown.advance(now);
        let sent = self.outbox.is_sent() && self.connection.as_ref().is_none_or(|connection| connection.backlog() == 0);
        let unreachable = self.connection.is_none();
        too_late || (self.childless && self.tasks.is_empty() && (sent || unreachable))
    }

    fn end_tasks(&mut self, now: Instant) {
        let outbox = &mut self.outbox;
        self.tasks.retain(|task| {
            let over = task.over(now);
            let stays = over.is_none();
            over.into_iter().for_each(|event| outbox.push_event(event));
            stays
        });
    }

    fn listening_poll(&self, now: Instant) -> Duration {
        let youngest = self.tasks.iter().map(|task| now.saturating_duration_since(task.started_at)).min();
        let by_age = |age: Duration| (age / LISTENING_POLL_AGE_PART).clamp(LISTENING_POLL_MIN, LISTENING_POLL_MAX);
        youngest.map_or(LISTENING_POLL_IDLE, by_age)
    }

    fn look_for_sockets(&mut self, now: Instant) {
        if now < self.sockets_at + self.listening_poll(now) {
            return;
        }
        self.sockets_at = now;
        let sockets = listening::sockets();
        if sockets != self.sockets {
            self.sockets.clone_from(&sockets);
            self.reply(&AgentEvent::Listening { sockets });
        }
    }

    fn refuse(&mut self, message: &str) {
        self.reply(&AgentEvent::Refused { message: message.to_owned() });
    }

    /// To this connection only; a new one does not get it again.
    fn reply(&mut self, event: &AgentEvent) {
        if let Some(connection) = &mut self.connection {
            connection.queue(&outbox::encode(event));
        }
    }

    fn send(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        loop {
            while connection.has_room()
                && let Some(line) = self.outbox.next_line()
            {
                connection.queue(&line);
            }
            if connection.backlog() == 0 {
                return;
            }
            match connection.flush() {
                Ok(()) if connection.backlog() > 0 => return,
                Ok(()) => {}
                // What it still sent is read first; that read then finds the end.
                Err(_) => return self.close(),
            }
        }
    }

    fn close(&mut self) {
        while self.receive() {}
        self.connection = None;
    }
}
