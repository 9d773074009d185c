//! Which files an installation wants, and what that means for those that are there.

use super::firewall::{self, PORTS};
use super::record::Record;
use super::{InstallSpec, ssh, unit};
use crate::failure::Failure;
use crate::server::configured_edge;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// In the installed system.
    pub(super) path: &'static str,
    pub(super) mode: u32,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Text(String),
    /// A program that is copied.
    CopyOf(PathBuf),
    /// A symbolic link.
    LinkTo(&'static str),
}

/// What is to be done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Create,
    /// It is as an earlier installation wrote it.
    Replace,
    /// Its owner has changed it since, or wrote it.
    Keep,
}

impl Wanted {
    /// Empty for a link, which has none.
    pub(super) fn digest(&self) -> Result<String, Failure> {
        match &self.content {
            Content::Text(text) => Ok(blake3::hash(text.as_bytes()).to_hex().to_string()),
            Content::CopyOf(path) => digest_of(path).map_err(unreadable(path)),
            Content::LinkTo(_) => Ok(String::new()),
        }
    }

    /// # Errors
    /// When something stands there that no installation wrote.
    pub(super) fn change(&self, spec: &InstallSpec, record: &Record) -> Result<Change, Failure> {
        let path = spec.below(self.path);
        let Ok(found) = path.symlink_metadata() else { return Ok(Change::Create) };
        let foreign = || {
            let message = format!("there is a `{}` that `slipway install` did not write", path.display());
            Err(Failure::usage(message).hint("move it away, and install again"))
        };
        if let Content::LinkTo(target) = &self.content {
            let is_ours = fs::read_link(&path).is_ok_and(|link| link == Path::new(target));
            return if is_ours { Ok(Change::Nothing) } else { foreign() };
        }
        if !found.is_file() {
            return foreign();
        }
        let (wanted, present) = (self.digest()?, digest_of(&path).map_err(unreadable(&path))?);
        let recorded = record.files.get(self.path);
        match recorded {
            // The configuration is its owner's from its first moment on.
            _ if self.path == unit::CONFIG => Ok(Change::Keep),
            _ if wanted == present => Ok(Change::Nothing),
            Some(recorded) if *recorded == present => Ok(Change::Replace),
            Some(_) => Ok(Change::Keep),
            None => foreign(),
        }
    }
}

/// Everything that belongs to an installation.
///
/// # Errors
/// When the programs to install are not found, or the configuration that is there is not usable.
pub(super) fn wanted(spec: &InstallSpec) -> Result<(Vec<Wanted>, BTreeSet<u16>), Failure> {
    let config = spec.below(unit::CONFIG);
    let edge = match config.is_file() {
        true => configured_edge(&config)?,
        false => std::net::SocketAddr::from(([0, 0, 0, 0], 80)),
    };
    let mut ports: BTreeSet<u16> = PORTS.into_iter().chain([edge.port()]).chain(spec.allow.iter().copied()).collect();
    if spec.is_this_machine() {
        ports.extend(ssh::ports());
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::server("cannot find this program's own file").caused_by(&error))?;
    let agent = program.with_file_name("libexec/slipway-agent");
    if !agent.is_file() {
        return Err(Failure::usage(format!("there is no `{}`", agent.display()))
            .hint("install from a directory that has both programs, as `./x build` makes it"));
    }
    let text = |path, mode, text| Wanted { path, mode, content: Content::Text(text) };
    let mut wanted = vec![
        Wanted { path: unit::BINARY, mode: 0o755, content: Content::CopyOf(program) },
        Wanted { path: unit::AGENT, mode: 0o755, content: Content::CopyOf(agent) },
        Wanted { path: unit::LINK, mode: 0o777, content: Content::LinkTo(unit::BINARY) },
        // It may name keys of a cold tier.
        text(unit::CONFIG, 0o600, unit::config(spec.domain.as_deref())),
        text(unit::JOURNAL, 0o644, unit::journal()),
        text(unit::SOCKET, 0o644, unit::socket(edge)),
        text(unit::SERVICE, 0o644, unit::service()),
    ];
    if spec.firewall {
        wanted.push(text(unit::FIREWALL, 0o644, firewall::rules(&ports)));
        wanted.push(text(unit::FIREWALL_SERVICE, 0o644, unit::firewall_service()));
    }
    Ok((wanted, ports))
}

pub(crate) fn digest_of(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let message = format!("cannot read `{}`", path.display());
    move |error| Failure::server(message).caused_by(&error)
}
