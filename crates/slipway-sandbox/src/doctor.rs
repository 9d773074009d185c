//! Whether this machine can run sandboxes, and what to do where it cannot.

use crate::config::{DriverConfig, MachinePrograms, SandboxConfig};
use crate::driver::firecracker::programs as firecracker;
use crate::driver::{cgroup, kvm, qemu};
use crate::error::SandboxError;
use crate::program;
use crate::sandboxes::find_runtime;
use std::path::Path;
use std::process::Command;

/// One answer of [`probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do; empty when it is fine.
    pub hint: &'static str,
}

/// Looks at everything that a sandbox needs. Changes nothing. Blocking.
pub fn probe(config: &SandboxConfig) -> Vec<Check> {
    vec![
        root(),
        runtime(config),
        controllers(),
        file_system("overlay", "overlayfs"),
        loop_devices(),
        installed("mkfs.ext4", "image tool", "install the package `e2fsprogs`"),
        installed("ip", "network tool", "install the package `iproute2`"),
        firewall(),
        forwarding(),
        programs(config),
    ]
}

/// What each driver would be on this machine, the strongest first. `ok`: it has all it needs, and the processor's help where it is a
/// virtual machine. Changes nothing. Blocking.
pub fn drivers(config: &SandboxConfig, programs: &MachinePrograms) -> Vec<Check> {
    let mut drivers = machine_drivers(programs);
    drivers.push(oci_driver(config));
    drivers
}

/// Whether Firecracker would be of use here but is neither named nor installed: then its release is worth fetching. On a host that
/// virtualises by software only where the driver was asked for by name: `auto` takes it on no such host. Blocking.
pub fn lacks_firecracker(programs: &MachinePrograms, is_asked_for: bool) -> bool {
    let named = programs.firecracker.is_some() || programs.jailer.is_some();
    let installed = ["firecracker", "jailer"].into_iter().any(|name| program::find(name).is_some());
    !named && !installed && kvm::trouble().is_none() && (is_asked_for || !kvm::is_pvm())
}

/// The same of virtual machines alone.
pub fn machine_drivers(programs: &MachinePrograms) -> Vec<Check> {
    vec![firecracker_driver(programs), qemu_driver(programs)]
}

const KVM_HINT: &str = "use a machine with hardware virtualisation, or another driver";
const PVM_HINT: &str = "give a kernel that is made for such a host (`kernel`, `kernel_words`) and ask for the driver by name, or use another";

fn firecracker_driver(programs: &MachinePrograms) -> Check {
    let name = "driver firecracker";
    match firecracker::find_both(programs.firecracker.as_deref(), programs.jailer.as_deref()) {
        Ok((program, _, version)) => {
            let found = format!("Firecracker {version} at {}", program.display());
            // The device alone does not tell.
            match kvm::is_pvm() {
                false => check(name, true, format!("{found}: a kernel of its own for each sandbox"), ""),
                true => check(name, false, format!("{found}, but the host virtualises by software (PVM)"), PVM_HINT),
            }
        }
        Err(error @ SandboxError::NoKvm { .. }) => check(name, false, error.to_string(), KVM_HINT),
        Err(error @ SandboxError::Version { .. }) => {
            check(name, false, error.to_string(), "install `firecracker` and `jailer` of one release that is supported")
        }
        Err(error) => check(
            name,
            false,
            error.to_string(),
            "`slipway server` fetches it at its start; or install `firecracker` and `jailer` of one release in PATH",
        ),
    }
}

fn qemu_driver(programs: &MachinePrograms) -> Check {
    let name = "driver qemu";
    match qemu::find(programs.qemu.as_deref(), programs.vhost_device_vsock.as_deref()) {
        Ok((program, _)) => match qemu::kvm_trouble() {
            None => {
                check(name, true, format!("{} with KVM: a kernel of its own for each sandbox", program.display()), "")
            }
            Some(why) => {
                let detail = format!("{} without KVM ({why}): about ten times slower", program.display());
                check(name, false, detail, "`auto` passes it over; `--driver qemu` takes it all the same")
            }
        },
        Err(error) => {
            let hint = "it needs the package `qemu-system-x86`, and `vhost-device-vsock` in PATH";
            check(name, false, error.to_string(), hint)
        }
    }
}

