//! The first process of a virtual machine: makes the machine what the host asks for, hands the tasks to a supervisor in
//! namespaces of their own, and takes the machine down in order.
//!
//! Two processes. This one has all rights and never meets a task: kernel modules, devices, mounts, network, and at the end the
//! unmounting, so that the written image is whole. The other is what the agent is in a container too: PID 1 of a PID
//! namespace, with three capabilities, in a root without the machine's own files. When it ends, the kernel has ended every task.

mod base;
mod cgroup;
mod confine;
mod device;
mod entropy;
mod greeting;
mod kernel_module;
mod network;
mod root;

use crate::clock;
use crate::connection::Connection;
use crate::listener::Listener;
use crate::supervisor::Supervisor;
use greeting::Order;
use rustix::system::RebootCommand;
use slipway_types::agent::{AgentEvent, CHECK_TIMER_VARIABLE, LISTENING_LINE, TIMER_LINE, VSOCK_PORT};
use std::io::Write;
use std::process::ExitCode;

/// A step that failed, with what it was about.
#[derive(Debug)]
pub(crate) struct MachineError(String);

impl MachineError {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    fn because(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self(format!("could not {what}: {error}"))
    }
}

impl std::fmt::Display for MachineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the machine to its end. It returns only where even the reboot is refused.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = live() {
        console(&format!("slipway-agent: {error}"));
    }
    rustix::fs::sync();
    // A machine of ours is started so that a reboot ends it: that works with every VMM, powering off does not.
    let _ = rustix::system::reboot(RebootCommand::Restart);
    ExitCode::FAILURE
}

fn live() -> Result<(), MachineError> {
    // The kernel makes variables of the words on its command line that it does not know.
    if std::env::var_os(CHECK_TIMER_VARIABLE).is_some() && !clock::timer_is_right() {
        console(TIMER_LINE);
        return Err(MachineError::new("a machine that measured its timer wrong cannot be used"));
    }
    base::mount()?;
    kernel_module::load_all()?;
    base::harden();
    let listener = Listener::vsock(VSOCK_PORT).map_err(|e| MachineError::because("listen for the host", e))?;
    console(LISTENING_LINE);
    let (mut connection, order) = greeting::greet(&listener)?;
    let root = match become_machine(&mut connection, &order) {
        Ok(root) => root,
        Err(error) => {
            let message = error.to_string();
            greeting::say(&mut connection, &AgentEvent::ConfigureFailed { message });
            return Err(error);
        }
    };
    let ended = supervise(listener, connection, &root, &order);
    root.end()?;
    ended
}

/// Everything but the supervisor. The clock and the generator come first: what is made later carries times and random names.
fn become_machine(connection: &mut Connection, order: &Order) -> Result<root::Root, MachineError> {
    clock::set_identity(&order.hostname, order.unix_time_ms);
    entropy::seed(&order.machine.entropy)?;
    greeting::say(connection, &AgentEvent::Reseeded { reseed: order.machine.reseed });
    network::set_up(&order.machine.network)?;
    cgroup::make(&order.machine.limits)?;
    device::wait_for(&order.machine.devices)?;
    root::Root::assemble(&order.machine)
}

/// Runs the supervisor as the first process of a PID namespace until it ends, and with it every task.
fn supervise(listener: Listener, connection: Connection, root: &root::Root, order: &Order) -> Result<(), MachineError> {
    // SAFETY: this process has one thread; only its children are in the new namespace.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) }
        .map_err(|e| MachineError::because("make a PID namespace", e))?;
    // SAFETY: this process has one thread, so that the child's memory is consistent.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => return Err(MachineError::because("start the supervisor", std::io::Error::last_os_error())),
        0 => std::process::exit(serve(listener, connection, root, order)),
        _ => drop((listener, connection)),
    }
    wait(pid)
}

/// In the child.
fn serve(listener: Listener, mut connection: Connection, root: &root::Root, order: &Order) -> i32 {
    // It is out of reach as soon as the tasks' root is entered.
    let top_layer = root.top_layer.as_ref().and_then(|path| slipway_tree::root::open_root(path).ok());
    if let Err(error) = confine::enter(root, &order.files) {
        let message = error.to_string();
        console(&format!("slipway-agent: {message}"));
        greeting::say(&mut connection, &AgentEvent::ConfigureFailed { message });
        return 1;
    }
    let run = || {
        let mut supervisor = Supervisor::new(listener)?;
        supervisor.resume(connection, top_layer);
        supervisor.run()
    };
    match run() {
        Ok(()) => 0,
        Err(error) => {
            console(&format!("slipway-agent: {error}"));
            1
        }
    }
}

fn wait(supervisor: i32) -> Result<(), MachineError> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        let error = std::io::Error::last_os_error();
        match pid {
            -1 if error.raw_os_error() == Some(libc::EINTR) => {}
            -1 => return Err(MachineError::because("wait for the supervisor", error)),
            pid if pid == supervisor && status == 0 => return Ok(()),
            pid if pid == supervisor => {
                return Err(MachineError::new(format!("the supervisor ended with status {status:#x}")));
            }
            _ => {}
        }
    }
}

/// The kernel opened the serial console as this process' output.
fn console(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
