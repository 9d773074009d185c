//! What somebody who owns the inside of a sandbox may put in the agent's place: for tests of the host.
//!
//! It greets as the agent does; then the host name that it is configured with says how it misbehaves. Started as the agent is: with
//! the path of a socket, or as the first process of a virtual machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "whatever breaks here is an attack that failed")]
#![allow(dead_code, reason = "of the agent's own files a part is used")]

#[path = "../src/machine/base.rs"]
mod base;
#[path = "../src/machine/kernel_module.rs"]
mod kernel_module;
#[path = "../src/listener.rs"]
mod listener;

use listener::Listener;
use slipway_types::agent::{AgentCommand, AgentEvent, LISTENING_LINE, PROTOCOL_VERSION, VSOCK_PORT};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The agent's modules name it.
#[derive(Debug)]
pub(crate) struct MachineError(String);

impl MachineError {
    fn because(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

fn main() {
    // Words that a machine's kernel does not know become arguments.
    let is_machine = std::env::args_os().next().is_some_and(|name| name == "/init");
    let listener = match std::env::args_os().nth(1).filter(|_| !is_machine) {
        Some(path) => Listener::unix(&PathBuf::from(path)).unwrap(),
        None => {
            base::mount().unwrap();
            kernel_module::load_all().unwrap();
            let listener = Listener::vsock(VSOCK_PORT).unwrap();
            let _ = writeln!(std::io::stderr(), "{LISTENING_LINE}");
            listener
        }
    };
    let mut newest = None;
    loop {
        match listener.accept() {
            // A host that dials while a machine boots gives connections up: the newest is the one that counts.
            Ok(stream) => newest = Some(std::thread::spawn(|| attack(File::from(stream)))),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
        if newest.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
            newest = None;
        }
    }
}

fn say(stream: &mut File, event: &AgentEvent) -> Option<()> {
    let mut line = serde_json::to_vec(event).unwrap();
    line.push(b'\n');
    stream.write_all(&line).ok()
}

/// None: the host hung up.
fn attack(mut stream: File) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).split(b'\n');
    say(&mut stream, &AgentEvent::Hello { version: PROTOCOL_VERSION })?;
    let mut manner = String::new();
    loop {
        match serde_json::from_slice(&lines.next()?.ok()?) {
            Ok(AgentCommand::Configure { hostname, machine, .. }) => {
                if let Some(machine) = machine {
                    say(&mut stream, &AgentEvent::Reseeded { reseed: machine.reseed })?;
                }
                configured(&mut stream, &hostname)?;
                manner = hostname;
            }
            Ok(AgentCommand::StartTask(task)) => misbehave(&mut stream, &manner, task.task)?,
            // A shutdown too.
            _ => {}
        }
    }
}

fn configured(stream: &mut File, manner: &str) -> Option<()> {
    match manner {
        "garbage" => stream.write_all(b"\x00\xff{\"event\":[[[[[[\n").ok(),
        "silent" => loop {
            std::thread::park();
        },
        _ => say(stream, &AgentEvent::Ready),
    }
}

fn misbehave(stream: &mut File, manner: &str, task: u32) -> Option<()> {
    let exited =
        |task| AgentEvent::Exited { task, code: Some(0), signal: None, out_of_memory: false, disk_full: false };
    match manner {
        "liar" => say(stream, &exited(task + 1_000_000)),
        "twice" => (0..2).try_for_each(|_| say(stream, &exited(task))),
        "again" => (0..2).try_for_each(|_| say(stream, &AgentEvent::Started { task, pid: 1 })),
        "sockets" => {
            // Short for the agent, and three times as long once it is written out.
            let sockets = vec![r#"["::",1]"#; 20_000].join(",");
            stream.write_all(format!("{{\"event\":\"listening\",\"sockets\":[{sockets}]}}\n").as_bytes()).ok()
        }
        "endless" => loop {
            stream.write_all(&[b'x'; 65_536]).ok()?;
        },
        "greedy" => {
            // More than was asked for: output without credit.
            let base64 = "QUFB".repeat(8192);
            loop {
                let stream_of_task = slipway_types::agent::Stream::Stdout;
                say(stream, &AgentEvent::Output { task, stream: stream_of_task, base64: base64.clone() })?;
            }
        }
        "flood" => loop {
            say(stream, &AgentEvent::Refused { message: "no ".repeat(20_000) })?;
        },
        _ => Some(()),
    }
}
