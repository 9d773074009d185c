//! Services that a program can't reach: who was asked, and why a sandbox can't.

use super::case::Case;
use super::entry::{DATABASE_UNREACHABLE, FONT_UNREACHABLE, HOST_NAME_UNKNOWN, NETWORK_REFUSED};
use super::output::first_quoted;
use slipway_types::Diagnosis;
use std::net::IpAddr;

/// Ports by which a database is known, with its name.
const DATABASES: [(u16, &str); 9] = [
    (5432, "PostgreSQL"),
    (5433, "PostgreSQL"),
    (6432, "PostgreSQL (PgBouncer)"),
    (26257, "CockroachDB"),
    (3306, "MySQL"),
    (1433, "SQL Server"),
    (27017, "MongoDB"),
    (6379, "Redis"),
    (6380, "Redis"),
];

/// Who was asked and did not answer.
struct Refusal<'c> {
    host: String,
    port: Option<u16>,
    line: &'c str,
}

impl Refusal<'_> {
    fn database(&self) -> Option<&'static str> {
        DATABASES.iter().find(|(port, _)| Some(*port) == self.port).map(|(_, name)| *name)
    }

    fn address(&self) -> String {
        match self.port {
            Some(port) if self.host.contains(':') => format!("[{}]:{port}", self.host),
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn is_private(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_private() || address.is_link_local(),
            Ok(IpAddr::V6(address)) => (address.segments()[0] & 0xfe00) == 0xfc00,
            Err(_) => false,
        }
    }
}

/// `Failed to fetch Geist from Google Fonts.`, of Next.js; older ones set the font in backticks.
pub(super) fn font_unreachable(case: &Case<'_>) -> Option<Diagnosis> {
    let font = |line: &str| {
        let (_, rest) = line.split_once("Failed to fetch ")?;
        Some(rest.split_once(" from Google Fonts")?.0.trim_matches('`').to_owned())
    };
    let mut fonts: Vec<String> = case.output.lines().filter_map(font).collect();
    fonts.sort_unstable();
    fonts.dedup();
    let named = fonts.iter().map(|font| format!("`{font}`")).collect::<Vec<_>>().join(", ");
    (!fonts.is_empty()).then(|| {
        FONT_UNREACHABLE
            .diagnosis(format!("Google Fonts can't be reached for {named}"))
            .at(case.place())
            .because("`next/font/google` fetches its fonts while it builds, and the build got no answer")
            .hint("keep the font's file in the source and load it by `next/font/local`")
            .hint("where the network has a proxy, give it to the build: `slipway env set --build HTTPS_PROXY=…`")
    })
}

/// A connection that was refused, and that nothing worse came after.
pub(super) fn unreachable(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.last_word(|line| refusal(line).is_some())?;
    let refusal = refusal(line)?;
    if let Some(database) = refusal.database() {
        return Some(database_unreachable(case, &refusal, database));
    }
    (refusal.is_loopback() || refusal.is_private()).then(|| network_refused(case, &refusal))
}

fn database_unreachable(case: &Case<'_>, refusal: &Refusal<'_>, database: &str) -> Diagnosis {
    let diagnosis = DATABASE_UNREACHABLE
        .diagnosis(format!("{database} at `{}` does not answer", refusal.address()))
        .at(refusal.address())
        .because(because(refusal));
    let variable = if matches!(database, "Redis") { "REDIS_URL" } else { "DATABASE_URL" };
    let build = case.build_flag();
    let diagnosis = diagnosis
        .hint(format!("set the address that it has in the network: `slipway env set{build} --secret {variable}=…`"));
    let diagnosis = if refusal.is_private() { diagnosis.hint(allow(&refusal.host)) } else { diagnosis };
    if build.is_empty() {
        return diagnosis;
    }
    diagnosis.hint("or don't ask it in the build: read on request, and migrate by `pre_deploy_command`")
}

fn network_refused(case: &Case<'_>, refusal: &Refusal<'_>) -> Diagnosis {
    let diagnosis = NETWORK_REFUSED
        .diagnosis(format!("the service at `{}` can't be reached", refusal.address()))
        .at(case.place())
        .because(because(refusal));
    let diagnosis = if case.build_flag().is_empty() {
        diagnosis.hint("set the address that it has in the network, by the variable that the app reads it from")
    } else {
        diagnosis.hint("don't need it in the build: ask it on request, or deploy it first and use its public address")
    };
    if refusal.is_private() { diagnosis.hint(allow(&refusal.host)) } else { diagnosis }
}