fn oci_driver(config: &SandboxConfig) -> Check {
    let runtime = runtime(&SandboxConfig { driver: DriverConfig::Oci, ..config.clone() });
    let detail = format!("{}: sandboxes share this machine's kernel", runtime.detail);
    check("driver oci", runtime.ok, detail, runtime.hint)
}

fn check(name: &'static str, ok: bool, detail: impl Into<String>, hint: &'static str) -> Check {
    Check { name, ok, detail: detail.into(), hint: if ok { "" } else { hint } }
}

fn root() -> Check {
    let uid = rustix::process::geteuid().as_raw();
    check("root", uid == 0, format!("runs as user {uid}"), "start `slipway server` as root")
}

fn runtime(config: &SandboxConfig) -> Check {
    let hint = "install the package `runc` (or `crun`)";
    if !matches!(config.driver, DriverConfig::Oci) {
        return check("container runtime", true, "not needed by the chosen driver", hint);
    }
    let Some(program) = find_runtime(config.runtime) else {
        return check("container runtime", false, "neither `runc` nor `crun` was found", hint);
    };
    match program::run(Command::new(&program).arg("--version"), "") {
        Ok(text) => {
            let version = text.lines().next().unwrap_or_default();
            check("container runtime", true, format!("{version} at {}", program.display()), "")
        }
        Err(error) => check("container runtime", false, error.to_string(), hint),
    }
}

fn controllers() -> Check {
    let found = cgroup::controllers();
    let missing: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|name| !found.iter().any(|have| have == name)).collect();
    let detail = match missing.is_empty() {
        true => "cpu, memory and pids can be limited".to_owned(),
        false => format!("missing: {}", missing.join(", ")),
    };
    check("cgroup controllers", missing.is_empty(), detail, "boot with `cgroup_enable=memory` or mount the cgroup tree")
}

fn file_system(kernel_name: &str, name: &'static str) -> Check {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let there = known.lines().any(|line| line.split_ascii_whitespace().next_back() == Some(kernel_name));
    // A module is loaded when it is first mounted.
    let module = !there && module_exists(kernel_name);
    let detail = if there { "in the kernel" } else { if module { "a module of the kernel" } else { "unknown" } };
    check(name, there || module, detail, "use a kernel with overlayfs")
}

fn module_exists(name: &str) -> bool {
    program::run(Command::new("modinfo").arg(name), "").is_ok()
}

fn loop_devices() -> Check {
    let ok = Path::new("/dev/loop-control").exists();
    let detail = if ok { "/dev/loop-control is there" } else { "there is no /dev/loop-control" };
    check("loop devices", ok, detail, "load the kernel module `loop`")
}

fn installed(tool: &'static str, name: &'static str, hint: &'static str) -> Check {
    match program::find(tool) {
        Some(path) => check(name, true, path.display().to_string(), ""),
        None => check(name, false, format!("`{tool}` was not found"), hint),
    }
}

fn firewall() -> Check {
    let hint = "install the package `nftables`; the kernel needs `nf_tables` and `nft_masq`";
    let script = "table inet slipway_probe { chain c { type nat hook postrouting priority srcnat; masquerade; }; }";
    match program::run(Command::new("nft").args(["--check", "-f", "-"]), script) {
        Ok(_) => check("firewall", true, "nftables works", ""),
        Err(error) => check("firewall", false, error.to_string(), hint),
    }
}

/// The server turns forwarding on; another firewall may still drop what is forwarded.
fn forwarding() -> Check {
    let hint = "accept forwarded packets from devices `slp*`, for example `iptables -I FORWARD -i 'slp+' -j ACCEPT`";
    let rules = program::run(Command::new("nft").args(["list", "chains"]), "").unwrap_or_default();
    let lines: Vec<&str> = rules.lines().map(str::trim).collect();
    let dropped = lines.iter().any(|line| line.contains("hook forward") && line.ends_with("policy drop;"));
    let detail = if dropped { "another firewall drops forwarded packets by default" } else { "nothing else drops" };
    check("forwarding", !dropped, detail, hint)
}

fn programs(config: &SandboxConfig) -> Check {
    let missing = [&config.shim_program, &config.agent_program].into_iter().find(|file| !file.is_file());
    let detail = match missing {
        Some(file) => format!("`{}` is missing", file.display()),
        None => "shim and agent are there".to_owned(),
    };
    check("own programs", missing.is_none(), detail, "install `slipway` and `slipway-agent` again")
}
