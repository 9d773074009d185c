//! A server's view of one machine for one test: directories, programs, a base image, and short ways to run commands.

use futures_util::FutureExt;
use slipway_layers::image;
use slipway_sandbox::{
    Cidr, DriverConfig, Events, NetworkConfig, Runtime, Sandbox, SandboxConfig, SandboxEvent, SandboxSpec, Sandboxes,
    WarmConfig, WritableSpec,
};
use slipway_types::agent::TaskSpec;
use slipway_types::host::ExitFacts;
use slipway_types::settings::{ByteSize, ResourceLimits};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// For anything that a test waits for: what the slowest guest needs, one whose kernel is emulated beside other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Programs of the base image, with the libraries that they name.
const PROGRAMS: [&str; 17] = [
    "/bin/sh",
    "/bin/cat",
    "/bin/ls",
    "/bin/sleep",
    "/bin/dd",
    "/usr/bin/id",
    "/bin/mkdir",
    "/bin/rm",
    "/bin/ln",
    "/usr/bin/perl",
    "/usr/bin/head",
    "/usr/bin/env",
    "/bin/mount",
    "/bin/uname",
    "/usr/bin/unshare",
    "/usr/bin/getent",
    "/usr/bin/fallocate",
];

pub(crate) struct Machine {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) config: SandboxConfig,
    pub(crate) dir: Scratch,
}

/// The test's data directory. A test that fails leaves sandboxes behind: they end with it.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.path().join("sandboxes")).into_iter().flatten().flatten() {
            let state = std::fs::read(entry.path().join("state.json")).unwrap_or_default();
            let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
            for pid in ["shim", "init"].map(|who| state[who]["pid"].as_i64()).into_iter().flatten() {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
        }
    }
}

/// What a task said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) facts: ExitFacts,
    pub(crate) disk_full: bool,
}

impl Machine {
    /// `number` is unique to the test: tests run at the same time, each with its own subnet.
    pub(crate) async fn open(number: u8, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        let programs = programs();
        let dir = Scratch(tempfile::Builder::new().prefix("slipway-sandbox-").tempdir_in(scratch()).unwrap());
        std::fs::create_dir_all(dir.path().join("sandboxes")).unwrap();
        let subnet = Cidr::from_parts(Ipv4Addr::new(10, 203, number, 0), 24);
        let mut config = SandboxConfig {
            sandboxes_dir: dir.path().join("sandboxes"),
            shim_program: programs.shim,
            agent_program: programs.agent,
            runtime: Runtime::Auto,
            driver: DriverConfig::Oci,
            network: NetworkConfig { subnet, ..NetworkConfig::default() },
            ca_bundle: None,
            warm: WarmConfig::OFF,
        };
        change(&mut config);
        let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
        Self { sandboxes, config, dir }
    }

    /// As a server that was killed and started again, and what happened in between. No handle of its sandboxes may be left.
    pub(crate) async fn restarted_after(self, meanwhile: impl AsyncFnOnce()) -> Self {
        let Self { sandboxes, config, dir } = self;
        // What a killed server was doing ends with it; this process lives on, so it is to do nothing more.
        sandboxes.prepared().await;
        drop(sandboxes);
        meanwhile().await;
        let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
        Self { sandboxes, config, dir }
    }

    pub(crate) fn spec(&self, id: &str) -> SandboxSpec {
        spec_in(self.dir.path(), id)
    }

    pub(crate) async fn boot(&self, id: &str) -> Sandbox {
        self.sandboxes.boot(self.spec(id)).await.unwrap()
    }

    /// Until one of the usual size stands ready: the first of its size is a miss, where sizes count.
    pub(crate) async fn warm_up(&self) {
        self.boot("warm-up").await.stop(Duration::ZERO).await.unwrap();
        self.sandboxes.prepared().await;
        assert!(!blanks(&self.config).is_empty(), "nothing stands ready");
    }

