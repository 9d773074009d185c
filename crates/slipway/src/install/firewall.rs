//! The firewall: one nftables table of its own, which drops what nobody asked for.
//!
//! It decides about what comes to this machine, and about nothing else: what sandboxes may reach is the server's own table's, and a
//! packet must pass both. So what comes from sandboxes is let through here.

use crate::failure::Failure;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const TABLE: &str = "slipway_firewall";
/// Open on every machine: SSH, HTTP, HTTPS.
pub(super) const PORTS: [u16; 3] = [22, 80, 443];
/// How long somebody has to confirm that the machine can still be reached.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// The whole table, replaced in one transaction.
pub(super) fn rules(ports: &BTreeSet<u16>) -> String {
    let mut open = String::new();
    for port in ports {
        let _ = write!(open, "{}{port}", if open.is_empty() { "" } else { ", " });
    }
    format!(
        r#"# Written by `slipway install`: to this machine comes what was asked for, and these ports.
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lo" accept
    # Sandboxes: what of this machine they reach is in the server's own table.
    iifname "slp*" accept
    # ICMP and ICMPv6, by number: a small system has no names of protocols.
    meta l4proto {{ 1, 58 }} accept
    # Answers to this machine's own questions for an address come to an address that it does not have yet.
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
    tcp dport {{ {open} }} accept
  }}
}}
"#
    )
}

/// `nft`, as the machine has it.
#[derive(Debug, Clone)]
pub(super) struct Nft {
    /// Program and first arguments.
    program: Vec<String>,
}

impl Nft {
    pub(super) fn of_this_machine() -> Self {
        let found =
            ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].into_iter().find(|path| std::path::Path::new(path).exists());
        Self { program: vec![found.unwrap_or("nft").to_owned()] }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command
    }

    /// # Errors
    /// When `nft` is not there, or refuses the rules.
    pub(super) fn check(&self, rules: &str) -> Result<(), Failure> {
        self.run(&["--check", "-f", "-"], rules).map(drop)
    }

    /// # Errors
    /// As [`Nft::check`]; then the rules are as before.
    pub(super) fn apply(&self, rules: &str) -> Result<(), Failure> {
        self.run(&["-f", "-"], rules).map(drop)
    }

    /// The table that is in force, as rules that put it in force again; none when there is none.
    pub(super) fn present(&self) -> Option<String> {
        self.run(&["list", "table", "inet", TABLE], "").ok()
    }

    /// # Errors
    /// When `nft` fails. Without a table there is nothing to do.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        self.apply(&removal())
    }

    /// # Errors
    /// As [`Nft::apply`].
    pub(super) fn restore(&self, former: Option<&str>) -> Result<(), Failure> {
        self.apply(&format!("{}{}", removal(), former.unwrap_or_default()))
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, Failure> {
        let failed = |error: std::io::Error| {
            let failure = Failure::server("cannot run `nft`").caused_by(&error);
            failure.hint("install the package `nftables`, or do without a firewall by `--no-firewall`")
        };
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that refuses early reads no more; its words say why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(failed)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let told = String::from_utf8_lossy(&output.stderr);
                let why = crate::output::printable(told.lines().next().unwrap_or("it does not say why"));
                Err(Failure::server(format!("`nft` refuses the firewall's rules: {why}")))
            }
        }
    }

    /// Takes the rules back by itself, unless it is stopped: a connection that the rules cut takes this process with it.
    ///
    /// # Errors
    /// When no process can be started.
    pub(super) fn guard(&self, former: Option<&str>, after: Duration) -> Result<Guard, Failure> {
        let script = format!("{}{}", removal(), former.unwrap_or_default());
        let mut command = Command::new("setsid");
        let wait = "sleep \"$1\"; shift; printf '%s' \"$1\" | { shift; exec \"$@\" -f -; }";
        command.args(["sh", "-c", wait, "sh", &after.as_secs_f64().to_string(), &script]).args(&self.program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| {
            Failure::server("cannot start the process that takes the firewall back (`setsid`)").caused_by(&error)
        })?;
        Ok(Guard(child))
    }
}

