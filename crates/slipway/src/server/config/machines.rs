//! `[sandbox]`, as far as it is about virtual machines: programs and the guest's kernel.

use super::file::SandboxTable;
use crate::failure::Failure;
use slipway_sandbox::MachinePrograms;
use slipway_sandbox::guest::KernelSource;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub(crate) struct MachinesConfig {
    pub(crate) programs: MachinePrograms,
    pub(crate) kernel: KernelSource,
    /// At the end of the kernel's command line.
    pub(crate) kernel_words: String,
}

pub(super) fn machines_config(table: &SandboxTable) -> Result<MachinesConfig, Failure> {
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
    Ok(MachinesConfig {
        programs: MachinePrograms {
            firecracker: file("firecracker", &table.firecracker)?,
            jailer: file("jailer", &table.jailer)?,
            qemu: file("qemu", &table.qemu)?,
            vhost_device_vsock: file("vhost_device_vsock", &table.vhost_device_vsock)?,
        },
        kernel,
        kernel_words: table.kernel_words.clone().unwrap_or_default(),
    })
}