    /// Stops what runs and removes what stands ready; then nothing of this machine is left.
    pub(crate) async fn end(self, sandboxes: &[&Sandbox]) {
        for sandbox in sandboxes {
            sandbox.stop(Duration::from_secs(1)).await.unwrap();
        }
        self.sandboxes.close().await;
        let tag = tag(&self.config);
        assert_eq!(blanks(&self.config), Vec::<String>::new());
        assert_eq!(named("/sys/class/net", &format!("slp{tag}")), Vec::<String>::new());
        assert_eq!(named("/run/netns", &format!("slipway-{tag}")), Vec::<String>::new());
        let table = format!("slipway_{tag}");
        let _ = Command::new("nft").args(["delete", "table", "inet", &table]).status();
    }
}

/// A small sandbox with its image in that directory.
pub(crate) fn spec_in(dir: &Path, id: &str) -> SandboxSpec {
    SandboxSpec {
        id: id.to_owned(),
        layers: vec![base_image()],
        writable: WritableSpec::scratch(dir.join(format!("{id}.img")), 64 << 20),
        cache: None,
        limits: ResourceLimits {
            memory: ByteSize::mebibytes(128),
            cpus: 1.0,
            processes_max: 64,
            disk: ByteSize::mebibytes(64),
        },
        hostname: "box".to_owned(),
    }
}

pub(crate) fn tag(config: &SandboxConfig) -> String {
    format!("{:06x}", config.network.subnet.network().to_bits() >> 8)
}

pub(crate) fn named(dir: &str, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(prefix)).collect()
}

pub(crate) fn task(number: u32, command: &str) -> TaskSpec {
    TaskSpec {
        task: number,
        argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        env: task_env(),
        cwd: "/".to_owned(),
        uid: slipway_sandbox::APP_UID,
        gid: slipway_sandbox::APP_GID,
        open_files_max: 1024,
        output_rate: None,
    }
}

/// The C library's tunables are passed on: where virtual machines lose wide registers, they turn the use of these off.
fn task_env() -> BTreeMap<String, slipway_types::Secret> {
    let mut env = BTreeMap::from([("PATH".to_owned(), slipway_types::Secret::new("/usr/bin:/bin"))]);
    if let Ok(tunables) = std::env::var(TUNABLES) {
        env.insert(TUNABLES.to_owned(), slipway_types::Secret::new(tunables));
    }
    env
}

/// A number that no task of this process has had.
pub(crate) fn fresh() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Starts a task and answers its number.
pub(crate) async fn start(sandbox: &Sandbox, command: &str) -> u32 {
    let number = fresh();
    sandbox.start_task(task(number, command)).await.unwrap();
    number
}

/// Runs one command to its end.
pub(crate) async fn run(sandbox: &Sandbox, command: &str) -> Ended {
    let number = start(sandbox, command).await;
    ended(&mut sandbox.events(), number).await
}

/// Runs one command to its end, as root inside.
pub(crate) async fn run_as_root(sandbox: &Sandbox, command: &str) -> Ended {
    let mut spec = task(fresh(), command);
    (spec.uid, spec.gid) = (0, 0);
    let number = spec.task;
    sandbox.start_task(spec).await.unwrap();
    ended(&mut sandbox.events(), number).await
}

/// Ends a task that does not end by itself.
pub(crate) async fn kill_task(sandbox: &Sandbox, number: u32) {
    sandbox.signal(number, 9).await.unwrap();
    ended(&mut sandbox.events(), number).await;
}

/// The reason that the sandbox gives for its end.
pub(crate) async fn gone(events: &mut Events) -> String {
    loop {
        if let SandboxEvent::Gone { reason } = next(events).await {
            return reason;
        }
    }
}

