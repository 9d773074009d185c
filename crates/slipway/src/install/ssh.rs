//! By which ports an administrator reaches this machine: they stay open whatever else is closed.
//!
//! Asked of everything that may know, because each can be silent: what sshd listens on, the connections that it has, its
//! configuration (a service manager may listen in its place), and the connection of whoever runs this.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// States of a socket in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
const LISTENS: &str = "0A";
/// Names of processes that serve SSH; newer versions of OpenSSH have one for each session.
const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];

/// Ports of SSH on this machine, as `/proc`, `/etc` and the variable SSH_CONNECTION tell.
pub(super) fn ports() -> BTreeSet<u16> {
    let mut ports = of_processes(Path::new("/proc"));
    ports.extend(of_configuration(Path::new("/etc/ssh")));
    ports.extend(std::env::var("SSH_CONNECTION").ok().and_then(|text| of_connection(&text)));
    ports
}

/// `client-address client-port server-address server-port`
fn of_connection(text: &str) -> Option<u16> {
    text.split_whitespace().nth(3)?.parse().ok()
}

/// Local ports of sockets that processes of an SSH server have.
fn of_processes(proc: &Path) -> BTreeSet<u16> {
    let mut inodes = BTreeSet::new();
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if SERVERS.contains(&name.trim()) {
            let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            let links = files.filter_map(|file| fs::read_link(file.path()).ok());
            inodes.extend(links.filter_map(|link| {
                let link = link.to_string_lossy().into_owned();
                link.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
            }));
        }
    }
    let tables = ["net/tcp", "net/tcp6"].map(|table| fs::read_to_string(proc.join(table)).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| of_line(line, &inodes)).collect()
}

/// `sl local_address rem_address st … uid timeout inode`
fn of_line(line: &str, inodes: &BTreeSet<u64>) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let known = [ESTABLISHED, LISTENS].contains(state) && inodes.contains(&inode.parse().ok()?);
    // A session forwards ports: those on the loopback address are reached by nobody else.
    let (address, port) = local.split_once(':')?;
    let is_loopback = address == "0100007F" || address == "00000000000000000000000001000000";
    (known && !is_loopback).then(|| u16::from_str_radix(port, 16).ok())?
}

/// `Port` and `ListenAddress` lines of `sshd_config`, and of the files that it commonly includes.
fn of_configuration(directory: &Path) -> BTreeSet<u16> {
    let included = fs::read_dir(directory.join("sshd_config.d")).into_iter().flatten().flatten();
    let files = included.map(|entry| entry.path()).chain([directory.join("sshd_config")]);
    let texts = files.filter_map(|file| fs::read_to_string(file).ok());
    texts.flat_map(|text| text.lines().filter_map(of_setting).collect::<Vec<_>>()).collect()
}

fn of_setting(line: &str) -> Option<u16> {
    let (key, value) = line.trim().split_once(|c: char| c.is_whitespace() || c == '=')?;
    let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"');
    match key.to_ascii_lowercase().as_str() {
        "port" => value.parse().ok(),
        // `host:port` or `[host]:port`; without a port there is a `Port` line, or 22.
        "listenaddress" => {
            let (host, port) = value.split_whitespace().next()?.rsplit_once(':')?;
            (host.ends_with(']') || !host.contains(':')).then(|| port.parse().ok())?
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sshd_config.d")).unwrap();
        let text =
            "# Port 1\nPort 2200\nport=2201\n ListenAddress 0.0.0.0:2202\nListenAddress [::]:2203\nListenAddress ::1\n";
        fs::write(dir.path().join("sshd_config"), text).unwrap();
        fs::write(dir.path().join("sshd_config.d/own.conf"), "Port \"2204\"\nX11Forwarding no\n").unwrap();
        assert_eq!(of_configuration(dir.path()), BTreeSet::from([2200, 2201, 2202, 2203, 2204]));
        assert!(of_configuration(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn ports_of_processes_and_their_connections() {
        let dir = tempfile::tempdir().unwrap();
        for (process, name, sockets) in
            [("10", "sshd\n", &[100, 101][..]), ("11", "sshd-session\n", &[102, 103]), ("12", "nginx\n", &[104])]
        {
            let files = dir.path().join(process).join("fd");
            fs::create_dir_all(&files).unwrap();
            fs::write(dir.path().join(process).join("comm"), name).unwrap();
            for socket in sockets {
                std::os::unix::fs::symlink(format!("socket:[{socket}]"), files.join(socket.to_string())).unwrap();
            }
        }
        fs::create_dir(dir.path().join("net")).unwrap();
        let line = |local: &str, state: &str, inode: u32| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 x\n"
            )
        };
        let table = [
            "head\n".to_owned(),
            line("00000000:0898", "0A", 100),
            line("0100007F:1770", "0A", 103),
            line("00000000:0050", "0A", 104),
        ];
        fs::write(dir.path().join("net/tcp"), table.concat()).unwrap();
        let table = ["head\n".to_owned(), line("0000000000000000FFFF0000020000C0:0899", "01", 102)];
        fs::write(dir.path().join("net/tcp6"), table.concat()).unwrap();
        assert_eq!(of_processes(dir.path()), BTreeSet::from([0x898, 0x899]));
    }

    #[test]
    fn the_port_of_one_s_own_connection() {
        assert_eq!(of_connection("192.0.2.7 51234 192.0.2.1 2222"), Some(2222));
        assert_eq!(of_connection("nonsense"), None);
    }
}
