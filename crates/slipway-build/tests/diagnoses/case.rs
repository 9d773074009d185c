//! Evidence as a host would send it.

use slipway_types::agent::ListeningSocket;
use slipway_types::host::{Evidence, ExitFacts, HealthFacts, HostError, LimitFacts, ProbeResult};
use slipway_types::{Phase, ServiceSettings};
use std::net::SocketAddr;

/// One failure.
pub(crate) struct Case {
    pub(crate) evidence: Evidence,
}

/// A command that printed what the fixture holds.
pub(crate) fn ran(phase: Phase, command: &str, code: i32, fixture: &str) -> Case {
    let path = format!("{}/tests/fixtures/{fixture}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    ended(phase, command, Some(code), text.lines().map(str::to_owned).collect())
}

/// A build command with its output.
pub(crate) fn built(command: &str, code: i32, lines: &[&str]) -> Case {
    ended(Phase::Build, command, Some(code), lines.iter().map(|line| (*line).to_owned()).collect())
}

/// An app that ended while its health was probed.
pub(crate) fn running(command: &str, code: Option<i32>, lines: &[&str]) -> Case {
    ended(Phase::Health, command, code, lines.iter().map(|line| (*line).to_owned()).collect())
}

/// An install command with its output.
pub(crate) fn installed(command: &str, lines: &[&str]) -> Case {
    ended(Phase::Install, command, Some(1), lines.iter().map(|line| (*line).to_owned()).collect())
}

/// A pre-deploy command with its output.
pub(crate) fn released(command: &str, lines: &[&str]) -> Case {
    ended(Phase::PreDeploy, command, Some(1), lines.iter().map(|line| (*line).to_owned()).collect())
}

fn ended(phase: Phase, command: &str, code: Option<i32>, tail: Vec<String>) -> Case {
    let settings = ServiceSettings::default();
    let limits = if phase < Phase::PreDeploy { settings.build } else { settings.run };
    Case {
        evidence: Evidence {
            phase: Some(phase),
            command: Some(command.to_owned()),
            exit: Some(ExitFacts { code, signal: None, out_of_memory: false }),
            limits: Some(LimitFacts { memory_bytes: limits.memory.0, disk_bytes: limits.disk.0 }),
            tail,
            ..Default::default()
        },
    }
}

/// An app that runs, with what it listens on and its last probe at `/up`.
pub(crate) fn listening(last_probe: Option<ProbeResult>, sockets: &[&str]) -> Case {
    let socket = |text: &&str| {
        let address: SocketAddr = text.parse().unwrap();
        ListeningSocket { address: address.ip(), port: address.port() }
    };
    let health = HealthFacts {
        port: 3000,
        path: Some("/up".to_owned()),
        last_probe,
        listening: sockets.iter().map(socket).collect(),
        waited_ms: 61_000,
    };
    let command = Some("node server.js".to_owned());
    Case { evidence: Evidence { phase: Some(Phase::Health), command, health: Some(health), ..Default::default() } }
}

/// What a host could not do.
pub(crate) fn host(phase: Phase, code: &str, message: &str) -> Case {
    let host_error = Some(HostError { code: code.to_owned(), message: message.to_owned() });
    Case { evidence: Evidence { phase: Some(phase), host_error, ..Default::default() } }
}
