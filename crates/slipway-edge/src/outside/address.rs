//! Which addresses a rule may lead to: public ones, and what the operator lets through.
//!
//! Whoever writes a rule is not whoever runs the machine: without this, a rule would reach databases, metadata services
//! and whatever else trusts the machine's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What has no place in the public internet, and two services of clouds that have one (RFC 6890 and its registry).
const CLOSED_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Metadata of Azure's machines.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Metadata of Oracle's machines among others.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];
/// Of IPv6 only this is handed out as public.
const OPEN_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// And of that not protocol assignments (Teredo is one), documentation, nor 6to4, which holds an IPv4 address.
const CLOSED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// An IPv4 address behind a translator (RFC 6052): counts as that address.
const TRANSLATED: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// A range of addresses, as in `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no network such as `10.0.0.0/8` or `fd00::/8`")]
pub struct NetworkError {
    text: String,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => within_v4(address, (base, self.prefix)),
            (IpAddr::V6(base), IpAddr::V6(address)) => within_v6(address, (base, self.prefix)),
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    /// An address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || NetworkError { text: text.chars().take(64).collect() };
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| error())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| error())?;
        if prefix > longest { Err(error()) } else { Ok(Self { base, prefix }) }
    }
}

/// Whether a connection may be made. `allow` comes first.
pub(super) fn is_open(address: IpAddr, allow: &[Network]) -> bool {
    is_allowed(address, allow) || is_public(address.to_canonical())
}

pub(super) fn is_allowed(address: IpAddr, allow: &[Network]) -> bool {
    let address = address.to_canonical();
    allow.iter().any(|network| network.contains(address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !CLOSED_V4.iter().any(|network| within_v4(address, *network)),
        IpAddr::V6(address) if within_v6(address, TRANSLATED) => {
            let [.., a, b, c, d] = address.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(address) => {
            within_v6(address, OPEN_V6) && !CLOSED_V6.iter().any(|network| within_v6(address, *network))
        }
    }
}

fn within_v4(address: Ipv4Addr, (base, prefix): (Ipv4Addr, u8)) -> bool {
    let differing = address.to_bits() ^ base.to_bits();
    differing.leading_zeros() >= u32::from(prefix)
}

fn within_v6(address: Ipv6Addr, (base, prefix): (Ipv6Addr, u8)) -> bool {
    let differing = address.to_bits() ^ base.to_bits();
    differing.leading_zeros() >= u32::from(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_open() {
        for (address, expected) in [
            ("1.1.1.1", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("100.63.255.255", true),
            ("223.255.255.255", true),
            ("2606:4700::1", true),
            ("64:ff9b::101:101", true),
            ("::ffff:1.1.1.1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.255.0.1", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("127.9.9.9", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.192", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_open(address.parse().unwrap(), &[]), expected, "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_open() {
        let allow: Vec<Network> =
            ["10.1.0.0/16", "127.0.0.1", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        for (address, expected) in [
            ("10.1.2.3", true),
            ("10.2.0.0", false),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_open(address.parse().unwrap(), &allow), expected, "{address}");
        }
        let everything: Vec<Network> = ["0.0.0.0/0", "::/0"].iter().map(|text| text.parse().unwrap()).collect();
        assert!(is_open("169.254.1.1".parse().unwrap(), &everything) && is_open("::1".parse().unwrap(), &everything));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "a", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