/// Kills a process of the host's.
pub(crate) fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Runs a check and answers whether it held; what it says is printed.
pub(crate) async fn holds(name: &str, check: impl Future<Output = ()>) -> bool {
    let begun = std::time::Instant::now();
    let held = std::panic::AssertUnwindSafe(check).catch_unwind().await.is_ok();
    eprintln!("{} {name} ({:.2?})", if held { "held:  " } else { "FAILED:" }, begun.elapsed());
    held
}

/// Reads events until the task has exited.
pub(crate) async fn ended(events: &mut Events, number: u32) -> Ended {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match next(events).await {
            SandboxEvent::Output { task, stream, bytes } if task == number => match stream {
                slipway_types::agent::Stream::Stdout => stdout.extend(bytes),
                slipway_types::agent::Stream::Stderr => stderr.extend(bytes),
            },
            SandboxEvent::Exited { task, facts, disk_full } if task == number => {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return Ended { stdout: text(stdout), stderr: text(stderr), facts, disk_full };
            }
            SandboxEvent::Gone { reason } => panic!("the sandbox is gone: {reason}"),
            SandboxEvent::StartFailed { message, .. } => panic!("did not start: {message}"),
            _ => {}
        }
    }
}

/// Reads events until the task has written that text.
pub(crate) async fn wrote(events: &mut Events, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        match next(events).await {
            SandboxEvent::Output { bytes, .. } => all.push_str(&String::from_utf8_lossy(&bytes)),
            SandboxEvent::Exited { facts, .. } => panic!("it exited ({facts:?}) before it wrote {text:?}: {all}"),
            SandboxEvent::Gone { reason } => panic!("the sandbox is gone: {reason}"),
            _ => {}
        }
    }
    all
}

pub(crate) async fn next(events: &mut Events) -> SandboxEvent {
    let event = tokio::time::timeout(PATIENCE, events.next()).await;
    event.expect("an event in time").expect("more events")
}

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Names of what stands ready.
pub(crate) fn blanks(config: &SandboxConfig) -> Vec<String> {
    named(config.sandboxes_dir.to_str().unwrap(), ".blank-")
}

pub(crate) fn was_booted_ahead(config: &SandboxConfig, id: &str) -> bool {
    let spec = std::fs::read(config.sandboxes_dir.join(id).join("spec.json")).unwrap();
    let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    spec["cgroup"].as_str().unwrap().contains("/.blank-")
}

pub(crate) fn shim_pid(config: &SandboxConfig, id: &str) -> i32 {
    pid(config, id, "shim")
}

pub(crate) fn init_pid(config: &SandboxConfig, id: &str) -> i32 {
    pid(config, id, "init")
}

/// Of one that may go meanwhile, or has not come so far.
pub(crate) fn known_init_pid(config: &SandboxConfig, id: &str) -> Option<i32> {
    known_pid(config, id, "init")
}

fn pid(config: &SandboxConfig, id: &str, who: &str) -> i32 {
    known_pid(config, id, who).unwrap()
}

fn known_pid(config: &SandboxConfig, id: &str, who: &str) -> Option<i32> {
    let state = std::fs::read(config.sandboxes_dir.join(id).join("state.json")).ok()?;
    let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
    i32::try_from(state[who]["pid"].as_i64()?).ok()
}

/// Nothing of the sandbox is left anywhere on the machine.
pub(crate) async fn assert_nothing_left(config: &SandboxConfig, id: &str, pids: &[i32]) {
    // What ended is a zombie until the machine's first process has looked at it.
    for pid in pids {
        until("processes are reaped", || !Path::new(&format!("/proc/{pid}")).exists()).await;
    }
    assert!(!config.sandboxes_dir.join(id).exists(), "its directory is left");
    // Names of sandboxes are those of the test, which another run has too. That of its directory is not.
    let own = config.sandboxes_dir.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&format!("/{own}/sandboxes/{id}/")), "a mount is left");
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    for dir in hierarchies.chain(["/sys/fs/cgroup".into()]) {
        let cgroup = dir.join(format!("slipway-{}", tag(config))).join(id);
        assert!(!cgroup.exists(), "{} is left", cgroup.display());
    }
    for name in named("/sys/block", "loop") {
        let file = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        assert!(!file.contains(&format!("/{own}/{id}.img")), "{name} is left");
    }
}

