//! The QEMU driver: a machine of QEMU's smallest type, with a kernel of its own, by the processor's virtualisation or by
//! translation. Its vsock device is a process of its own, `vhost-device-vsock`.

mod arguments;
mod counter;
mod monitor;

use super::console::Console;
use super::machine::Disk;
use super::vmm::{Confinement, Process, uid_of};
use super::{Driver, DriverError, Guest, Setup, cgroup, kvm, machine, tap, vsock};
use crate::config::{Acceleration, QemuConfig};
use crate::error::SandboxError;
use crate::home::{BootSpec, Home, QemuPrograms, short_path};
use crate::program;
use crate::reap::settle_images;
use arguments::Parts;
use monitor::Monitor;
use rustix::fd::OwnedFd;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = if cfg!(target_arch = "aarch64") { "qemu-system-aarch64" } else { "qemu-system-x86_64" };
const VSOCK_DEVICE: &str = "vhost-device-vsock";
/// The device's control socket, which QEMU is connected to.
const CONTROL_SOCKET: &str = "device.sock";
/// Where the host dials the guest.
const DIAL_SOCKET: &str = "vsock.sock";
/// For the device to listen: a few milliseconds.
const DEVICE_TIME_MAX: Duration = Duration::from_secs(10);
const DEVICE_PAUSE: Duration = Duration::from_millis(1);
/// From the start of QEMU until the agent listens. Translation takes two to three seconds of an idle processor.
const BOOT_TIME_MAX: Duration = Duration::from_secs(60);
/// Of a translated machine.
const BOOT_ROUNDS_MAX: u32 = 3;
/// While it boots, whatever its limit: a machine that is held back measures its timer wrong. In each period of 100 ms.
const BOOT_CPU_QUOTA_US: u64 = 400_000;
const LISTEN_PAUSE: Duration = Duration::from_millis(5);
/// Of an agent that listens. It is at once.
const DIAL_TIME_MAX: Duration = Duration::from_secs(20);
/// For the machine to become what it is configured to be, without the processor's help and on a busy host.
const GREET_TIME_MAX: Duration = Duration::from_secs(30);
/// The guest writes back what its tasks wrote and unmounts.
const STOP_MARGIN: Duration = Duration::from_secs(15);
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// QEMU's own memory beside the guest's: code that was translated, buffers, the device's process.
const TCG_OVERHEAD_BYTES: u64 = 256 << 20;
const KVM_OVERHEAD_BYTES: u64 = 96 << 20;
/// Threads of QEMU: one for each processor, its disk workers, its loop; and the device's.
const VMM_THREADS_MAX: u64 = 256;

pub(crate) fn find_programs(config: &QemuConfig) -> Result<QemuPrograms, SandboxError> {
    let (qemu, vsock) = find(config.qemu_program.as_deref(), config.vsock_program.as_deref())?;
    for path in [&config.guest.kernel, &config.guest.initramfs] {
        if !path.is_file() {
            return Err(SandboxError::NoGuest { path: path.clone() });
        }
    }
    Ok(QemuPrograms { qemu, vsock, guest: config.guest.clone(), kvm: uses_kvm(config.acceleration)? })
}

/// QEMU and its vsock device, those given or those of `PATH`.
pub(crate) fn find(qemu: Option<&Path>, vsock: Option<&Path>) -> Result<(PathBuf, PathBuf), SandboxError> {
    let find = |given: Option<&Path>, program: &'static str, hint: &'static str| match given {
        Some(path) if path.is_file() => Ok(path.to_owned()),
        Some(path) => Err(SandboxError::NoProgram { program: path.to_owned() }),
        None => program::find(program).ok_or(SandboxError::NoMachineProgram { program, hint }),
    };
    let qemu = find(qemu, QEMU, "install the package `qemu-system-x86`")?;
    let vsock = find(vsock, VSOCK_DEVICE, "install it with `cargo install vhost-device-vsock`")?;
    Ok((qemu, vsock))
}

