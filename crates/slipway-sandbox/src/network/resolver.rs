//! The resolvers that a sandbox asks: the configured ones, else those of this machine.

use std::net::{IpAddr, Ipv4Addr};

/// What a C library reads at most.
const RESOLVERS_MAX: usize = 3;
/// Where systemd-resolved lists the real resolvers behind its loopback address.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// IPv4 alone: sandboxes have no IPv6. Loopback addresses mean the machine, not the sandbox, and are left out.
pub(crate) fn resolvers(configured: &[IpAddr]) -> Vec<Ipv4Addr> {
    if !configured.is_empty() {
        return usable(configured.iter().copied());
    }
    let read = |file: &str| std::fs::read_to_string(file).map(|text| name_servers(&text)).unwrap_or_default();
    FILES.into_iter().map(read).find(|found| !found.is_empty()).unwrap_or_default()
}

fn name_servers(text: &str) -> Vec<Ipv4Addr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()?.parse().ok()
    });
    usable(addresses)
}

fn usable(addresses: impl Iterator<Item = IpAddr>) -> Vec<Ipv4Addr> {
    let v4 = addresses.filter_map(|address| match address {
        IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
        _ => None,
    });
    v4.take(RESOLVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_ipv6_are_left_out() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver fe80::1\nnameserver 10.0.0.2 # y\nsearch a\nnameserver";
        assert_eq!(name_servers(text), [Ipv4Addr::new(10, 0, 0, 2)]);
        assert!(name_servers("nameserver 127.0.0.53").is_empty());
    }
}
