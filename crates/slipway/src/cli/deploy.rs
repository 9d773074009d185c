//! The commands that begin or end a deployment.

use super::args::{FollowOptions, GlobalOptions, JoinOptions};
use super::target::Target;
use super::{Session, follow, upload};
use crate::client::Client;
use crate::failure::Failure;
use crate::{output, render};
use slipway_types::api::{DeployParams, DeploymentView, RedeployParams};
use slipway_types::source::GitSource;
use slipway_types::{DeploymentId, Secret, SourceSpec};
use std::path::Path;
use std::process::ExitCode;

/// Not a flag: a token on a command line is in the process list.
const GIT_TOKEN_VARIABLE: &str = "SLIPWAY_GIT_TOKEN";

pub(super) async fn up(
    global: &GlobalOptions,
    dir: &Path,
    join: JoinOptions,
    options: FollowOptions,
) -> Result<ExitCode, Failure> {
    let target = Target::of_directory(global, dir)?;
    let client = Client::discover(global)?;
    let mut progress = render::progress(global.json);
    let upload = upload::upload(&client, dir, progress.as_mut()).await;
    progress.close();
    let params = DeployParams { source: SourceSpec::Upload { upload: upload? }, message: None, force: join.force };
    let deployment = client.deploy(target.path(), &params).await?;
    follow::follow(&client, deployment, options, progress.as_mut()).await
}

pub(super) async fn git(
    global: &GlobalOptions,
    url: &str,
    reference: Option<String>,
    join: JoinOptions,
    options: FollowOptions,
) -> Result<ExitCode, Failure> {
    let token = std::env::var(GIT_TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(Secret::new);
    let source = git_source(url, reference, token)?;
    let target = Target::of_repository(global, &source.url)?;
    let client = Client::discover(global)?;
    let params = DeployParams { source: SourceSpec::Git(source), message: None, force: join.force };
    let deployment = client.deploy(target.path(), &params).await?;
    show(global, &client, deployment, options).await
}

pub(super) async fn redeploy(
    global: &GlobalOptions,
    rebuild: bool,
    options: FollowOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::here(global)?;
    let deployment = session.client.redeploy(session.path(), &RedeployParams { rebuild }).await?;
    show(global, &session.client, deployment, options).await
}

pub(super) async fn rollback(
    global: &GlobalOptions,
    release: Option<u32>,
    options: FollowOptions,
) -> Result<ExitCode, Failure> {
    let session = Session::here(global)?;
    let deployment = session.client.rollback(session.path(), release).await?;
    show(global, &session.client, deployment, options).await
}

async fn show(
    global: &GlobalOptions,
    client: &Client,
    deployment: DeploymentView,
    options: FollowOptions,
) -> Result<ExitCode, Failure> {
    follow::follow(client, deployment, options, render::progress(global.json).as_mut()).await
}

pub(super) async fn cancel(global: &GlobalOptions, deployment: Option<DeploymentId>) -> Result<(), Failure> {
    let (client, deployment) = match deployment {
        Some(deployment) => (Client::discover(global)?, deployment),
        None => {
            let session = Session::here(global)?;
            let service = session.client.service(session.path()).await?;
            let running = service.newest.filter(|newest| !newest.status.is_settled());
            let running = running.ok_or_else(|| {
                Failure::usage(format!("no deployment of {} runs", session.target))
                    .hint("`slipway ps` lists what is live; `slipway rollback` takes it back")
            })?;
            (session.client, running.deployment)
        }
    };
    let canceled = client.cancel(&deployment).await?;
    if global.json {
        return output::json(&canceled);
    }
    output::say(&format!("{} of {}/{} is canceled", canceled.deployment, canceled.project, canceled.service));
    Ok(())
}

/// Takes a password or token out of the URL: what is stored and shown has none. The variable wins.
fn git_source(url: &str, reference: Option<String>, token: Option<Secret>) -> Result<GitSource, Failure> {
    let mut source = GitSource { url: url.to_owned(), reference, credential: token };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(source);
    };
    if !matches!(scheme, "https" | "http") {
        return Ok(source);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok(source);
    };
    // `https://token@host` and `https://user:password@host` are both in use; a user name alone is no secret and stays.
    let (user, secret) = user.split_once(':').map_or(("", user), |(user, password)| (user, password));
    let secret = percent_decoded(secret)
        .ok_or_else(|| Failure::usage("the password in the git URL is not valid percent-encoding"))?;
    let at = if user.is_empty() { "" } else { "@" };
    source.url = format!("{scheme}://{user}{at}{host}/{path}");
    if !secret.is_empty() {
        source.credential.get_or_insert(Secret::new(secret));
    }
    Ok(source)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_leaves_the_url() {
        for (url, clean, secret) in [
            ("https://h/a.git", "https://h/a.git", None),
            ("https://tok@h/a.git", "https://h/a.git", Some("tok")),
            ("https://me:p%40ss@h:8443/a/b", "https://me@h:8443/a/b", Some("p@ss")),
            ("ssh://git@h/a", "ssh://git@h/a", None),
            ("git@h:a/b", "git@h:a/b", None),
            ("file:///srv/a@b", "file:///srv/a@b", None),
        ] {
            let source = git_source(url, None, None).unwrap();
            let found = source.credential.as_ref().map(Secret::expose);
            assert_eq!((source.url.as_str(), found), (clean, secret), "{url}");
        }
    }

    #[test]
    fn the_variable_wins_and_bad_encoding_is_refused() {
        let source = git_source("https://old@h/a", None, Some(Secret::new("new"))).unwrap();
        assert_eq!(source.credential.unwrap().expose(), "new");
        assert!(git_source("https://me:%zz@h/a", None, None).is_err());
    }
}
