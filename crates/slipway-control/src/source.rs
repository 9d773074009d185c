//! A deployment's source, checked when it comes in. A git credential is stored sealed and opened only for the worker.

use crate::refusal::Refusal;
use crate::seal::{MasterKey, SealError, SealedFor};
use serde::{Deserialize, Serialize};
use slipway_build::netlify::DeployContext;
use slipway_types::source::{GitSource, Lineage, SourceFacts};
use slipway_types::{Secret, ServiceId, SourceSpec};
use std::path::PathBuf;
use std::{fs, io};

/// Longest URL or reference that is taken.
const TEXT_BYTES_MAX: usize = 2048;
/// Schemes that git fetches from here. `ext::` and other helpers would run commands on the server.
const SCHEMES: [&str; 5] = ["https://", "http://", "ssh://", "git://", "file://"];

/// Refuses what git must never be called with.
pub(crate) fn check(source: &SourceSpec) -> Result<(), Refusal> {
    let SourceSpec::Git(git) = source else { return Ok(()) };
    let url = git.url.as_str();
    let scp_like = url.split_once(':').is_some_and(|(host, path)| {
        host.contains('@') && !host.contains('/') && !host.starts_with('-') && !path.starts_with(':')
    });
    let usable = url.len() <= TEXT_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic());
    if !usable || !(SCHEMES.iter().any(|scheme| url.starts_with(scheme)) || scp_like) {
        let message = "the source's URL is not one that git fetches from";
        return Err(Refusal::unusable("git-url", message)
            .hint("use `https://…`, `ssh://…`, `git://…`, `file://…` or `user@host:path`"));
    }
    let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    // `https://token@host` is a usual form: only with a credential beside it the part before the `@` is but a name.
    let may_be_token = (url.starts_with("https://") || url.starts_with("http://")) && git.credential.is_none();
    let has_credential = |user: &str| user.contains(':') || (may_be_token && !user.is_empty());
    if authority.rsplit_once('@').is_some_and(|(user, _)| has_credential(user)) {
        return Err(Refusal::unusable("git-url-credential", "the source's URL has a password or token in it")
            .hint("give it as the source's `credential`, where it is stored encrypted"));
    }
    if let Some(reference) = &git.reference {
        let bad = reference.is_empty()
            || reference.len() > TEXT_BYTES_MAX
            || reference.starts_with('-')
            || reference.contains("..")
            || reference.bytes().any(|b| b.is_ascii_control() || b" ~^:?*[\\".contains(&b));
        if bad {
            return Err(Refusal::unusable("git-reference", "the source's reference is not a branch, tag or commit"));
        }
    }
    Ok(())
}

/// The git credentials of a data directory: for each service the one that was given last, sealed, with the URL that it is
/// for. The database holds none. A redeploy and a restart find it here.
#[derive(Debug)]
pub(crate) struct Credentials {
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("could not use {path}")]
    File { path: PathBuf, source: io::Error },
}

#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    credential: Secret,
}

impl Credentials {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps the credential of a source that has one.
    pub(crate) fn keep(
        &self,
        key: &MasterKey,
        service: &ServiceId,
        source: &SourceSpec,
    ) -> Result<(), CredentialError> {
        let SourceSpec::Git(GitSource { url, credential: Some(credential), .. }) = source else { return Ok(()) };
        let kept = Kept { url: url.clone(), credential: credential.clone() };
        let plain = serde_json::to_vec(&kept).map_err(|_| SealError::Seal("the git credential".to_owned()))?;
        let sealed = key.seal(SealedFor::Credential { service }, &plain)?;
        let path = self.path(service);
        let beside = path.with_extension("new");
        fs::write(&beside, sealed)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|source| CredentialError::File { path, source })
    }

    /// `source` with the credential that was given for its URL, if one was. It is never sent to another URL.
    pub(crate) fn add_to(
        &self,
        key: &MasterKey,
        service: &ServiceId,
        source: SourceSpec,
    ) -> Result<SourceSpec, CredentialError> {
        let SourceSpec::Git(git) = &source else { return Ok(source) };
        let path = self.path(service);
        let sealed = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(source),
            sealed => sealed.map_err(|source| CredentialError::File { path, source })?,
        };
        let plain = key.open(SealedFor::Credential { service }, &sealed)?;
        let kept: Kept =
            serde_json::from_slice(&plain).map_err(|_| SealError::Open("the git credential".to_owned()))?;
        if kept.url != git.url {
            return Ok(source);
        }
        Ok(SourceSpec::Git(GitSource { credential: Some(kept.credential), ..git.clone() }))
    }

    pub(crate) fn forget(&self, service: &ServiceId) -> io::Result<()> {
        match fs::remove_file(self.path(service)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, service: &ServiceId) -> PathBuf {
        self.dir.join(service.as_str())
    }
}

