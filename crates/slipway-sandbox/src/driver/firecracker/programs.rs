//! Finds Firecracker, its jailer and the machine's files, and says what is wrong with them.

use crate::config::FirecrackerConfig;
use crate::driver::kvm;
use crate::error::SandboxError;
use crate::home::FirecrackerPrograms;
use crate::program;
use std::path::{Path, PathBuf};
use std::process::Command;

const FIRECRACKER: &str = "firecracker";
const JAILER: &str = "jailer";
const HINT: &str = "install Firecracker's release (firecracker and jailer) into `PATH`, or let the server fetch it (`sandbox.firecracker_release`)";
/// The first that takes another network device with a snapshot, up to the next that may change its interface.
pub(crate) const VERSION_MIN: Version = Version { major: 1, minor: 12 };
pub(crate) const VERSION_END: Version = Version { major: 2, minor: 0 };
/// A machine that it restores is never heard of again over vsock (firecracker-microvm/firecracker, #5969); mended in 1.16.1.
const BROKEN: &str = "1.16.0";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Everything that a boot needs, or what is missing.
pub(crate) fn find_programs(config: &FirecrackerConfig) -> Result<FirecrackerPrograms, SandboxError> {
    let (firecracker, jailer, version) =
        find_both(config.firecracker_program.as_deref(), config.jailer_program.as_deref())?;
    for path in [&config.guest.kernel, &config.guest.initramfs] {
        if !path.is_file() {
            return Err(SandboxError::NoGuest { path: path.clone() });
        }
    }
    Ok(FirecrackerPrograms {
        firecracker,
        jailer,
        version,
        guest: config.guest.clone(),
        kernel_words: config.kernel_words.clone(),
        limits: config.limits,
        boot_time_max: config.boot_time_max,
        snapshots_dir: config.snapshots_dir.clone(),
    })
}

/// Firecracker, its jailer, and the version of both.
pub(crate) fn find_both(
    firecracker: Option<&Path>,
    jailer: Option<&Path>,
) -> Result<(PathBuf, PathBuf, String), SandboxError> {
    if let Some(why) = kvm::trouble() {
        return Err(SandboxError::NoKvm { why });
    }
    let firecracker = find(firecracker, FIRECRACKER)?;
    let jailer = find(jailer, JAILER)?;
    let version = version_of(&firecracker)?;
    let of_jailer = version_of(&jailer)?;
    if of_jailer != version {
        let wanted = format!("{version}, as `{}` is", firecracker.display());
        return Err(SandboxError::Version { program: jailer, found: of_jailer, wanted });
    }
    Ok((firecracker, jailer, version))
}

pub(crate) fn find(given: Option<&Path>, name: &'static str) -> Result<PathBuf, SandboxError> {
    match given {
        Some(path) if path.is_file() => Ok(path.to_owned()),
        Some(path) => Err(SandboxError::NoProgram { program: path.to_owned() }),
        None => program::find(name).ok_or(SandboxError::NoMachineProgram { program: name, hint: HINT }),
    }
}

/// Of this machine, as releases name it.
pub(super) fn arch() -> &'static str {
    std::env::consts::ARCH
}

/// What the program says, such as `1.12.1`, where we can work with it.
pub(super) fn version_of(path: &Path) -> Result<String, SandboxError> {
    let said = program::run(Command::new(path).arg("--version"), "")?;
    let found = parse_version(&said);
    match found.as_ref().filter(|(text, _)| is_supported(text)) {
        Some((text, _)) => Ok((*text).to_owned()),
        None => Err(SandboxError::Version {
            program: path.to_owned(),
            found: found.map_or_else(|| "nothing that is a version".to_owned(), |(text, _)| text.to_owned()),
            wanted: format!("{VERSION_MIN} or newer, below {VERSION_END}, not {BROKEN}"),
        }),
    }
}

/// Whether we can work with the version that is called so.
pub(super) fn is_supported(text: &str) -> bool {
    text != BROKEN && parse_number(text).is_some_and(|version| (VERSION_MIN..VERSION_END).contains(&version))
}

/// The first line is `Firecracker v1.12.1`; what follows a `-` names a build.
fn parse_version(said: &str) -> Option<(&str, Version)> {
    let text = said.lines().next()?.rsplit_once(" v")?.1.trim();
    Some((text, parse_number(text)?))
}

fn parse_number(text: &str) -> Option<Version> {
    let mut numbers = text.split(['.', '-']).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Version { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let ok = |said| parse_version(said).map(|(text, _)| (text.to_owned(), is_supported(text)));
        assert_eq!(ok("Firecracker v1.12.1\n\nmore"), Some(("1.12.1".to_owned(), true)));
        assert_eq!(ok("Jailer v1.17.0-dev\n"), Some(("1.17.0-dev".to_owned(), true)));
        assert_eq!(ok("Firecracker v1.9.0"), Some(("1.9.0".to_owned(), false)));
        assert_eq!(ok("Firecracker v1.16.0"), Some(("1.16.0".to_owned(), false)));
        assert_eq!(ok("Firecracker v1.16.1"), Some(("1.16.1".to_owned(), true)));
        assert_eq!(ok("Firecracker v2.0.0"), Some(("2.0.0".to_owned(), false)));
        assert_eq!(ok("Segmentation fault"), None);
        assert_eq!(ok(""), None);
    }

    #[test]
    fn a_program_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("firecracker");
        std::fs::write(&path, "#!/bin/sh\necho Firecracker v1.4.0\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = version_of(&path).unwrap_err().to_string();
        assert!(error.contains("1.4.0") && error.contains("1.12 or newer, below 2.0"), "{error}");
        let missing = find(Some(&dir.path().join("gone")), FIRECRACKER).unwrap_err().to_string();
        assert!(missing.contains("gone"), "{missing}");
    }
}