fn because(refusal: &Refusal<'_>) -> String {
    let said = refusal.line.trim().trim_start_matches("[cause]: ").trim_start_matches("Error: ");
    if refusal.is_loopback() {
        return format!("{said}: the loopback address of a sandbox is its own, and nothing else listens there");
    }
    if refusal.is_private() {
        return format!(
            "{said}: it is an address of a private network, which sandboxes may not reach unless the server allows it"
        );
    }
    said.to_owned()
}

fn allow(host: &str) -> String {
    format!("let the server allow it: `allow = [\"{host}/32\"]` under `[sandbox]` of its configuration")
}

/// What clients print when nobody answers.
fn refusal(line: &str) -> Option<Refusal<'_>> {
    node(line).or_else(|| libpq(line)).or_else(|| prisma(line)).or_else(|| dial(line)).or_else(|| mysql(line))
}

/// `connect ECONNREFUSED 127.0.0.1:5432`, of Node.js.
fn node(line: &str) -> Option<Refusal<'_>> {
    let codes = ["connect ECONNREFUSED ", "connect EHOSTUNREACH ", "connect ENETUNREACH ", "connect ETIMEDOUT "];
    let rest = codes.iter().find_map(|code| line.split_once(code))?.1;
    let address = rest.split([' ', ',', ')']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Refusal { host: host.trim_matches(['[', ']']).to_owned(), port: port.parse().ok(), line })
}

/// `connection to server at "127.0.0.1", port 5432 failed: Connection refused`, of libpq.
fn libpq(line: &str) -> Option<Refusal<'_>> {
    let rest = line.split_once("connection to server at ")?.1;
    let refused = ["Connection refused", "No route to host", "timeout expired", "Network is unreachable", "timed out"];
    refused.iter().find(|text| rest.contains(**text))?;
    let port = rest.split_once("port ")?.1.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Refusal { host: first_quoted(rest)?.to_owned(), port: port.parse().ok(), line })
}

/// ``Can't reach database server at `localhost:5432` ``, of Prisma.
fn prisma(line: &str) -> Option<Refusal<'_>> {
    let address = first_quoted(line.split_once("Can't reach database server at ")?.1)?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Refusal { host: host.to_owned(), port: port.parse().ok(), line })
}

/// `dial tcp 127.0.0.1:5432: connect: connection refused`, of Go.
fn dial(line: &str) -> Option<Refusal<'_>> {
    let (address, _) = line.split_once("dial tcp ")?.1.split_once(": connect: ")?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Refusal { host: host.trim_matches(['[', ']']).to_owned(), port: port.parse().ok(), line })
}

/// `Can't connect to MySQL server on '127.0.0.1:3306'`, of MySQL's own client library.
fn mysql(line: &str) -> Option<Refusal<'_>> {
    let rest = line.split_once("Can't connect to ").filter(|(_, rest)| rest.contains("server on "))?.1;
    let address = first_quoted(rest.split_once("server on ")?.1)?;
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "3306"));
    Some(Refusal { host: host.to_owned(), port: port.parse().ok(), line })
}

/// A name that no resolver knows.
pub(super) fn host_name_unknown(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.last_word(|line| unknown_name(line).is_some())?;
    let name = unknown_name(line)?;
    let bare = !name.contains('.');
    let diagnosis = HOST_NAME_UNKNOWN
        .diagnosis(format!("the host name `{name}` has no address"))
        .at(format!("`{name}`"))
        .because(line.trim().trim_start_matches("[cause]: ").trim_start_matches("Error: ").to_owned());
    Some(if bare {
        diagnosis
            .hint("a name without a dot is one of a compose file or an office network: set the full address in the variable that it comes from")
            .hint("`slipway env ls` lists the variables")
    } else {
        diagnosis
            .hint("check the name where it is set: a variable, or the source")
            .hint("if it is right, deploy again: a resolver may fail once")
    })
}

fn unknown_name(line: &str) -> Option<&str> {
    let node = || {
        ["getaddrinfo ENOTFOUND ", "getaddrinfo EAI_AGAIN "]
            .iter()
            .find_map(|text| line.split_once(text))
            .map(|(_, rest)| rest)
    };
    let libpq = || line.split_once("could not translate host name ").and_then(|(_, rest)| first_quoted(rest));
    let name = node().or_else(libpq)?;
    name.split([' ', ',', ':', ')', '\'']).next().filter(|name| !name.is_empty())
}
