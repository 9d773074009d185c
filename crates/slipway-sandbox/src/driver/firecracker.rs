//! The Firecracker driver: a machine with its own kernel, run by the processor's virtualisation (KVM), always behind
//! Firecracker's jailer.
//!
//! The VMM is a user of its own in a root of its own (see [`jail`]), in the sandbox's cgroup, which the shim makes and enters before
//! the jailer does anything (the jailer knows cgroups of one version only), in the slot's network namespace, under
//! Firecracker's own system call filters.
//!
//! A machine has no serial console: a guest could keep the host busy with it. One that does not come up is booted a second time
//! with a console, which says why; if it comes up then, it is used.

mod api;
mod body;
mod jail;
pub(crate) mod programs;
pub(crate) mod release;
mod snapshot;

use super::console::Console;
use super::idmap::Access;
use super::machine::Image;
use super::vmm::{Confinement, Process, uid_of};
use super::{Driver, DriverError, Guest, Setup, cgroup, kvm, machine, tap, vsock};
use crate::error::SandboxError;
use crate::home::{BootSpec, FirecrackerPrograms, Home};
use crate::reap::settle_images;
use api::Api;
#[cfg(any(test, fuzzing))]
pub(crate) use api::answers;
use body::{Speech, VSOCK_SOCKET};
use jail::Jail;
pub(crate) use programs::find_programs;
use serde_json::json;
use slipway_types::agent::DeviceSize;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

/// The guest writes back what its tasks wrote and unmounts.
const STOP_MARGIN: Duration = Duration::from_secs(15);
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// Firecracker itself, its copy in memory, and the kernel's tables for the guest's memory.
const OVERHEAD_BYTES: u64 = 64 << 20;
/// While it boots, whatever its limit: that work is not the sandbox's. In each period of 100 ms.
const BOOT_CPU_QUOTA_US: u64 = 200_000;
/// One for each processor, and its own.
const VMM_THREADS_MAX: u64 = 64;
/// A disk that stands for nothing.
const PLACEHOLDER_BYTES: u64 = 4096;
/// What the machine has interrupts for, beside network, vsock and entropy.
const DISKS_MAX: usize = 14;

#[derive(Debug)]
pub(crate) struct Firecracker {
    programs: FirecrackerPrograms,
}

impl Firecracker {
    pub(crate) fn new(programs: FirecrackerPrograms) -> Self {
        Self { programs }
    }
}

/// A VMM that runs, and all that belongs to it on the host.
#[derive(Debug)]
struct Vm {
    vmm: Process,
    jail: Jail,
    console: Console,
}

#[derive(Debug)]
struct Running {
    boot: BootSpec,
    vm: Vm,
    stream: UnixStream,
    memory_kills: cgroup::MemoryKills,
    /// Place of the writable image among the disks.
    writable_place: usize,
    /// Of a machine that was restored: it learns of them a moment later.
    devices: Vec<DeviceSize>,
    greet_time_max: Duration,
}

/// What every start of a machine for one sandbox needs.
struct Ground<'a> {
    programs: &'a FirecrackerPrograms,
    home: &'a Home,
    boot: &'a BootSpec,
    images: Vec<Image>,
    cgroup: &'a [File],
}

impl Driver for Firecracker {
    fn launch(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        machine::launch(boot, &limits(boot), |cgroup| self.start(home, boot, cgroup))
    }

    fn launch_blank(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        machine::launch(boot, &limits(boot), |cgroup| {
            tap::leave_for(&boot.slot, uid_of(&boot.slot))?;
            let ground = Ground { programs: &self.programs, home, boot, images: Vec::new(), cgroup };
            match snapshot::restore(&ground) {
                Some(running) => Ok(running),
                None => {
                    let (vm, stream) = ground.boot_empty(|_| Ok(()))?;
                    Ok(ground.running(vm, stream, machine::WRITABLE_PLACE))
                }
            }
        })
    }
}

fn limits(boot: &BootSpec) -> cgroup::Limits {
    cgroup::Limits {
        memory_bytes: machine::memory_mib(boot) * (1 << 20) + OVERHEAD_BYTES,
        cpu_quota_us: cgroup::cpu_quota_us(&boot.spec.limits).max(BOOT_CPU_QUOTA_US),
        processes: VMM_THREADS_MAX,
    }
}

/// Makes the machine ask for the disks in these places again: what their names stand for is another file now.
fn take_images(api: &mut Api, places: impl Iterator<Item = usize>) -> Result<(), DriverError> {
    places.map(body::disk).try_for_each(|name| {
        api.patch(&format!("/drives/{name}"), &json!({ "drive_id": name, "path_on_host": format!("/{name}") }))
    })
}

