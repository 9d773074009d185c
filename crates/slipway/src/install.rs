//! `slipway install` and `slipway uninstall`: the server as a service of systemd, with a firewall.
//!
//! What is written is decided first ([`plan`]), so that `--dry-run` shows it to the byte, and noted in a record before it is
//! written ([`record`]), so that `uninstall` removes exactly that, also after an installation that broke off. What stands there
//! and was not written by an installation is never replaced.
//!
//! Guarantees: a second installation changes nothing; the firewall is in force only when `nft` has checked it, the ports of a
//! running sshd stay open, and on a terminal it is taken back unless somebody confirms it.

mod apply;
mod firewall;
mod plan;
mod record;
mod ssh;
mod unit;

pub(crate) use apply::{install, uninstall};
pub(crate) use plan::digest_of;
pub(crate) use record::{note_upgrade, replace};

use std::path::{Path, PathBuf};

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct InstallSpec {
    /// Everything is written below it. Another one than `/` is prepared, and nothing of it started.
    pub(crate) root: PathBuf,
    pub(crate) dry_run: bool,
    pub(crate) firewall: bool,
    /// Ports that stay open beside those of SSH, HTTP and HTTPS.
    pub(crate) allow: Vec<u16>,
    pub(crate) domain: Option<String>,
}

impl InstallSpec {
    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of the installed system below the root.
    fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}
