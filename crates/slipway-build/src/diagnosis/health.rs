//! A replica that runs but was never healthy: what it listens on, and what it answered.

use super::case::Case;
use super::entry::{
    DJANGO_ALLOWED_HOSTS, HEALTH_NOT_HTTP, HEALTH_PATH_STATUS, HEALTH_TIMEOUT, LISTENS_ON_LOOPBACK, LISTENS_ON_NOTHING,
    LISTENS_ON_WRONG_PORT,
};
use slipway_types::Diagnosis;
use slipway_types::agent::ListeningSocket;
use slipway_types::host::{HealthFacts, ProbeResult};
use slipway_types::settings::DurationMs;

pub(super) fn of(case: &Case<'_>) -> Option<Diagnosis> {
    let facts = case.evidence.health.as_ref()?;
    if let Some(refused) = host_refused(case, facts) {
        return Some(refused);
    }
    Some(match &facts.last_probe {
        Some(ProbeResult::Status { status }) => path_status(case, facts, *status),
        Some(ProbeResult::Broken { message }) => not_http(facts, message),
        Some(ProbeResult::TimedOut | ProbeResult::Healthy) => timeout(case, facts),
        Some(ProbeResult::Refused) | None => by_sockets(case, facts),
    })
}

/// Nothing accepts on the port: the agent saw why.
fn by_sockets(case: &Case<'_>, facts: &HealthFacts) -> Diagnosis {
    let on_port: Vec<&ListeningSocket> = facts.listening.iter().filter(|socket| socket.port == facts.port).collect();
    if facts.listening.is_empty() {
        return on_nothing(case, facts);
    }
    if on_port.is_empty() {
        return wrong_port(facts);
    }
    if on_port.iter().all(|socket| socket.address.is_loopback()) {
        return on_loopback(facts, on_port[0]);
    }
    timeout(case, facts)
}

fn on_loopback(facts: &HealthFacts, socket: &ListeningSocket) -> Diagnosis {
    let address = shown(socket);
    LISTENS_ON_LOOPBACK
        .diagnosis(format!("the app listens on `{address}` only, where nothing outside of its sandbox reaches it"))
        .at(address)
        .because(format!("port {} is right, but the address is the loopback's", facts.port))
        .hint("listen on all addresses: `0.0.0.0` or `::`; the variable `HOST` says `0.0.0.0`")
        .hint("many servers take it as an option: `--host 0.0.0.0`, `--hostname 0.0.0.0`, `listen(port, \"0.0.0.0\")`")
}

fn wrong_port(facts: &HealthFacts) -> Diagnosis {
    let seen: Vec<String> = facts.listening.iter().map(|socket| format!("`{}`", shown(socket))).collect();
    let other = facts.listening[0].port;
    let all_loopback = facts.listening.iter().all(|socket| socket.address.is_loopback());
    let diagnosis = LISTENS_ON_WRONG_PORT
        .diagnosis(format!("the app listens on port {other}, but {} is expected", facts.port))
        .at(seen.join(", "))
        .because(format!("the variable `PORT` says {}, the agent in the sandbox saw {}", facts.port, seen.join(", ")))
        .hint("let the app read its port from the variable `PORT`")
        .hint(format!("or set `port = {other}` in `slipway.toml`"));
    if all_loopback { diagnosis.hint("it also listens on the loopback address only: use `0.0.0.0`") } else { diagnosis }
}

fn on_nothing(case: &Case<'_>, facts: &HealthFacts) -> Diagnosis {
    let waited = DurationMs(facts.waited_ms);
    LISTENS_ON_NOTHING
        .diagnosis(format!("the app runs but listens on no port; {} is expected", facts.port))
        .at(case.place())
        .because(case.with_last_lines(&format!("after {waited} no TCP socket listened in the sandbox")))
        .hint("let the app listen on the port in the variable `PORT`, on `0.0.0.0`")
        .hint("if it needs longer to start, raise `health.start_timeout` in `slipway.toml`")
        .hint("if it answers no HTTP, set `kind = \"worker\"` in `slipway.toml`")
}

/// The health check comes as `localhost`.
const ALLOWED_HOSTS: &str = "add the service's names, and `localhost` for the health check, to `ALLOWED_HOSTS`; behind the edge, which passes on only names of the service, `[\"*\"]` is safe";