impl Firecracker {
    fn start(&self, home: &Home, boot: &BootSpec, cgroup: &[File]) -> Result<Running, DriverError> {
        let images = machine::ensure_images(boot)?;
        if images.len() > DISKS_MAX {
            return Err(DriverError::new(format!("{} disks are too many, at most {DISKS_MAX}", images.len())));
        }
        tap::leave_for(&boot.slot, uid_of(&boot.slot))?;
        let ground = Ground { programs: &self.programs, home, boot, images, cgroup };
        match snapshot::restore(&ground) {
            Some(running) => Ok(running),
            None => self.boot(&ground),
        }
    }

    fn boot(&self, ground: &Ground<'_>) -> Result<Running, DriverError> {
        let (vm, stream) = match ground.boot_cold(Speech::Silent) {
            Ok(booted) => booted,
            Err(error) => {
                tracing::warn!(%error, "a virtual machine did not boot, trying once more with a console");
                ground.boot_cold(Speech::Talking)?
            }
        };
        Ok(ground.running(vm, stream, ground.boot.spec.layers.len()))
    }
}

impl Ground<'_> {
    fn boot_cold(&self, speech: Speech) -> Result<(Vm, UnixStream), DriverError> {
        let vm = self.start_vmm(|jail| {
            self.show_guest(jail)?;
            let mut images = self.images.iter().enumerate();
            images.try_for_each(|(place, image)| jail.show(&image.path, &body::disk(place), access(image.read_only)))
        })?;
        let disks: Vec<bool> = self.images.iter().map(|image| image.read_only).collect();
        self.run(&vm, &disks, speech)?;
        let stream = vm.dial(self.programs.boot_time_max)?;
        Ok((vm, stream))
    }

    /// With a disk in every place that stands for nothing. It meets no sandbox's files.
    fn boot_empty(
        &self,
        furnish: impl FnOnce(&Jail) -> Result<(), DriverError>,
    ) -> Result<(Vm, UnixStream), DriverError> {
        let vm = self.start_vmm(|jail| {
            self.show_guest(jail)?;
            (0..machine::PLACES).try_for_each(|place| jail.placeholder(&body::disk(place), PLACEHOLDER_BYTES))?;
            furnish(jail)
        })?;
        let disks: Vec<bool> = (0..machine::PLACES).map(|place| place < machine::LAYER_PLACES).collect();
        self.run(&vm, &disks, Speech::Silent)?;
        let stream = vm.dial(self.programs.boot_time_max)?;
        Ok((vm, stream))
    }

    /// Gives the machine its kernel and devices, and starts it.
    fn run(&self, vm: &Vm, disks: &[bool], speech: Speech) -> Result<(), DriverError> {
        let size = (machine::memory_mib(self.boot), machine::processors(&self.boot.spec.limits));
        let mut api = vm.api()?;
        for (path, body) in body::boot(self.programs, &self.boot.slot, size, disks, speech) {
            api.put(&path, &body).map_err(|error| vm.explain(error))?;
        }
        api.put("/actions", &json!({ "action_type": "InstanceStart" })).map_err(|error| vm.explain(error))
    }

    fn show_guest(&self, jail: &Jail) -> Result<(), DriverError> {
        jail.show(&self.programs.guest.kernel, "kernel", Access::ReadOnly)?;
        jail.show(&self.programs.guest.initramfs, "initramfs", Access::ReadOnly)
    }

    /// `furnish` puts into the jail what the machine is to see. Afterwards it is closed: the jailer takes the mounts with it that are
    /// there when it starts.
    fn start_vmm(&self, furnish: impl FnOnce(&Jail) -> Result<(), DriverError>) -> Result<Vm, DriverError> {
        let Ground { programs, home, boot, .. } = self;
        let uid = uid_of(&boot.slot);
        let jail = Jail::make(&home.machine_dir(), &programs.firecracker, uid)?;
        furnish(&jail)?;
        let failed = |error: std::io::Error| DriverError::because("cannot write the console's file", &error);
        let (console_end, vmm_end) = std::io::pipe().map_err(failed)?;
        let console = Console::follow(console_end, &home.console_path()).map_err(failed)?;
        let mut command = jail.command(&programs.jailer, &programs.firecracker, &boot.slot);
        command.stdin(Stdio::null()).stdout(vmm_end.try_clone().map_err(failed)?).stderr(vmm_end);
        let confinement = Confinement { uid: None, extra_group: None, slot: &boot.slot, cgroup: self.cgroup };
        let vmm = Process::start(command, &confinement, &[])?;
        Ok(Vm { vmm, jail, console })
    }

    fn running(&self, vm: Vm, stream: UnixStream, writable_place: usize) -> Running {
        let memory_kills = cgroup::MemoryKills::of(vm.vmm.pid());
        let greet_time_max = self.programs.boot_time_max;
        let (boot, devices) = (self.boot.clone(), Vec::new());
        Running { boot, vm, stream, memory_kills, writable_place, devices, greet_time_max }
    }
}