pub(crate) struct Programs {
    pub(crate) shim: PathBuf,
    pub(crate) agent: PathBuf,
    /// What an attacker may put in the agent's place.
    pub(crate) hostile_agent: PathBuf,
}

pub(crate) fn scratch() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// One test process at a time; the others find the work done.
fn locked<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let file = File::create(scratch().join(name)).unwrap();
    file.lock().unwrap();
    work()
}

pub(crate) fn programs() -> Programs {
    let target = scratch().parent().unwrap().to_owned();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // The processes of one run of the tests share what the first of them made.
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    locked("programs.lock", || {
        let marker = scratch().join("programs.run");
        if std::fs::read_to_string(&marker).is_ok_and(|made_for| made_for == run) {
            return;
        }
        let cargo = |words: &[&str], dir: &Path, flags: &str| {
            let mut command = Command::new(env!("CARGO"));
            command.args(["build", "--quiet"]).args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
            command.arg("--target-dir").arg(dir).env("RUSTFLAGS", flags);
            assert!(command.status().unwrap().success(), "cargo build {words:?}");
        };
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        // Of the whole workspace: the same features as the tests were compiled with, so nothing is compiled twice.
        cargo(&["--workspace", "--example", "shim"], &target, &flags);
        // As it is shipped, and where the script `x` makes it: a virtual machine boots a small one sooner.
        let agent_dir = target.join("agent");
        let static_flags = "-C target-feature=+crt-static";
        let words = ["-p", "slipway-agent", "--bins", "--examples", "--profile", "agent", "--target", &triple];
        cargo(&words, &agent_dir, static_flags);
        std::fs::write(marker, run).unwrap();
    });
    let agent_dir = target.join("agent").join(triple).join("agent");
    Programs {
        shim: target.join("debug/examples/shim"),
        agent: agent_dir.join("slipway-agent"),
        hostile_agent: agent_dir.join("examples/hostile"),
    }
}

/// A small Debian: the test machine's own shell and a few programs.
pub(crate) fn base_image() -> PathBuf {
    let path = scratch().join("base-3.img");
    locked("base.lock", || {
        if !path.exists() {
            let partial = scratch().join("base.partial");
            let _ = std::fs::remove_file(&partial);
            image::create(&partial, 256 << 20).unwrap();
            let at = tempfile::tempdir().unwrap();
            let mounted = image::mount(&partial, at.path(), image::Access::ReadWrite).unwrap();
            fill(&mounted.upper());
            mounted.unmount().unwrap();
            std::fs::rename(&partial, &path).unwrap();
        }
    });
    path
}

fn fill(root: &Path) {
    let libraries: String = PROGRAMS
        .iter()
        .filter_map(|program| Command::new("ldd").arg(program).output().ok())
        .map(|output| String::from_utf8(output.stdout).unwrap())
        .collect();
    let libraries = libraries.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    let name_service = ["/lib/x86_64-linux-gnu/libnss_dns.so.2", "/lib/x86_64-linux-gnu/libresolv.so.2"];
    for file in PROGRAMS.iter().copied().chain(libraries).chain(name_service) {
        let Ok(bytes) = std::fs::read(file) else { continue };
        let to = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(&to, bytes).unwrap();
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let perl = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let to = root.join(perl.trim_start_matches('/'));
    std::fs::create_dir_all(&to).unwrap();
    assert!(Command::new("cp").arg("-r").arg(format!("{perl}/perl-base")).arg(&to).status().unwrap().success());
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:10001:10001::/home/app:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n").unwrap();
    std::fs::write(root.join("etc/base-file"), "as it was\n").unwrap();
}
