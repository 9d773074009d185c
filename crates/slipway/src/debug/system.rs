//! What the machine says: programs, processes, mounts, networks, disks, and the server's log where systemd keeps it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const RUN_TIME_MAX: Duration = Duration::from_secs(10);
/// Of what one program says, from its end.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
const LOG_LINES: &str = "10000";
/// The programs that sandboxes are made with, and how each says its version.
const PROGRAMS: [(&str, &str); 9] = [
    ("crun", "--version"),
    ("runc", "--version"),
    ("firecracker", "--version"),
    ("qemu-system-x86_64", "--version"),
    ("nft", "--version"),
    ("ip", "-Version"),
    ("git", "--version"),
    ("npm", "--version"),
    ("systemctl", "--version"),
];

pub(super) async fn versions() -> String {
    let mut text = format!("slipway {} ({})\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    for file in ["/proc/version", "/etc/os-release", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"] {
        let content = std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string());
        text.push_str(&format!("\n# {file}\n{}\n", content.trim_end()));
    }
    for (program, argument) in PROGRAMS {
        let said = run(program, &[argument]).await.unwrap_or_else(|why| why);
        text.push_str(&format!("\n# {program}\n{}\n", said.trim_end()));
    }
    text
}

/// In the journal that an installation gives the server.
pub(super) async fn server_log() -> Result<String, String> {
    let log = run("journalctl", &["--namespace", "slipway", "--lines", LOG_LINES, "--output", "short-iso"]).await;
    log.map_err(|why| format!("{why}; a server that is no service of systemd writes to where it was started"))
}

/// Names only: arguments may be an app's.
pub(super) async fn processes() -> Result<String, String> {
    run("ps", &["-e", "-o", "pid,ppid,user,stat,rss,pcpu,etime,comm"]).await
}

/// Those of a server's directories and of its sandboxes.
pub(super) fn mounts(data_dir: &Path, layers_dir: &Path) -> Result<String, String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let of = [data_dir.display().to_string(), layers_dir.display().to_string(), "slipway".to_owned()];
    let lines = all.lines().filter(|line| of.iter().any(|part| line.contains(part)));
    let loops = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().filter_map(|device| {
        let file = std::fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        Some(format!("{} {}", device.file_name().to_string_lossy(), file.trim_end()))
    });
    Ok(lines.map(str::to_owned).chain(loops).map(|line| line + "\n").collect())
}

pub(super) async fn networks() -> Result<String, String> {
    let namespaces = run("ip", &["-brief", "netns", "list"]).await.unwrap_or_else(|why| why);
    let links = run("ip", &["-brief", "address"]).await?;
    let tables = run("nft", &["list", "tables"]).await.unwrap_or_else(|why| why);
    Ok(format!("# namespaces\n{namespaces}\n# addresses\n{links}\n# tables of nftables\n{tables}"))
}

pub(super) async fn disks(data_dir: &Path, layers_dir: &Path) -> Result<String, String> {
    let (data, layers) = (data_dir.to_string_lossy().into_owned(), layers_dir.to_string_lossy().into_owned());
    let room = run("df", &["-h", &data, &layers]).await?;
    let files = run("df", &["-i", &data, &layers]).await?;
    let taken = run("du", &["-h", "--max-depth=1", &data]).await.unwrap_or_else(|why| why);
    Ok(format!("{room}\n{files}\n{taken}"))
}

async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(RUN_TIME_MAX, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("`{program}` cannot be run: {error}")),
        Err(_) => return Err(format!("`{program}` took longer than {} s", RUN_TIME_MAX.as_secs())),
    };
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{program}` failed ({}): {}", output.status, told.lines().next().unwrap_or_default()));
    }
    let from = output.stdout.len().saturating_sub(OUTPUT_BYTES_MAX);
    Ok(String::from_utf8_lossy(&output.stdout[from..]).into_owned())
}
