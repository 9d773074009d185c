//! One slot: a network namespace, a veth pair into it, four addresses, and its element in the rules.

use super::cidr::Cidr;
use super::{NetworkError, table};
use crate::program::run;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

/// More than one machine runs; four hexadecimal digits of a device's name hold it.
const SLOTS_MAX: u32 = 16384;
/// Ethernet's, for a machine without a default route.
const MTU_DEFAULT: u32 = 1500;
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// Names and addresses of all slots, derived from the subnet alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) subnet: Cidr,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    /// Name of the namespace, under [`NETNS_DIR`].
    pub(crate) namespace: String,
    /// The host's end of the pair.
    pub(crate) device: String,
    pub(crate) host: Ipv4Addr,
    pub(crate) guest: Ipv4Addr,
}

impl Layout {
    pub(super) fn new(subnet: Cidr) -> Result<Self, NetworkError> {
        // The names hold 24 bits of the network; a prefix above 24 would let two servers share them.
        if !(16..=24).contains(&subnet.prefix()) {
            return Err(NetworkError::Subnet { subnet: subnet.to_string() });
        }
        Ok(Self { subnet })
    }

    pub(super) fn count(self) -> u32 {
        (1u32 << (30 - self.subnet.prefix())).min(SLOTS_MAX)
    }

    pub(super) fn tag(self) -> String {
        format!("{:06x}", self.subnet.network().to_bits() >> 8)
    }

    /// What all host devices of this server begin with. With the index it is 13 of 15 possible characters.
    pub(super) fn device_prefix(self) -> String {
        format!("slp{}", self.tag())
    }

    pub(super) fn namespace_prefix(self) -> String {
        format!("slipway-{}-", self.tag())
    }

    pub(super) fn slot(self, index: u32) -> Slot {
        let base = self.subnet.network().to_bits() + index * 4;
        Slot {
            index,
            namespace: format!("{}{index:04x}", self.namespace_prefix()),
            device: format!("{}{index:04x}", self.device_prefix()),
            host: Ipv4Addr::from_bits(base + 1),
            guest: Ipv4Addr::from_bits(base + 2),
        }
    }
}

impl Slot {
    pub(crate) fn path(&self) -> std::path::PathBuf {
        Path::new(NETNS_DIR).join(&self.namespace)
    }
}

/// Makes the slot, its rules last: it cannot be used before they are in force.
pub(super) fn make(layout: &Layout, index: u32, mtu: u32) -> Result<Slot, NetworkError> {
    let slot = layout.slot(index);
    remove_devices(&slot);
    let made = make_devices(&slot, mtu).and_then(|()| table::admit(layout, &slot));
    if made.is_err() {
        remove_devices(&slot);
    }
    made.map(|()| slot)
}

pub(super) fn remove(layout: &Layout, slot: &Slot) -> Result<(), NetworkError> {
    remove_devices(slot);
    let device = Path::new("/sys/class/net").join(&slot.device);
    if device.exists() || slot.path().exists() {
        let source = std::io::Error::other("it is still there");
        return Err(NetworkError::File { action: "remove", path: device, source });
    }
    table::dismiss(layout, slot)
}

/// Removes what a former server left: every namespace and device with our names that no running sandbox uses.
pub(super) fn remove_strays(layout: &Layout, in_use: &[Slot]) {
    let names = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    for (dir, prefix) in [(NETNS_DIR, layout.namespace_prefix()), ("/sys/class/net", layout.device_prefix())] {
        let indexes = names(dir)
            .into_iter()
            .filter_map(|name| name.strip_prefix(&prefix).and_then(|hex| u32::from_str_radix(hex, 16).ok()));
        for index in indexes.filter(|index| !in_use.iter().any(|slot| slot.index == *index)) {
            remove_devices(&layout.slot(index));
        }
    }
}

