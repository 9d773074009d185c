//! What registries and git servers answer: no such package, no such version, not for you, nothing.

use super::lockfile::lockfile_of;
use super::{manifest, name_of, without_prefix};
use crate::diagnosis::case::Case;
use crate::diagnosis::entry::{
    CERTIFICATE_UNTRUSTED, PACKAGE_DAMAGED, PACKAGE_FORBIDDEN, PACKAGE_NOT_FOUND, PACKAGE_VERSION_NOT_FOUND,
    PRIVATE_GIT_DEPENDENCY, REGISTRY_AUTHENTICATION, REGISTRY_UNREACHABLE,
};
use crate::diagnosis::output::first_quoted;
use crate::diagnosis::python;
use slipway_types::Diagnosis;

pub(super) fn authentication(case: &Case<'_>) -> Option<Diagnosis> {
    let said =
        ["code E401", "code ENEEDAUTH", "ERR_PNPM_FETCH_401", "YN0041", "401 Error", " - 401", "(401 Unauthorized)"];
    let line = detail(case, &said)?;
    Some(
        REGISTRY_AUTHENTICATION
            .diagnosis("the package registry wants credentials")
            .at(case.place())
            .because(line)
            .hint("let `.npmrc` read the token from a variable: `//HOST/:_authToken=${NPM_TOKEN}`")
            .hint("set the variable for builds: `slipway env set --build --secret NPM_TOKEN=…`"),
    )
}

pub(super) fn forbidden(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "code E403",
        "ERR_PNPM_FETCH_403",
        "YN0035: │   Response Code: 403",
        "403 Client Error",
        " - 403",
        "(403 Forbidden)",
    ];
    let line = detail(case, &said)?;
    Some(
        PACKAGE_FORBIDDEN
            .diagnosis("the package registry forbids a package")
            .at(manifest(case))
            .because(line)
            .hint("give the token the right to read the package, or ask whoever keeps the registry why it is blocked")
            .hint("or choose another package or version, and commit the lockfile"),
    )
}

/// The first line from a known text on that is more than a code.
fn detail(case: &Case<'_>, said: &[&str]) -> Option<String> {
    let at = case.output.lines().position(|line| said.iter().any(|text| line.contains(text)))?;
    let line = case.output.lines().skip(at).find(|line| !line.contains(" code E"))?;
    Some(without_prefix(line).to_owned())
}

pub(super) fn package_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let package = npm_not_found(case).or_else(|| other_not_found(case)).or_else(|| python::package_not_found(case))?;
    let name = name_of(&package).to_owned();
    let diagnosis = PACKAGE_NOT_FOUND
        .diagnosis(format!("the package `{name}` does not exist"))
        .at(manifest(case))
        .because("the registry answers 404: there is no package of that name, or it is private and no token was sent")
        .hint("check the spelling of the name");
    Some(match python::is_of(case) {
        true => diagnosis.hint("for a private package name its index in the configuration of pip or uv, with a token from a variable"),
        false => diagnosis
            .hint("for a private package add its registry and token to `.npmrc`, the token by a variable: `//HOST/:_authToken=${NPM_TOKEN}`"),
    })
}

fn npm_not_found(case: &Case<'_>) -> Option<String> {
    case.output.find(&["code E404"])?;
    let line = case.output.lines().find(|line| line.contains("404") && line.contains('\''))?;
    first_quoted(line).map(str::to_owned)
}

fn other_not_found(case: &Case<'_>) -> Option<String> {
    let pnpm = || {
        case.output.find(&["ERR_PNPM_FETCH_404"])?;
        case.output.before(" is not in the npm registry").map(str::to_owned).or_else(|| last_of_url(case))
    };
    let yarn1 = || case.output.after("Couldn't find package \"")?.split('"').next().map(str::to_owned);
    let yarn = || case.output.before(": Package not found").map(|text| without_prefix(text).to_owned());
    let bun = || {
        let line = case.output.lines().find(|line| line.starts_with("error: GET ") && line.ends_with(" - 404"))?;
        line.trim_end_matches(" - 404").rsplit('/').next().map(str::to_owned)
    };
    pnpm().or_else(yarn1).or_else(yarn).or_else(bun)
}

/// `ERR_PNPM_FETCH_404  GET https://host/name: Not Found - 404`.
fn last_of_url(case: &Case<'_>) -> Option<String> {
    let url = case.output.after("ERR_PNPM_FETCH_404")?.trim_start_matches("GET ").split(": ").next()?;
    url.rsplit('/').next().map(|name| name.replace("%2F", "/"))
}

pub(super) fn version_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let npm = || case.output.after("No matching version found for ").map(|rest| rest.trim_end_matches('.').to_owned());
    let yarn1 = || {
        case.output
            .after("Couldn't find any versions for ")
            .map(|rest| rest.replace('"', "").replace(" that matches ", "@"))
    };
    let yarn = || case.output.before(": No candidates found").map(|text| without_prefix(text).replace("@npm:", "@"));
    let bun = || {
        let rest = case.output.after("No version matching \"")?;
        let (version, rest) = rest.split_once("\" found for specifier ")?;
        first_quoted(rest).map(|name| format!("{name}@{version}"))
    };
    let wanted = npm().or_else(yarn1).or_else(yarn).or_else(bun).or_else(|| python::version_not_found(case))?;
    let wanted = wanted.split(" while fetching").next().unwrap_or_default().trim();
    let name = name_of(wanted);
    let list =
        if python::is_of(case) { format!("pip index versions {name}") } else { format!("npm view {name} versions") };
    Some(
        PACKAGE_VERSION_NOT_FOUND
            .diagnosis(format!("no version matches `{wanted}`"))
            .at(manifest(case))
            .because(format!(
                "there is a package `{name}`, but none of its versions matches; a version may have been withdrawn"
            ))
            .hint(format!("`{list}` lists those there are"))
            .hint("choose one, and commit the manifest and the lockfile"),
    )
}

