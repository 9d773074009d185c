//! What the host could not do: git, uploads, toolchains, sandboxes, layers.

use super::case::Case;
use super::entry::{
    DISK_NEARLY_FULL, DRIVER_CHANGED, Entry, GIT_AUTHENTICATION, GIT_FAILED, GIT_REFERENCE_MISSING, GIT_UNREACHABLE,
    HOST_DISK_FULL, HOST_ERROR, LAYER_FAILED, RELEASE_GONE, SANDBOX_FAILED, SITE_DIRECTORY_MISSING,
    SITE_FALLBACK_MISSING, SITE_TOO_LARGE, TOOLCHAIN_UNAVAILABLE, UNKNOWN_FAILURE, UPLOAD_MISSING, UPLOAD_UNUSABLE,
    VERSION_UNAVAILABLE,
};
use slipway_types::Diagnosis;

/// A stable code of the host, with the diagnosis that it is.
struct HostFailure {
    /// As in [`slipway_types::host::HostError`].
    code: &'static str,
    entry: Entry,
    what: &'static str,
    hints: &'static [&'static str],
}

const HOST_FAILURES: [HostFailure; 17] = [
    HostFailure {
        code: "git-unreachable",
        entry: GIT_UNREACHABLE,
        what: "the git server could not be reached",
        hints: &[
            "check the URL: the host name, the port and the scheme",
            "try `git ls-remote URL` on the machine that runs Slipway",
        ],
    },
    HostFailure {
        code: "git-reference-missing",
        entry: GIT_REFERENCE_MISSING,
        what: "the repository has no such branch, tag or commit",
        hints: &[
            "push it first: only what is on the server can be deployed",
            "`git ls-remote URL` lists the branches and tags; a commit must be reachable from one of them",
        ],
    },
    HostFailure {
        code: "git-authentication",
        entry: GIT_AUTHENTICATION,
        what: "the git server refused the credentials",
        hints: &[
            "check that the token is valid and may read this repository",
            "a misspelt URL of a private server looks the same: check the owner and the name",
        ],
    },
    HostFailure {
        code: "git-failed",
        entry: GIT_FAILED,
        what: "git could not fetch the source",
        hints: &["deploy again; if it stays, try `git clone URL` on the machine that runs Slipway"],
    },
    HostFailure {
        code: "upload-missing",
        entry: UPLOAD_MISSING,
        what: "the uploaded source is no longer there",
        hints: &["upload it again with `slipway up`"],
    },
    HostFailure {
        code: "upload-unusable",
        entry: UPLOAD_UNUSABLE,
        what: "the uploaded source could not be unpacked",
        hints: &["upload it again with `slipway up`, which makes an archive that fits"],
    },
    HostFailure {
        code: "toolchain-unavailable",
        entry: TOOLCHAIN_UNAVAILABLE,
        what: "the toolchain could not be fetched",
        hints: &[
            "deploy again: a download may fail once",
            "check that the machine may reach the place that runtimes are fetched from",
        ],
    },
    HostFailure {
        code: "version-unavailable",
        entry: VERSION_UNAVAILABLE,
        what: "no release matches the version that the source asks for",
        hints: &[
            "ask for a version that exists, such as a major version: `engines.node` in `package.json` or `build.node_version`",
        ],
    },
    HostFailure {
        code: "sandbox-failed",
        entry: SANDBOX_FAILED,
        what: "the sandbox could not be started",
        hints: &[
            "`slipway doctor` says what is missing on the machine",
            "deploy again; nothing of the source is to blame",
        ],
    },
    HostFailure {
        code: "layer-failed",
        entry: LAYER_FAILED,
        what: "a layer could not be made or mounted",
        hints: &[
            "`slipway doctor` says what is missing on the machine",
            "deploy again; nothing of the source is to blame",
        ],
    },
    HostFailure {
        code: "site-directory-missing",
        entry: SITE_DIRECTORY_MISSING,
        what: "there is nothing to publish",
        hints: &[
            "set `site.directory` in `slipway.toml` to the directory that the build writes",
            "set `build.command` if a command should have written it",
        ],
    },
    HostFailure {
        code: "site-fallback-missing",
        entry: SITE_FALLBACK_MISSING,
        what: "the site's fallback is not among its files",
        hints: &["set `site.fallback` to a published file, or to an empty text for none"],
    },
    HostFailure {
        code: "site-too-large",
        entry: SITE_TOO_LARGE,
        what: "the site is too large to be published",
        hints: &["publish only what is served: `site.directory` names the directory"],
    },
    HostFailure {
        code: "disk-full",
        entry: HOST_DISK_FULL,
        what: "the machine has no disk space left",
        hints: &[
            "free space in the data directory of Slipway, then deploy again",
            "`df -h` shows which file system is full",
        ],
    },
    HostFailure {
        code: "disk-nearly-full",
        entry: DISK_NEARLY_FULL,
        what: "the machine's disk is nearly full, so nothing is built",
        hints: &[
            "run `slipway cache gc`, or `slipway cache clear` to remove all that nothing needs, then deploy again",
            "`slipway cache ls` shows what layers take and why they stay",
            "set `layers.quota` or a smaller `layers.keep_releases` of the server, or give it a larger disk",
        ],
    },
    HostFailure {
        code: "release-gone",
        entry: RELEASE_GONE,
        what: "layers of the release are gone",
        hints: &[
            "build it again: `slipway redeploy --rebuild`, or `slipway deploy --git URL --ref COMMIT` for a certain commit",
            "set a larger `layers.keep_releases` of the server to keep more releases",
        ],
    },
    HostFailure {
        code: "driver-changed",
        entry: DRIVER_CHANGED,
        what: "the release was built by another driver",
        hints: &[
            "build it again with the driver that the server has now: `slipway redeploy --rebuild`",
            "or start the server with the driver that built it (`--driver qemu`, `--driver firecracker`)",
        ],
    },
];

const OTHER: HostFailure = HostFailure {
    code: "",
    entry: HOST_ERROR,
    what: "the host could not do its part",
    hints: &["deploy again; if it stays, look at the server's log"],
};

pub(super) fn host_error(case: &Case<'_>) -> Option<Diagnosis> {
    let error = case.evidence.host_error.as_ref()?;
    let failure = HOST_FAILURES.iter().find(|failure| failure.code == error.code).unwrap_or(&OTHER);
    let message = match error.message.trim() {
        "" => failure.entry.title.to_owned(),
        message => message.to_owned(),
    };
    let why = if failure.code.is_empty() { format!("{}: {message}", error.code) } else { message };
    let diagnosis = failure.entry.diagnosis(failure.what).at(place(case)).because(why);
    Some(failure.hints.iter().fold(diagnosis, |diagnosis, hint| diagnosis.hint(*hint)))
}

fn place(case: &Case<'_>) -> String {
    let toolchain = case.plan.and_then(|plan| plan.toolchains.first());
    let toolchain = toolchain.map(|tool| format!("{} {}", tool.name.title(), tool.version_range));
    match (case.evidence.phase, toolchain) {
        (Some(slipway_types::Phase::Environment), Some(toolchain)) => format!("{toolchain} in the phase `environment`"),
        _ => case.place(),
    }
}

/// No fact at all.
pub(super) fn unknown(case: &Case<'_>) -> Diagnosis {
    UNKNOWN_FAILURE
        .diagnosis("the deployment failed and nothing says why")
        .at(case.place())
        .because(case.with_last_lines("no exit status, no measurement and no error was reported"))
        .hint("deploy again; if it stays, look at the server's log")
}