fn make_devices(slot: &Slot, mtu: u32) -> Result<(), NetworkError> {
    let Slot { namespace, device, host, guest, .. } = slot;
    run(Command::new("ip").args(["netns", "add", namespace]), "")?;
    let outside = format!(
        "link add {device} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {namespace}\n\
         addr add {host}/30 dev {device}\n"
    );
    run(Command::new("ip").args(["-batch", "-"]), &outside)?;
    harden_device(device);
    let up = format!("link set {device} up\n");
    run(Command::new("ip").args(["-batch", "-"]), &up)?;
    let batch =
        format!("link set lo up\naddr add {guest}/30 dev eth0\nlink set eth0 up\nroute add default via {host}\n");
    inside(slot, move || {
        set_sysctls();
        run(Command::new("ip").args(["-batch", "-"]), &batch).map(drop).map_err(NetworkError::from)
    })
}

/// Both are best effort: a slot that never was has nothing to remove; [`remove`] looks at the result.
fn remove_devices(slot: &Slot) {
    if Path::new("/sys/class/net").join(&slot.device).exists() {
        let _ = run(Command::new("ip").args(["link", "del", &slot.device]), "");
    }
    if slot.path().exists() {
        let _ = run(Command::new("ip").args(["netns", "del", &slot.namespace]), "");
    }
}

/// No IPv6 on the host's end and no packet whose answer would leave elsewhere. The rules say the same again.
fn harden_device(device: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6"), "1");
    let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), "1");
    let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{device}/accept_redirects"), "0");
}

/// In the sandbox's namespace: no IPv6, ports below 1024 for everyone, unprivileged ping.
fn set_sysctls() {
    for (key, value) in [
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/ip_unprivileged_port_start", "0"),
        ("ipv4/ping_group_range", "0 2147483647"),
    ] {
        // A kernel without IPv6 has no such file.
        let _ = std::fs::write(format!("/proc/sys/net/{key}"), value);
    }
}

/// Runs `work` on a thread of its own inside the slot's namespace; the thread ends with it.
pub(crate) fn inside<T: Send + 'static>(
    slot: &Slot,
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let path = slot.path();
    let name = slot.namespace.clone();
    let file = std::fs::File::open(&path).map_err(|source| NetworkError::File { action: "open", path, source })?;
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetworkError::Enter { name, source: errno.into() })?;
        work()
    });
    thread.join().unwrap_or_else(|_| Err(NetworkError::Background { why: "the thread panicked".to_owned() }))
}

/// The MTU of the device that the default route leaves by: larger packets from a sandbox would be lost.
pub(super) fn host_mtu() -> u32 {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    default_device(&routes)
        .and_then(|device| std::fs::read_to_string(format!("/sys/class/net/{device}/mtu")).ok())
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MTU_DEFAULT)
}

fn default_device(routes: &str) -> Option<&str> {
    let rows = routes.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let defaults = rows.filter(|row| row.len() > 7 && row[1] == "00000000" && row[7] == "00000000");
    defaults.min_by_key(|row| row[6].parse::<u32>().unwrap_or(u32::MAX)).map(|row| row[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_follow_from_the_subnet() {
        let layout = Layout::new("10.201.0.0/16".parse().unwrap()).unwrap();
        let slot = layout.slot(0x3fff);
        assert_eq!((slot.device.as_str(), slot.namespace.as_str()), ("slp0ac9003fff", "slipway-0ac900-3fff"));
        assert_eq!((slot.host, slot.guest), (Ipv4Addr::new(10, 201, 255, 253), Ipv4Addr::new(10, 201, 255, 254)));
        assert!(slot.device.len() <= 15);
        assert_eq!(layout.count(), 16384);
        assert!(Layout::new("10.0.0.0/8".parse().unwrap()).is_err());
    }

    #[test]
    fn the_default_route_with_the_lowest_metric() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_device(routes), Some("eth0"));
        assert_eq!(default_device(""), None);
    }
}