/// The source as the database has it.
pub(crate) fn without_credential(source: SourceSpec) -> SourceSpec {
    match source {
        SourceSpec::Git(git) => SourceSpec::Git(GitSource { credential: None, ..git }),
        upload @ SourceSpec::Upload { .. } => upload,
    }
}

/// What people see of a source: the upload, or the URL and what was asked for of it.
pub(crate) fn label(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Upload { upload } => upload.to_string(),
        SourceSpec::Git(git) => match &git.reference {
            Some(reference) => format!("{}#{reference}", git.url),
            None => git.url.clone(),
        },
    }
}

/// A full SHA-1 or SHA-256 name.
pub(crate) fn is_commit(label: &str) -> bool {
    matches!(label.len(), 40 | 64) && label.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is fetched of a source whose commit is known by now: a branch may have moved meanwhile.
pub(crate) fn at_commit(source: SourceSpec, label: &str) -> SourceSpec {
    match source {
        SourceSpec::Git(git) if is_commit(label) => {
            SourceSpec::Git(GitSource { reference: Some(label.to_owned()), ..git })
        }
        source => source,
    }
}

/// Whose dependencies and caches a deployment begins from. A redeploy fetches its commit by name: the branch is then the one
/// that was asked for at first.
pub(crate) fn lineage(source: &SourceSpec, facts: &SourceFacts) -> Lineage {
    let SourceSpec::Git(git) = source else { return Lineage::uploads() };
    let asked = git.reference.as_deref().filter(|reference| !is_commit(reference));
    let asked = asked.map(|reference| reference.strip_prefix("refs/heads/").unwrap_or(reference).to_owned());
    Lineage::of_git(facts.branch.clone().or(asked), facts.default_branch.clone())
}

/// What the configuration of a source is resolved for, by what was asked for. What is deployed without the name of a
/// branch, or from the one that most repositories call their main one, is production.
pub(crate) fn context(source: &SourceSpec) -> DeployContext {
    match source {
        SourceSpec::Git(GitSource { reference: Some(name), .. }) => DeployContext::of_reference(name),
        SourceSpec::Git(_) | SourceSpec::Upload { .. } => DeployContext::production(),
    }
}

pub(crate) fn credential(source: &SourceSpec) -> Option<&Secret> {
    match source {
        SourceSpec::Git(git) => git.credential.as_ref(),
        SourceSpec::Upload { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, reference: Option<&str>) -> SourceSpec {
        SourceSpec::Git(GitSource {
            url: url.to_owned(),
            reference: reference.map(str::to_owned),
            credential: Some(Secret::new("ghp_token")),
        })
    }

    #[test]
    fn only_what_git_may_fetch_is_taken() {
        for url in ["https://example.com/a.git", "git@example.com:a/b.git", "file:///srv/a.git", "ssh://git@h/a"] {
            assert!(check(&git(url, Some("main"))).is_ok(), "{url}");
        }
        for url in ["ext::sh -c id", "--upload-pack=id", "a", "ext::x@y:z", "-o@h:x", "https://a\nb", "ftp://x"] {
            assert_eq!(check(&git(url, None)).unwrap_err().error.code, "git-url", "{url}");
        }
        assert_eq!(check(&git("https://me:pw@h/a", None)).unwrap_err().error.code, "git-url-credential");
        for reference in ["-x", "", "a..b", "a b", "a:b"] {
            assert_eq!(check(&git("https://h/a", Some(reference))).unwrap_err().error.code, "git-reference");
        }
    }

    #[test]
    fn a_credential_is_kept_sealed_and_for_its_url_only() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(dir.path().join("credentials")).unwrap();
        let key = MasterKey::new(&[3; 32]);
        let service = ServiceId::parse("svc-a").unwrap();
        let source = git("https://h/a", None);
        let add = |source| credentials.add_to(&key, &service, without_credential(source)).unwrap();
        assert_eq!(credential(&add(source.clone())), None);
        credentials.keep(&key, &service, &source).unwrap();
        assert_eq!(add(source.clone()), source);
        assert_eq!(credential(&add(git("https://evil/a", None))), None);
        let stored = fs::read(dir.path().join("credentials/svc-a")).unwrap();
        assert!(!stored.windows(9).any(|window| window == b"ghp_token"));
        credentials.forget(&service).unwrap();
        assert_eq!(credential(&add(source)), None);
    }
}