fn uses_kvm(wanted: Acceleration) -> Result<bool, SandboxError> {
    match wanted {
        Acceleration::Tcg => Ok(false),
        Acceleration::Auto => Ok(kvm_trouble().is_none()),
        Acceleration::Kvm => kvm_trouble().map_or(Ok(true), |why| Err(SandboxError::NoKvm { why })),
    }
}

/// Why the processor's virtualisation is not there for us.
pub(crate) fn kvm_trouble() -> Option<String> {
    kvm::trouble().or_else(|| kvm::is_pvm().then(|| "it runs only kernels that are made for it (PVM)".to_owned()))
}

#[derive(Debug)]
pub(crate) struct Qemu {
    programs: QemuPrograms,
}

impl Qemu {
    pub(crate) fn new(programs: QemuPrograms) -> Self {
        Self { programs }
    }
}

#[derive(Debug)]
struct Running {
    boot: BootSpec,
    kvm: bool,
    qemu: Process,
    device: Process,
    console: Console,
    stream: UnixStream,
    /// Place of the writable image among the disks.
    writable_place: usize,
    /// Of a blank.
    monitor: Option<Monitor>,
}

impl Driver for Qemu {
    fn launch(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        let disks = || machine::open_disks(boot);
        machine::launch(boot, &self.limits(boot), |cgroup| self.start(home, boot, cgroup, disks()?))
    }

    fn launch_blank(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        let failed = |error: std::io::Error| DriverError::because("cannot make an empty disk", &error);
        let disks = || -> Result<Vec<Disk>, _> {
            (0..machine::PLACES).map(|place| monitor::placeholder(place < machine::LAYER_PLACES)).collect()
        };
        machine::launch(boot, &self.limits(boot), |cgroup| {
            let mut running = self.start(home, boot, cgroup, disks().map_err(failed)?)?;
            running.monitor.as_mut().map_or(Ok(()), Monitor::begin)?;
            Ok(running)
        })
    }
}

impl Qemu {
    fn limits(&self, boot: &BootSpec) -> cgroup::Limits {
        cgroup::Limits {
            memory_bytes: machine::memory_mib(boot) * (1 << 20) + self.overhead_bytes(),
            cpu_quota_us: BOOT_CPU_QUOTA_US,
            processes: VMM_THREADS_MAX,
        }
    }

    fn start(&self, home: &Home, boot: &BootSpec, cgroup: &[File], disks: Vec<Disk>) -> Result<Running, DriverError> {
        // A machine of the processor's own is told by the processor.
        let counter = (!self.programs.kvm).then(counter::Counter::begin);
        let tap = tap::open(&boot.slot)?;
        let extra_group = if self.programs.kvm { kvm_group() } else { None };
        let uid = uid_of(&boot.slot);
        let confinement = Confinement { uid: Some(uid), extra_group, slot: &boot.slot, cgroup };
        let counter_khz = counter.and_then(counter::Counter::khz);
        let ground = Ground { home, boot, confinement, uid, disks, tap, counter_khz };
        let mut round = 1;
        loop {
            match self.attempt(&ground) {
                // It is translation that goes wrong now and then.
                Err(Trouble { again: true, .. }) if !self.programs.kvm && round < BOOT_ROUNDS_MAX => round += 1,
                other => return other.map_err(|trouble| trouble.error),
            }
        }
    }

