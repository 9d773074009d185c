//! One commit out of a remote repository, by the `git` program.
//!
//! Nothing asks a person, no hook runs, only the listed protocols are spoken, and the credential travels in the
//! environment: it stands in no argument, address, file or message. The repository lies beside the work tree, so the
//! tree has no `.git`.

mod branch;

use crate::process::{LineSink, ProgramError, RunBounds, run_captured, run_logged};
use base64::Engine;
pub(crate) use branch::Branches;
use slipway_types::agent::Stream;
use slipway_types::source::GitSource;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// For the whole fetch. Large repositories at shallow depth take seconds; the rest is a dead remote.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// For commands that only touch the disk.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest reference: git itself refuses file names above 255 bytes.
const REFERENCE_BYTES_MAX: usize = 250;
/// `rev-parse` prints one name of at most 64 digits.
const NAME_BYTES_MAX: usize = 256;
const PROTOCOLS: &str = "https:http:ssh:git:file";

/// Why a commit could not be had, in the stable words of `HostError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("the repository `{url}` cannot be reached")]
    Unreachable { url: String, tail: Vec<String> },
    #[error("the repository `{url}` has no {}", wanted(reference))]
    ReferenceMissing { url: String, reference: Option<String>, tail: Vec<String> },
    #[error("the repository `{url}` refused {}", if *had_credential { "the credential" } else { "access without a credential" })]
    Authentication { url: String, had_credential: bool, tail: Vec<String> },
    #[error("git failed to fetch `{url}`")]
    Failed { url: String, tail: Vec<String> },
    #[error("the disk is full: the source does not fit")]
    DiskFull { tail: Vec<String> },
    #[error(transparent)]
    Program(ProgramError),
}

fn wanted(reference: &Option<String>) -> String {
    reference.as_ref().map_or_else(|| "default branch".to_owned(), |name| format!("branch, tag or commit `{name}`"))
}

impl GitError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            GitError::Unreachable { .. } => "git-unreachable",
            GitError::ReferenceMissing { .. } => "git-reference-missing",
            GitError::Authentication { .. } => "git-authentication",
            GitError::DiskFull { .. } => "disk-full",
            GitError::Failed { .. } | GitError::Program(_) => "git-failed",
        }
    }
}

/// Where the parts of a fetched commit go. Both directories exist and are empty.
#[derive(Debug)]
pub(crate) struct Checkout<'p> {
    pub(crate) repository: &'p Path,
    pub(crate) work_tree: &'p Path,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) commit: String,
    pub(crate) branches: Branches,
}

/// Fetches what `source` names and checks it out.
pub(crate) async fn fetch(
    source: &GitSource,
    checkout: &Checkout<'_>,
    cancel: &CancellationToken,
    sink: &impl LineSink,
) -> Result<Fetched, GitError> {
    let git = Git { source, checkout, cancel, sink };
    let missing = || GitError::ReferenceMissing {
        url: source.url.clone(),
        reference: source.reference.clone(),
        tail: Vec::new(),
    };
    if source.url.starts_with('-') {
        return Err(GitError::Failed { url: source.url.clone(), tail: vec!["the address begins with `-`".into()] });
    }
    if source.reference.as_deref().is_some_and(|reference| !is_reference(reference)) {
        return Err(missing());
    }
    git.run(&["init", "--quiet"], LOCAL_TIMEOUT).await?;
    // Beside the fetch, so that it costs no time of its own.
    let branches = async { Ok(git.branches().await) };
    let (revision, branches) = tokio::try_join!(git.fetch_reference(source.reference.as_deref()), branches)?;
    let commit = git.commit_of(&revision).await.map_err(|_| missing())?;
    git.run(&["checkout", "--quiet", "--force", "--detach", &commit], LOCAL_TIMEOUT).await?;
    Ok(Fetched { commit, branches })
}

struct Git<'g, S> {
    source: &'g GitSource,
    checkout: &'g Checkout<'g>,
    cancel: &'g CancellationToken,
    sink: &'g S,
}

