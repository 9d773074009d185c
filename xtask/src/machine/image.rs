//! The disks of the machine: its system, made once, and what is new in each run.

use anyhow::{Context, Result, ensure};
use slipway_testing::{App, TestServer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside what every Debian has: an init, a kernel, and what the README asks for.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,kmod,udev,procps,util-linux,curl,ca-certificates,\
    crun,nftables,iproute2,e2fsprogs,git,xz-utils,zstd,mmdebstrap,initramfs-tools,linux-image-cloud-amd64";
const SYSTEM_BYTES: &str = "12G";
const PAYLOAD_BYTES: &str = "6G";

const TRIAL_UNIT: &str = "[Unit]\nDescription=Trial\nRequiresMountsFor=/payload\nAfter=basic.target\n\n\
    [Service]\nExecStart=/payload/trial.sh\nStandardOutput=null\nStandardError=null\n\n[Install]\nWantedBy=multi-user.target\n";
const FSTAB: &str = "/dev/vda / ext4 defaults 0 0\n/dev/vdb /payload ext4 ro 0 0\n";

pub(super) struct System {
    pub(super) disk: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

/// Debian of this machine's own release, so that the programs that are built here run there.
pub(super) fn system(directory: &Path) -> Result<System> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite =
        release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).context("the release's name")?;
    ensure!(release.contains("ID=debian"), "the machine is made of Debian's packages, and this one is no Debian");
    let made = directory.join(format!("system-{suite}"));
    let system = System { disk: made.join("disk.img"), kernel: made.join("vmlinuz"), initrd: made.join("initrd") };
    if made.exists() {
        return Ok(system);
    }
    let work = directory.join("making");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let root = work.join("root");
    let include = format!("--include={PACKAGES}");
    let root_text = root.to_string_lossy();
    run("mmdebstrap", &["--quiet", "--variant=minbase", &include, suite, &root_text])?;
    fs::create_dir_all(root.join("payload"))?;
    fs::write(root.join("etc/fstab"), FSTAB)?;
    fs::write(root.join("etc/hostname"), "machine\n")?;
    fs::write(root.join("etc/systemd/system/trial.service"), TRIAL_UNIT)?;
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    std::os::unix::fs::symlink("/etc/systemd/system/trial.service", wants.join("trial.service"))?;
    for (name, kept) in [("vmlinuz", "vmlinuz"), ("initrd.img", "initrd")] {
        fs::copy(root.join(name), work.join(kept)).with_context(|| format!("the machine's `{name}`"))?;
    }
    disk(&root, &work.join("disk.img"), SYSTEM_BYTES)?;
    fs::remove_dir_all(&root)?;
    fs::rename(&work, &made)?;
    Ok(system)
}

/// The programs, another version of them, an app with its backup, and the script.
pub(super) fn payload(directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("payload");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(tree.join("app"))?;
    let slipway = crate::bench::slipway()?;
    for version in ["bin", "next"] {
        let (program, agent) = (tree.join(version).join("slipway"), tree.join(version).join("libexec/slipway-agent"));
        fs::create_dir_all(tree.join(version).join("libexec"))?;
        fs::copy(&slipway, &program)?;
        fs::copy(slipway.with_file_name("libexec").join("slipway-agent"), &agent)?;
    }
    // Another file, and the same program: what stands behind its end is not read.
    let next = tree.join("next/slipway");
    fs::write(&next, [fs::read(&next)?, b"next".to_vec()].concat())?;
    let app = App::node("hello", "one")
        .settings("[health]\npath = \"/\"\nstart_timeout = \"180s\"\ntimeout = \"20s\"\nstable_window = \"2s\"");
    let server = TestServer::start_on(&slipway.to_string_lossy(), &directory.join("layers"), "", "", |_| {});
    let _ = server.run_in(app.path(), &["up"]).expect_code(0);
    let backup = tree.join("hello.backup");
    let _ = server
        .run(&["backup", "--config", &server.config_path().to_string_lossy(), &backup.to_string_lossy()])
        .expect_code(0);
    drop(server);
    for file in ["package.json", "server.js", "slipway.toml"] {
        fs::copy(app.path().join(file), tree.join("app").join(file)).with_context(|| format!("the app's `{file}`"))?;
    }
    fs::copy("xtask/machine/trial.sh", tree.join("trial.sh"))?;
    let image = directory.join("payload.img");
    disk(&tree, &image, PAYLOAD_BYTES)?;
    Ok(image)
}

fn disk(tree: &Path, image: &Path, bytes: &str) -> Result<()> {
    let _ = fs::remove_file(image);
    run("mkfs.ext4", &["-q", "-d", &tree.to_string_lossy(), &image.to_string_lossy(), bytes])
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output().with_context(|| format!("`{program}`"))?;
    ensure!(output.status.success(), "`{program}` failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