    fn attempt(&self, ground: &Ground<'_>) -> Result<Running, Trouble> {
        let Ground { home, boot, confinement, .. } = ground;
        let dir = home.machine_dir();
        let _ = std::fs::remove_dir_all(&dir);
        make_dir(&dir, ground.uid).map_err(|e| DriverError::because("cannot make the machine's directory", &e))?;
        let device = self.start_device(home, confinement)?;
        let control = connect_device(&dir, &device)?;
        let (console_pipe, qemu_end) = pipe()?;
        let console = Console::follow(console_pipe, &home.console_path())
            .map_err(|e| DriverError::because("cannot write the console's file", &e))?;
        let failed = |error: std::io::Error| DriverError::because("cannot share a descriptor", &error);
        let monitor = boot.blank.then(Monitor::pair).transpose().map_err(failed)?;
        let (monitor, monitor_end) = monitor.unzip();
        let parts = Parts {
            kernel: open(&self.programs.guest.kernel)?,
            initramfs: open(&self.programs.guest.initramfs)?,
            disks: ground.disks.iter().map(Disk::try_clone).collect::<Result<_, _>>().map_err(failed)?,
            tap: ground.tap.try_clone().map_err(failed)?,
            control: control.into(),
            monitor: monitor_end,
            memory_mib: machine::memory_mib(boot),
            processors: machine::processors(&boot.spec.limits),
            slot: &boot.slot,
            kvm: self.programs.kvm,
            counter_khz: ground.counter_khz,
        };
        let mut command = Command::new(&self.programs.qemu);
        command.args(parts.arguments()).current_dir(&dir).env_clear().stdin(Stdio::null());
        let error_end = qemu_end.try_clone().map_err(failed)?;
        command.stdout(qemu_end).stderr(error_end);
        let qemu = Process::start(command, confinement, &parts.descriptors())?;
        match dial(&dir, &qemu, &console) {
            Ok(stream) => {
                let (boot, kvm) = ((*boot).clone(), self.programs.kvm);
                let writable_place = boot.spec.layers.len();
                Ok(Running { boot, kvm, qemu, device, console, stream, writable_place, monitor })
            }
            Err(trouble) => {
                for process in [&qemu, &device] {
                    process.kill();
                    process.wait(END_TIME_MAX);
                }
                let words = console.all_words(END_TIME_MAX).unwrap_or_else(|| "nothing".to_owned());
                let error = DriverError::new(format!("{}; its console ends with: {words}", trouble.error));
                Err(Trouble { error, ..trouble })
            }
        }
    }

    fn overhead_bytes(&self) -> u64 {
        if self.programs.kvm { KVM_OVERHEAD_BYTES } else { TCG_OVERHEAD_BYTES }
    }