/// Django says so with `DEBUG`; its page about it may take longer than a probe waits.
fn host_refused(case: &Case<'_>, facts: &HealthFacts) -> Option<Diagnosis> {
    let answered = matches!(facts.last_probe, Some(ProbeResult::Status { status: 400 } | ProbeResult::TimedOut));
    let line = case.output.find(&["Invalid HTTP_HOST header: "]).filter(|_| answered)?;
    Some(
        DJANGO_ALLOWED_HOSTS
            .diagnosis("Django refuses the host name of the health check")
            .at(format!("`GET {}` on port {}", facts.path.as_deref().unwrap_or("/"), facts.port))
            .because(line.trim().trim_start_matches("django.core.exceptions.DisallowedHost: ").to_owned())
            .hint(ALLOWED_HOSTS),
    )
}

fn path_status(case: &Case<'_>, facts: &HealthFacts, status: u16) -> Diagnosis {
    let path = facts.path.as_deref().unwrap_or("/");
    let diagnosis = HEALTH_PATH_STATUS
        .diagnosis(format!("the health path `{path}` answers with status {status}"))
        .at(format!("`GET {path}` on port {}", facts.port));
    match status {
        404 => diagnosis
            .because(format!("the app serves port {}, but has nothing at `{path}`", facts.port))
            .hint(format!("add a route for `{path}` that answers 200, or set another `health.path` in `slipway.toml`")),
        401 | 403 => diagnosis
            .because(format!("`{path}` asks for credentials, which a health check has not"))
            .hint(format!("let `{path}` answer without a login, or set another `health.path` in `slipway.toml`")),
        // Without `DEBUG` it says nothing of the reason.
        400 if case.plan.and_then(|plan| plan.framework.as_deref()) == Some("Django") => diagnosis
            .because("a healthy answer has a status of 200 to 399; Django answers 400 to a host name that is not in `ALLOWED_HOSTS`")
            .hint(ALLOWED_HOSTS)
            .hint(format!("or `{path}` itself answers 400: let it answer 200, or set another `health.path` in `slipway.toml`")),
        500.. => diagnosis
            .because(case.with_last_lines("the app serves the port, but fails at this path"))
            .hint("`slipway logs` shows what the app printed")
            .hint("variables that it needs are set with `slipway env set NAME=…`"),
        _ => diagnosis
            .because("a healthy answer has a status of 200 to 399")
            .hint(format!("let `{path}` answer 200, or set another `health.path` in `slipway.toml`")),
    }
}

fn not_http(facts: &HealthFacts, message: &str) -> Diagnosis {
    HEALTH_NOT_HTTP
        .diagnosis(format!("what answers on port {} is no HTTP", facts.port))
        .at(format!("port {}", facts.port))
        .because(message.trim().to_owned())
        .hint("the app must speak plain HTTP/1.1 on this port: TLS is the edge's part")
        .hint("if it answers no HTTP at all, set `kind = \"worker\"` in `slipway.toml`")
}

fn timeout(case: &Case<'_>, facts: &HealthFacts) -> Diagnosis {
    let waited = DurationMs(facts.waited_ms);
    let probe = match (&facts.last_probe, facts.path.as_deref()) {
        (Some(ProbeResult::TimedOut), Some(path)) => {
            format!("`GET {path}` on port {} got no answer in time", facts.port)
        }
        (Some(ProbeResult::TimedOut), None) => format!("port {} accepted no connection in time", facts.port),
        (Some(ProbeResult::Healthy), _) => "it answered, but did not stay healthy for the stable window".to_owned(),
        (Some(_), _) => format!("port {} refused the last probe although a socket listens on it", facts.port),
        (None, _) => format!("no probe of port {} ended", facts.port),
    };
    HEALTH_TIMEOUT
        .diagnosis(format!("the app was not healthy within {waited}"))
        .at(facts.path.as_deref().map_or_else(|| format!("port {}", facts.port), |path| format!("`GET {path}` on port {}", facts.port)))
        .because(case.with_last_lines(&probe))
        .hint("if it only needs longer, raise `health.start_timeout` (the whole start) or `health.timeout` (one answer) in `slipway.toml`")
        .hint("if it waits for a database or another service, check that the sandbox may reach it")
}

fn shown(socket: &ListeningSocket) -> String {
    std::net::SocketAddr::new(socket.address, socket.port).to_string()
}