impl<S: LineSink> Git<'_, S> {
    /// Brings the objects and returns a revision that names the commit in the local repository.
    async fn fetch_reference(&self, reference: Option<&str>) -> Result<String, GitError> {
        let shallow = self.fetch_refs(&["--depth", "1"], &[reference.unwrap_or("HEAD")]).await;
        let error = match shallow {
            Ok(()) => return Ok("FETCH_HEAD".to_owned()),
            Err(error) => error,
        };
        // A short name of a commit is none of the remote's references, and some servers hand out no commit by name.
        let Some(commit) = reference.filter(|name| is_commit_name(name)) else { return Err(error) };
        if !matches!(error, GitError::ReferenceMissing { .. }) {
            return Err(error);
        }
        self.sink.line(Stream::Stdout, format!("`{commit}` cannot be fetched by itself; fetching all commits")).await;
        self.fetch_refs(&[], &["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]).await?;
        Ok(commit.to_owned())
    }

    async fn fetch_refs(&self, options: &[&str], references: &[&str]) -> Result<(), GitError> {
        let mut arguments = vec!["fetch", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"];
        arguments.extend(options);
        arguments.extend(["--", &self.source.url]);
        arguments.extend(references);
        self.run(&arguments, FETCH_TIMEOUT).await
    }

    async fn commit_of(&self, revision: &str) -> Result<String, ProgramError> {
        let mut command = self.command();
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")]);
        let bounds = RunBounds { timeout: LOCAL_TIMEOUT, cancel: self.cancel };
        let name = run_captured(command, bounds, NAME_BYTES_MAX).await?;
        Ok(String::from_utf8_lossy(&name).trim().to_owned())
    }

    async fn run(&self, arguments: &[&str], timeout: Duration) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(arguments);
        let bounds = RunBounds { timeout, cancel: self.cancel };
        run_logged(command, bounds, self.sink).await.map_err(|error| self.classify(error))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_foreign_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .env("GIT_DIR", self.checkout.repository)
            .env("GIT_WORK_TREE", self.checkout.work_tree)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("LC_ALL", "C")
            .current_dir(self.checkout.work_tree);
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=15");
        }
        for (index, (key, value)) in self.settings().iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.env("GIT_CONFIG_COUNT", self.settings().len().to_string());
        command
    }

    fn settings(&self) -> Vec<(String, String)> {
        let mut settings: Vec<(String, String)> = [
            ("core.hooksPath", "/dev/null"),
            ("core.askPass", ""),
            ("core.fsmonitor", "false"),
            ("credential.helper", ""),
            ("credential.interactive", "false"),
            ("init.defaultBranch", "main"),
            ("advice.detachedHead", "false"),
            // A transfer below 1000 bytes a second for half a minute is dead.
            ("http.lowSpeedLimit", "1000"),
            ("http.lowSpeedTime", "30"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        // Bound to the address: a redirect to another host does not take the credential along.
        if let Some(credential) = &self.source.credential
            && self.source.url.starts_with("https://")
        {
            let pair = user_and_password(&self.source.url, credential.expose());
            let header = format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            settings.push((format!("http.{}.extraHeader", self.source.url), header));
        }
        settings
    }

    fn classify(&self, error: ProgramError) -> GitError {
        let url = self.source.url.clone();
        match error {
            ProgramError::Failed { tail, .. } => {
                let reference = self.source.reference.clone();
                match cause(&tail.join("\n").to_ascii_lowercase()) {
                    Cause::Authentication => {
                        GitError::Authentication { url, had_credential: self.source.credential.is_some(), tail }
                    }
                    Cause::Missing => GitError::ReferenceMissing { url, reference, tail },
                    Cause::Unreachable => GitError::Unreachable { url, tail },
                    Cause::DiskFull => GitError::DiskFull { tail },
                    Cause::Other => GitError::Failed { url, tail },
                }
            }
            ProgramError::TimedOut { .. } => GitError::Unreachable { url, tail: vec![error.to_string()] },
            other => GitError::Program(other),
        }
    }
}

/// The server's own git settings of the moment: another repository, tracing (which prints headers), helpers.
/// How to reach a remote (`GIT_SSL_*`, `GIT_SSH*`, `GIT_PROXY_*`) stays.
fn is_foreign_setting(name: &str) -> bool {
    let reaching = ["GIT_SSL_", "GIT_SSH", "GIT_PROXY_", "GIT_EXEC_PATH"];
    name == "SSH_ASKPASS" || (name.starts_with("GIT_") && !reaching.iter().any(|prefix| name.starts_with(prefix)))
}

/// A token alone goes with the user name that its host expects; most take any.
fn user_and_password(url: &str, credential: &str) -> String {
    if credential.contains(':') {
        return credential.to_owned();
    }
    let user = if url.starts_with("https://bitbucket.org/") { "x-token-auth" } else { "x-access-token" };
    format!("{user}:{credential}")
}

/// What git accepts as the name of a branch, a tag or a commit (git-check-ref-format).
fn is_reference(name: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\+".contains(c);
    !name.is_empty()
        && name.len() <= REFERENCE_BYTES_MAX
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
}

fn is_commit_name(name: &str) -> bool {
    (4..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

enum Cause {
    Authentication,
    Missing,
    Unreachable,
    DiskFull,
    Other,
}

/// Git has no exit codes for these; its messages (with `LC_ALL=C`) have been stable for a decade.
fn cause(output: &str) -> Cause {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| output.contains(phrase));
    if says(&["no space left on device"]) {
        Cause::DiskFull
    } else if says(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "unable to get password",
        "permission denied (",
        "invalid credentials",
        "returned error: 401",
        "returned error: 403",
        "terminal prompts disabled",
    ]) {
        Cause::Authentication
    } else if says(&["couldn't find remote ref", "not our ref", "unadvertised object", "no such remote ref"]) {
        Cause::Missing
    } else if says(&[
        "could not resolve",
        "couldn't connect",
        "failed to connect",
        "unable to connect",
        "connection refused",
        "timed out",
        "no route to host",
        "network is unreachable",
        "repository not found",
        "does not appear to be a git repository",
        "does not exist",
        "returned error: 404",
        "unable to access",
        "could not read from remote repository",
        "not found",
        "remote end hung up",
    ]) {
        Cause::Unreachable
    } else {
        Cause::Other
    }
}

/// The directory of the repository beside a tree.
pub(crate) fn repository_beside(root: &Path) -> PathBuf {
    root.join("repository.git")
}

#[cfg(test)]
mod tests;