    fn start_device(&self, home: &Home, confinement: &Confinement<'_>) -> Result<Process, DriverError> {
        let failed = |error: std::io::Error| DriverError::because("cannot write the sandbox's log", &error);
        let log = File::options().append(true).create(true).open(home.log_path()).map_err(failed)?;
        let mut command = Command::new(&self.programs.vsock);
        command.args(["--guest-cid", "3", "--socket", CONTROL_SOCKET, "--uds-path", DIAL_SOCKET]);
        command.current_dir(home.machine_dir()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        Process::start(command, confinement, &[])
    }
}

impl Guest for Running {
    fn attach(&mut self, _home: &Home, boot: &BootSpec) -> Result<(), DriverError> {
        // Closed when it is done.
        let monitor = self.monitor.take();
        let mut monitor = monitor.ok_or_else(|| DriverError::new("the machine is no blank"))?;
        self.boot = boot.clone();
        self.writable_place = machine::WRITABLE_PLACE;
        monitor.change(&machine::placed(boot, machine::open_disks(boot)?)?)?;
        machine::limit_cpu(boot)
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    fn setup(&self) -> Result<Setup, DriverError> {
        machine::setup_at(&self.boot, self.writable_place, Vec::new())
    }

    fn last_words(&self) -> Option<String> {
        self.console.last_words()
    }

    fn stop_margin(&self) -> Duration {
        if self.boot.spec.writable.keep { machine::TIDY_MARGIN } else { STOP_MARGIN }
    }

    fn greet_time_max(&self) -> Duration {
        GREET_TIME_MAX
    }

    fn is_moody(&self) -> bool {
        !self.kvm
    }

    fn pid(&self) -> i32 {
        self.qemu.pid()
    }

    fn wait(&self, bound: Duration) -> bool {
        self.qemu.wait(bound)
    }

    fn kill(&self) {
        self.qemu.kill();
    }

    fn out_of_memory_kills(&self) -> u64 {
        0
    }

    fn disk_full(&self) -> bool {
        false
    }

    fn clean_up(&self) -> Result<(), DriverError> {
        let failed = |error: SandboxError| DriverError::because("cannot clean up", &error);
        self.device.kill();
        self.device.wait(END_TIME_MAX);
        cgroup::remove(&self.boot.cgroup).map_err(failed)?;
        settle_images(&self.boot).map_err(failed)?;
        machine::check_whole(&self.boot, &self.console)
    }
}

/// Not before the agent says that it listens: the device hung in 2 of 8 boots of a busy host when it was dialled before the guest's
/// driver was there.
fn dial(dir: &Path, qemu: &Process, console: &Console) -> Result<UnixStream, Trouble> {
    let deadline = Instant::now() + BOOT_TIME_MAX;
    while !console.agent_listens() {
        if qemu.wait(LISTEN_PAUSE) {
            let error = DriverError::new("the virtual machine ended before its agent was ready");
            // What it said of its timer may still be on its way.
            console.all_words(END_TIME_MAX);
            return Err(Trouble { error, again: console.timer_is_wrong() });
        }
        if Instant::now() >= deadline {
            let error = DriverError::new(format!("the agent did not listen within {} s", BOOT_TIME_MAX.as_secs()));
            return Err(Trouble { error, again: true });
        }
    }
    Ok(vsock::dial(dir, DIAL_SOCKET, DIAL_TIME_MAX, |bound| qemu.wait(bound))?)
}

/// A boot that failed, and whether another one may go better: a translated machine measures its own timer while the host takes the
/// processor away from it now and then, and one that measured wrong hangs, or says so.
struct Trouble {
    error: DriverError,
    again: bool,
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        Self { error, again: false }
    }
}

/// What every attempt stands on.
struct Ground<'a> {
    home: &'a Home,
    boot: &'a BootSpec,
    confinement: Confinement<'a>,
    uid: u32,
    disks: Vec<Disk>,
    tap: OwnedFd,
    counter_khz: Option<u64>,
}

/// The group that may open the device, where there is one.
fn kvm_group() -> Option<u32> {
    std::fs::metadata(kvm::KVM).ok().map(|metadata| metadata.gid()).filter(|gid| *gid != 0)
}

fn make_dir(dir: &Path, uid: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::os::unix::fs::chown(dir, Some(uid), Some(uid))?;
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

fn open(path: &Path) -> Result<rustix::fd::OwnedFd, DriverError> {
    let file = File::open(path);
    Ok(file.map_err(|e| DriverError::because(format!("cannot open `{}`", path.display()), &e))?.into())
}

fn pipe() -> Result<(std::io::PipeReader, std::io::PipeWriter), DriverError> {
    std::io::pipe().map_err(|e| DriverError::because("cannot make a pipe", &e))
}

/// The first connection is the machine's: this one is handed to QEMU.
fn connect_device(dir: &Path, device: &Process) -> Result<UnixStream, DriverError> {
    let deadline = Instant::now() + DEVICE_TIME_MAX;
    loop {
        let connected = short_path(dir, CONTROL_SOCKET).and_then(|(_dir, path)| UnixStream::connect(path));
        match connected {
            Ok(stream) => return Ok(stream),
            Err(_) if device.wait(DEVICE_PAUSE) => {
                return Err(DriverError::new(format!("`{VSOCK_DEVICE}` ended at once")));
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(DriverError::because(format!("`{VSOCK_DEVICE}` does not listen"), &error));
            }
            Err(_) => {}
        }
    }
}
