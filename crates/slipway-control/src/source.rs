//! A deployment's source, checked when it comes in. A git credential is stored sealed and opened only for the worker.

use crate::refusal::Refusal;
use crate::seal::{MasterKey, SealError, SealedFor};
use slipway_types::source::GitSource;
use slipway_types::{Secret, ServiceId, SourceSpec};
use std::fmt::Write as _;

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
    if authority.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err(Refusal::unusable("git-url-credential", "the source's URL has a password in it")
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

/// The source as it is stored.
pub(crate) fn sealed(source: SourceSpec, key: &MasterKey, service: &ServiceId) -> Result<SourceSpec, SealError> {
    let SourceSpec::Git(GitSource { url, reference, credential: Some(credential) }) = source else { return Ok(source) };
    let bytes = key.seal(SealedFor::Credential { service }, credential.expose().as_bytes())?;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(SourceSpec::Git(GitSource { url, reference, credential: Some(Secret::new(hex)) }))
}

/// The source as a worker needs it.
pub(crate) fn unsealed(source: SourceSpec, key: &MasterKey, service: &ServiceId) -> Result<SourceSpec, SealError> {
    let SourceSpec::Git(GitSource { url, reference, credential: Some(credential) }) = source else { return Ok(source) };
    let damaged = || SealError::Open("the git credential".to_owned());
    let bytes = unhex(credential.expose()).ok_or_else(damaged)?;
    let plain = key.open(SealedFor::Credential { service }, &bytes)?;
    let plain = String::from_utf8(plain).map_err(|_| damaged())?;
    Ok(SourceSpec::Git(GitSource { url, reference, credential: Some(Secret::new(plain)) }))
}

pub(crate) fn credential(source: &SourceSpec) -> Option<&Secret> {
    match source {
        SourceSpec::Git(git) => git.credential.as_ref(),
        SourceSpec::Upload { .. } => None,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
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
    fn a_credential_is_stored_sealed() {
        let key = MasterKey::new(&[3; 32]);
        let service = ServiceId::parse("svc-a").unwrap();
        let source = git("https://h/a", None);
        let stored = sealed(source.clone(), &key, &service).unwrap();
        assert!(!serde_json::to_string(&stored).unwrap().contains("ghp_token"));
        assert_eq!(unsealed(stored, &key, &service).unwrap(), source);
    }
}
