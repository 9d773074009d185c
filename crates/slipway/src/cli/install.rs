//! `install` and `uninstall`: from what is asked to what is installed.

use super::args::{GlobalOptions, InstallOptions};
use crate::client::DATA_DIR_DEFAULT;
use crate::failure::Failure;
use crate::install::{self, InstallSpec};
use std::path::{Path, PathBuf};

pub(super) fn install(options: &InstallOptions) -> Result<(), Failure> {
    let domain = options.domain.clone();
    domain.as_deref().map_or(Ok(()), crate::server::check_domain)?;
    install::install(&InstallSpec {
        root: absolute(&options.root)?,
        dry_run: options.dry_run,
        firewall: !options.no_firewall,
        allow: options.allow.clone(),
        domain,
    })
}

pub(super) fn uninstall(global: &GlobalOptions, root: PathBuf, purge: bool, dry_run: bool) -> Result<(), Failure> {
    let spec = InstallSpec { root: absolute(&root)?, dry_run, firewall: true, allow: Vec::new(), domain: None };
    let data_dir = global.data.as_deref().unwrap_or(Path::new(DATA_DIR_DEFAULT));
    install::uninstall(&spec, data_dir, purge)
}

fn absolute(root: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(root)
        .map_err(|error| Failure::usage(format!("`{}` is not a usable directory", root.display())).caused_by(&error))
}