pub(super) fn damaged(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "code EINTEGRITY",
        "ERR_PNPM_TARBALL_INTEGRITY",
        "Integrity check failed",
        "YN0018",
        "DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
        "Hash mismatch for ",
    ];
    let at = case.output.lines().position(|line| said.iter().any(|text| line.contains(text)))?;
    let detail = case.output.lines().skip(at).map(without_prefix).find(|line| line.contains("sha"));
    Some(
        PACKAGE_DAMAGED
            .diagnosis("a package is not the one that the lockfile names")
            .at(lockfile_of(case).0)
            .because(detail.unwrap_or("its digest differs from the lockfile's").to_owned())
            .hint("remove the lockfile's entry and what is installed, install again where you develop, and commit the lockfile")
            .hint("if nobody can explain the difference, treat the package as tampered with"),
    )
}

pub(super) fn unreachable(case: &Case<'_>) -> Option<Diagnosis> {
    let codes =
        ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT", "EHOSTUNREACH"];
    let is_install = |line: &&str| {
        line.starts_with("npm error")
            || line.starts_with("npm ERR!")
            || line.contains("ERR_PNPM_META_FETCH_FAIL")
            || line.contains("YN0001")
            || line.starts_with("error An unexpected error")
    };
    let lines = || case.output.lines().filter(is_install).filter(|line| codes.iter().any(|code| line.contains(code)));
    let is_bare = |line: &&str| line.contains(" code E") || line.contains(" errno E");
    let node = || lines().find(|line| !is_bare(line)).or_else(|| lines().next());
    let other = || {
        let said = [
            "ConnectionRefused downloading",
            "FailedToOpenSocket downloading",
            "error sending request for url",
            "NewConnectionError(",
        ];
        case.output.find(&said)
    };
    let line = node().or_else(other)?;
    let detail = case.output.after("reason: ").filter(|reason| !line.contains(*reason));
    let detail = detail.map(|reason| format!("; {reason}")).unwrap_or_default();
    Some(
        REGISTRY_UNREACHABLE
            .diagnosis("the package registry could not be reached")
            .at(case.place())
            .because(format!("{}{detail}", without_prefix(line)))
            .hint("deploy again: a network may fail once")
            .hint("check the registry's URL in `.npmrc` and in the lockfile, and that the machine may reach it; private addresses must be allowed by the server's configuration: `sandbox.allow`"),
    )
}

const CERTIFICATE: [&str; 6] = [
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "CERTIFICATE_VERIFY_FAILED",
    "invalid peer certificate",
];

pub(super) fn certificate_untrusted(case: &Case<'_>) -> Option<Diagnosis> {
    case.output.find(&CERTIFICATE)?;
    let lines = || {
        case.output
            .lines()
            .filter(|line| CERTIFICATE.iter().any(|text| line.contains(text)) || line.contains("certificate"))
    };
    let line = lines().find(|line| line.contains("https://")).or_else(|| lines().next())?;
    let variable = if python::is_of(case) { "SSL_CERT_FILE" } else { "NODE_EXTRA_CA_CERTS" };
    Some(
        CERTIFICATE_UNTRUSTED
            .diagnosis("the certificate of the package registry is not trusted")
            .at(case.place())
            .because(without_prefix(line).to_owned())
            .hint(format!(
                "commit the certificate of its authority, and set `slipway env set --build {variable}=/app/PATH.pem`"
            ))
            .hint("don't turn the check off: whoever is in between could send any package"),
    )
}

/// What git says when it is asked for credentials and nobody answers.
const GIT_REFUSED: [&str; 8] = [
    "fatal: Authentication failed for ",
    "fatal: could not read Username for ",
    "fatal: could not read Password for ",
    "Permission denied (publickey",
    "Host key verification failed",
    "cannot run ssh",
    "ssh: not found",
    "fatal: Could not read from remote repository",
];

pub(super) fn private_git_dependency(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&GIT_REFUSED)?;
    let url = first_quoted(line).filter(|text| text.contains("://")).map(str::to_owned).or_else(|| git_url(case));
    let what = match &url {
        Some(url) => format!("the git repository `{url}` asks for credentials"),
        None => "the git repository of a dependency asks for credentials".to_owned(),
    };
    let ssh =
        url.as_deref().is_some_and(|url| url.starts_with("ssh:") || url.starts_with("git@")) || line.contains("ssh");
    let diagnosis = PRIVATE_GIT_DEPENDENCY.diagnosis(what).at(manifest(case)).because(without_prefix(line).to_owned());
    let diagnosis = if ssh {
        diagnosis.hint("builds have no SSH key; with `GIT_CREDENTIALS` addresses of SSH are fetched by `https`")
    } else {
        diagnosis
    };
    Some(
        diagnosis
            .hint("give builds a token for its host: `slipway env set GIT_CREDENTIALS --build-only --secret --stdin`, with lines `https://user:token@host`")
            .hint("or publish the package to a registry, or put it into this repository as a workspace"),
    )
}

/// `git ls-remote URL` in what npm and pip print of their own command.
fn git_url(case: &Case<'_>) -> Option<String> {
    let line = case.output.lines().find(|line| line.contains("ls-remote ") || line.contains("git clone "))?;
    line.split_whitespace().find(|word| word.contains("://") || word.starts_with("git@")).map(str::to_owned)
}