impl Vm {
    fn api(&self) -> Result<Api, DriverError> {
        Api::connect(self.jail.root(), jail::API_SOCKET, &self.vmm).map_err(|error| self.explain(error))
    }

    fn dial(&self, bound: Duration) -> Result<UnixStream, DriverError> {
        let dialled = vsock::dial(self.jail.root(), VSOCK_SOCKET, bound, |pause| self.vmm.wait(pause));
        dialled.map_err(|error| self.explain(error))
    }

    /// Adds what only the VMM knows. It is ended first, so that all that it had to say is there.
    fn explain(&self, error: DriverError) -> DriverError {
        let ended_by_itself = self.vmm.wait(Duration::ZERO);
        self.end();
        let words = self.console.all_words(END_TIME_MAX).unwrap_or_else(|| "nothing".to_owned());
        // A kernel that is not made for such a host stops it, or runs in circles before its first word.
        let unsuitable = kvm::is_pvm() && (ended_by_itself || !has_kernel_lines(&words));
        let hint = if unsuitable { format!("; {}", kvm::PVM_HINT) } else { String::new() };
        DriverError::new(format!("{error}; its console ends with: {words}{hint}"))
    }

    fn end(&self) {
        self.vmm.kill();
        self.vmm.wait(END_TIME_MAX);
    }
}

/// A machine that is not wanted any more leaves nothing.
impl Drop for Vm {
    fn drop(&mut self) {
        self.end();
        self.jail.remove();
    }
}

/// Lines with a kernel's time before them, among those of the VMM's own log.
fn has_kernel_lines(words: &str) -> bool {
    let time = |line: &str| Some(line.strip_prefix('[')?.split_once(']')?.0.trim().parse::<f64>().is_ok());
    words.split(" | ").any(|line| time(line) == Some(true))
}

fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::ReadWrite }
}

impl Guest for Running {
    fn attach(&mut self, home: &Home, boot: &BootSpec) -> Result<(), DriverError> {
        self.boot = boot.clone();
        self.vm.jail.moved(&home.machine_dir());
        let places = machine::placed(boot, machine::ensure_images(boot)?)?;
        let shown = places.iter().map(|(place, image)| (&*image.path, body::disk(*place), access(image.read_only)));
        self.vm.jail.show_inside(self.vm.vmm.pid(), &shown.collect::<Vec<_>>())?;
        let taken = take_images(&mut self.vm.api()?, places.iter().map(|(place, _)| *place));
        taken.map_err(|error| self.vm.explain(error))?;
        self.devices = machine::sizes(&places)?;
        machine::limit_cpu(boot)
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    fn setup(&self) -> Result<Setup, DriverError> {
        machine::setup_at(&self.boot, self.writable_place, self.devices.clone())
    }

    fn last_words(&self) -> Option<String> {
        self.vm.console.last_words()
    }

    /// Mounting, in a machine that may be as slow as its boot was.
    fn greet_time_max(&self) -> Duration {
        self.greet_time_max
    }

    fn stop_margin(&self) -> Duration {
        if self.boot.spec.writable.keep { machine::TIDY_MARGIN } else { STOP_MARGIN }
    }

    fn pid(&self) -> i32 {
        self.vm.vmm.pid()
    }

    fn wait(&self, bound: Duration) -> bool {
        self.vm.vmm.wait(bound)
    }

    fn kill(&self) {
        self.vm.vmm.kill();
    }

    fn out_of_memory_kills(&self) -> u64 {
        self.memory_kills.count()
    }

    fn disk_full(&self) -> bool {
        false
    }

    fn clean_up(&self) -> Result<(), DriverError> {
        let failed = |error: SandboxError| DriverError::because("cannot clean up", &error);
        self.vm.end();
        self.vm.jail.remove();
        cgroup::remove(&self.boot.cgroup).map_err(failed)?;
        settle_images(&self.boot).map_err(failed)?;
        machine::check_whole(&self.boot, &self.vm.console)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_lines_are_told_from_the_vmm_s() {
        let vmm = "2026-11-21T16:44:54.198 [vm:fc_vcpu 0] Received a VcpuEvent::Resume message";
        assert!(!has_kernel_lines(vmm) && !has_kernel_lines("nothing") && !has_kernel_lines(""));
        assert!(has_kernel_lines(&format!("{vmm} | [   45.654167] Unpacking initramfs...")));
    }
}
