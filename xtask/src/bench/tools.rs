//! The programs of the reference: the same Node.js and npm as in the sandboxes.

use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Node.js that the deployment used, from its layers, so that both sides run the same program.
pub(super) struct Toolchain {
    mounts: Vec<PathBuf>,
    path: String,
}

impl Toolchain {
    pub(super) fn mount(target: &Path, dir: &Path) -> Result<Toolchain> {
        let mut toolchain = Toolchain { mounts: Vec::new(), path: String::new() };
        for entry in std::fs::read_dir(target.join("test-shared/layers"))? {
            let image = entry?.path();
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("toolchain-") || !name.ends_with(".img") {
                continue;
            }
            let at = dir.join(&name);
            std::fs::create_dir(&at)?;
            run(Command::new("mount").args(["-o", "loop,ro"]).arg(&image).arg(&at))?;
            for program in std::fs::read_dir(at.join("upper/opt/slipway"))? {
                let bin = usable_bin(&program?.path(), dir)?;
                toolchain.path.push_str(&format!("{}:", bin.display()));
            }
            toolchain.mounts.push(at);
        }
        ensure!(!toolchain.mounts.is_empty(), "no toolchain layer was made");
        Ok(toolchain)
    }

    pub(super) fn command(&self, line: &str, dir: &Path) -> Command {
        let path = format!("{}{}", self.path, std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(dir).env("PATH", path).env("NEXT_TELEMETRY_DISABLED", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// The layer's own launcher of npm names the path that it has in a sandbox: outside of one it gets another.
fn usable_bin(program: &Path, dir: &Path) -> Result<PathBuf> {
    let cli = program.join("lib/npm/bin/npm-cli.js");
    if !cli.exists() {
        return Ok(program.join("bin"));
    }
    let tools = dir.join("tools");
    std::fs::create_dir_all(&tools)?;
    let launcher = tools.join("npm");
    std::fs::write(&launcher, format!("#!/bin/sh\nexec node '{}' \"$@\"\n", cli.display()))?;
    std::fs::set_permissions(&launcher, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(tools)
}

impl Drop for Toolchain {
    fn drop(&mut self) {
        for at in &self.mounts {
            let _ = Command::new("umount").arg(at).status();
        }
    }
}

pub(super) fn run(command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
    let mut command = command;
    let status = command.borrow_mut().status()?;
    ensure!(status.success(), "{:?} ended with {status}", command.borrow_mut());
    Ok(())
}