/// Deleting what is not there is an error, so it is made first.
fn removal() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// The process that takes the rules back.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// The rules stay.
    ///
    /// # Errors
    /// When it has taken them back already.
    pub(super) fn confirm(mut self) -> Result<(), Failure> {
        let gone = || Failure::server("the firewall was taken back: it was confirmed too late");
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return Err(gone());
        }
        // A group of its own, by `setsid`: the wait in it ends too.
        let group = rustix::process::Pid::from_child(&self.0);
        while rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_err() {
            match self.0.try_wait() {
                // It has not come to its `setsid` yet.
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return Err(gone()),
            }
        }
        let _ = self.0.wait();
        Ok(())
    }

    /// Waits until they are taken back.
    #[cfg(test)]
    fn wait(mut self) {
        self.0.wait().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpStream};

    /// A network namespace with one neighbour, which is connected by `slq0`; a sandbox's device is called `slp…`.
    struct Machine(String);

    impl Machine {
        fn new(name: &str) -> Self {
            let machine = Self(format!("slipway-{name}-{}", std::process::id()));
            let (here, there) = (machine.0.clone(), format!("{}-n", machine.0));
            for name in [&here, &there] {
                ip(&["netns", "add", name]);
                ip(&["-n", name, "link", "set", "lo", "up"]);
            }
            for (device, peer, net) in [("eth0", "eth0", "192.0.2"), ("slp-x", "eth1", "198.51.100")] {
                ip(&["-n", &here, "link", "add", device, "type", "veth", "peer", "name", peer, "netns", &there]);
                for (at, device, last) in [(&here, device, 1), (&there, peer, 2)] {
                    ip(&["-n", at, "addr", "add", &format!("{net}.{last}/24"), "dev", device]);
                    ip(&["-n", at, "link", "set", device, "up"]);
                }
            }
            machine
        }

        fn nft(&self) -> Nft {
            let program = ["ip", "netns", "exec", &self.0, "nft"];
            Nft { program: program.map(str::to_owned).to_vec() }
        }

        /// Runs within a namespace, on a thread of its own.
        fn inside<T: Send>(name: &str, act: impl FnOnce() -> T + Send) -> T {
            let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
            let network = rustix::thread::LinkNameSpaceType::Network;
            std::thread::scope(|scope| {
                let acting = scope.spawn(move || {
                    use std::os::fd::AsFd;
                    rustix::thread::move_into_link_name_space(file.as_fd(), Some(network)).unwrap();
                    act()
                });
                acting.join().unwrap()
            })
        }

        /// Which of the ports a neighbour reaches at that address. All are listened on.
        fn reached(&self, address: [u8; 4], ports: &[u16]) -> Vec<u16> {
            let listening: Vec<_> = Self::inside(&self.0, || {
                ports.iter().map(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).unwrap()).collect()
            });
            let reached = Self::inside(&format!("{}-n", self.0), || {
                let open = |port: &u16| {
                    let to = SocketAddr::from((address, *port));
                    TcpStream::connect_timeout(&to, Duration::from_secs(3)).is_ok()
                };
                ports.iter().copied().filter(open).collect()
            });
            drop(listening);
            reached
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            for name in [self.0.clone(), format!("{}-n", self.0)] {
                let _ = Command::new("ip").args(["netns", "del", &name]).status();
            }
        }
    }

    fn ip(arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn what_is_not_open_is_not_reached_and_sandboxes_are_left_to_their_own_rules() {
        let machine = Machine::new("firewall");
        let nft = machine.nft();
        let text = rules(&BTreeSet::from([22, 80, 443, 2222]));
        nft.check(&text).unwrap();
        assert_eq!(nft.present(), None, "a check changes nothing");
        let (outside, sandbox) = ([192, 0, 2, 1], [198, 51, 100, 1]);
        let ports = [22, 80, 2222, 5432];
        assert_eq!(machine.reached(outside, &ports), ports);
        // Twice: the second replaces the first.
        for _ in 0..2 {
            nft.apply(&text).unwrap();
            assert_eq!(machine.reached(outside, &ports), [22, 80, 2222]);
        }
        assert_eq!(machine.reached(sandbox, &[5432]), [5432]);
        assert!(nft.check("table inet x { nonsense }").is_err());
        for _ in 0..2 {
            nft.remove().unwrap();
            assert_eq!(nft.present(), None);
        }
        assert_eq!(machine.reached(outside, &[5432]), [5432]);
    }

    #[test]
    fn rules_that_nobody_confirms_are_taken_back_and_the_former_ones_are_in_force() {
        let machine = Machine::new("guard");
        let nft = machine.nft();
        nft.apply(&rules(&BTreeSet::from([22]))).unwrap();
        let former = nft.present().unwrap();
        nft.apply(&rules(&BTreeSet::from([443]))).unwrap();
        let guard = nft.guard(Some(&former), Duration::from_millis(300)).unwrap();
        guard.wait();
        assert_eq!(nft.present().unwrap(), former);

        let guard = nft.guard(None, Duration::from_secs(600)).unwrap();
        nft.apply(&rules(&BTreeSet::from([443]))).unwrap();
        guard.confirm().unwrap();
        assert!(nft.present().unwrap().contains("443"));
        let late = nft.guard(None, Duration::ZERO).unwrap();
        while nft.present().is_some() {}
        let mut late = late;
        late.0.wait().unwrap();
        assert!(late.confirm().is_err());
    }
}
