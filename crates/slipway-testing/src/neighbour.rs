//! Another machine on a private network, as far as sandboxes can tell: a network namespace with an address of its own.
//! A sandbox reaches nothing of this machine, so what an app under test needs (a database, a registry) runs here.

use crate::slot::Slot;
use std::process::{Command, Stdio};

/// Second octet of `10.x.n.0/30`: below those of the sandboxes of test servers and of a server in use.
const SECOND_OCTET: u8 = 199;

/// A namespace with an address that sandboxes reach when the server's configuration has [`Neighbour::allow`].
#[derive(Debug)]
pub struct Neighbour {
    slot: Slot,
}

impl Neighbour {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Neighbour {
        let neighbour = Neighbour { slot: Slot::claim("neighbours") };
        neighbour.remove();
        let (name, host, address) = (neighbour.name(), neighbour.host_address(), neighbour.address());
        for step in [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name eth0 netns {name}"),
            format!("addr add {host}/30 dev {name}"),
            format!("link set {name} up"),
            format!("-n {name} addr add {address}/30 dev eth0"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set eth0 up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        neighbour
    }

    fn name(&self) -> String {
        format!("neighbour{}", self.slot.number())
    }

    fn host_address(&self) -> String {
        format!("10.{SECOND_OCTET}.{}.1", self.slot.number())
    }

    /// Where its servers are reached, from sandboxes and from this machine.
    pub fn address(&self) -> String {
        format!("10.{SECOND_OCTET}.{}.2", self.slot.number())
    }

    /// Line for [`crate::TestServer::start_with`]: sandboxes may reach this neighbour.
    pub fn allow(&self) -> String {
        format!("allow = [\"{}/32\"]\n", self.address())
    }

    /// `program`, in the neighbour's network. As `user`, if one is given. It dies with the test, also when that is killed.
    pub fn command(&self, user: Option<&str>, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(), "setpriv", "--pdeathsig", "KILL"]);
        if let Some(user) = user {
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }

    fn remove(&self) {
        ip(&format!("link del {}", self.name()));
        ip(&format!("netns del {}", self.name()));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status().unwrap().success()
}
