//! `[sandbox]`, as far as it is about virtual machines: programs and the guest's kernel.

use super::file::{IoTable, ReleaseSetting, SandboxTable};
use crate::failure::Failure;
use slipway_sandbox::guest::KernelSource;
use slipway_sandbox::{IoLimits, MachinePrograms, RELEASE_URL, ReleaseSource};
use std::path::{Path, PathBuf};

/// In hexadecimal.
const SHA256_CHARS: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct MachinesConfig {
    pub(crate) programs: MachinePrograms,
    pub(crate) kernel: KernelSource,
    /// At the end of the kernel's command line.
    pub(crate) kernel_words: String,
    /// Firecracker's, to be fetched; its programs are among those above already.
    pub(crate) release: Option<ReleaseSource>,
    /// Whether the release that is known to work may be fetched where none is configured or installed.
    pub(crate) fetches_unasked: bool,
    pub(crate) limits: IoLimits,
    pub(crate) snapshots: bool,
}

/// Where a release of Firecracker is put.
pub(crate) fn releases_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("firecracker")
}

impl MachinesConfig {
    /// Takes that release and its programs.
    pub(crate) fn take_release(&mut self, release: ReleaseSource, data_dir: &Path) {
        let program = |name| Some(releases_dir(data_dir).join(&release.version).join(name));
        (self.programs.firecracker, self.programs.jailer) = (program("firecracker"), program("jailer"));
        self.release = Some(release);
    }
}

pub(super) fn machines_config(table: &SandboxTable, data_dir: &Path) -> Result<MachinesConfig, Failure> {
    let file = |key: &str, path: &Option<PathBuf>| match path.as_ref().filter(|path| !path.is_file()) {
        None => Ok(path.clone()),
        Some(path) => Err(Failure::usage(format!("`sandbox.{key}`: there is no file `{}`", path.display()))),
    };
    let kernel = match (file("kernel", &table.kernel)?, &table.kernel_modules) {
        (None, None) => KernelSource::Debian,
        (Some(kernel), modules) => KernelSource::Files { kernel, modules: modules.clone() },
        (None, Some(_)) => {
            return Err(Failure::usage("`sandbox.kernel_modules` goes with `sandbox.kernel` only")
                .hint("the modules are the directory below `/lib/modules` that belongs to that kernel"));
        }
    };
    if let Some(modules) = table.kernel_modules.as_ref().filter(|modules| !modules.is_dir()) {
        return Err(Failure::usage(format!("`sandbox.kernel_modules`: there is no directory `{}`", modules.display())));
    }
    let mut machines = MachinesConfig {
        programs: MachinePrograms {
            firecracker: file("firecracker", &table.firecracker)?,
            jailer: file("jailer", &table.jailer)?,
            qemu: file("qemu", &table.qemu)?,
            vhost_device_vsock: file("vhost_device_vsock", &table.vhost_device_vsock)?,
        },
        kernel,
        kernel_words: table.kernel_words.clone().unwrap_or_default(),
        limits: limits(&table.io)?,
        snapshots: table.snapshots,
        release: None,
        fetches_unasked: table.firecracker_release.is_none(),
    };
    if let Some(release) = release(table)? {
        machines.take_release(release, data_dir);
    }
    Ok(machines)
}

fn release(table: &SandboxTable) -> Result<Option<ReleaseSource>, Failure> {
    let release = match &table.firecracker_release {
        None | Some(ReleaseSetting::IsFetched(false)) => return Ok(None),
        Some(ReleaseSetting::IsFetched(true)) => {
            return Err(Failure::usage("`sandbox.firecracker_release = true` does not say which")
                .hint("leave it out: where it is of use, the release that is known to work is fetched"));
        }
        Some(ReleaseSetting::Of(release)) => release,
    };
    if table.firecracker.is_some() || table.jailer.is_some() {
        return Err(Failure::usage(
            "`sandbox.firecracker_release` does not go with `sandbox.firecracker` or `sandbox.jailer`",
        ));
    }
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    if !plain(&release.version) || release.version.starts_with('.') {
        return Err(
            Failure::usage("`sandbox.firecracker_release.version` is no version").hint("write it like `1.12.1`")
        );
    }
    const WHERE: &str = "Firecracker's project publishes it beside the archive, as `…tgz.sha256.txt`";
    let known = ReleaseSource::known(&release.version).map(|known| known.sha256);
    let Some(sha256) = release.sha256.clone().or(known) else {
        let lacking = format!("`sandbox.firecracker_release` needs the `sha256` of Firecracker {}", release.version);
        return Err(Failure::usage(lacking).hint(WHERE));
    };
    if sha256.len() != SHA256_CHARS || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage("`sandbox.firecracker_release.sha256` is no SHA-256").hint(WHERE));
    }
    let url = release.url.clone().unwrap_or_else(|| RELEASE_URL.to_owned());
    Ok(Some(ReleaseSource { url, version: release.version.clone(), sha256 }))
}

fn limits(table: &IoTable) -> Result<IoLimits, Failure> {
    let limits = IoLimits {
        disk_bytes_per_second: table.disk_bytes_per_second.map(|bytes| bytes.0),
        disk_operations_per_second: table.disk_operations_per_second,
        network_bytes_per_second: table.network_bytes_per_second.map(|bytes| bytes.0),
        network_packets_per_second: table.network_packets_per_second,
    };
    let all = [
        limits.disk_bytes_per_second,
        limits.disk_operations_per_second,
        limits.network_bytes_per_second,
        limits.network_packets_per_second,
    ];
    match all.contains(&Some(0)) {
        true => Err(Failure::usage("a limit in `sandbox.io` is zero").hint("leave it out for no limit")),
        false => Ok(limits),
    }
}
