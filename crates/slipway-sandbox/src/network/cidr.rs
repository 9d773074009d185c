//! IPv4 networks as they stand in the configuration.

use std::fmt;
use std::net::Ipv4Addr;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an IPv4 network: write it like `10.0.0.0/8`")]
pub struct CidrError {
    text: String,
}

/// An IPv4 network; the bits behind the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The network that `address` is in. A prefix above 32 counts as 32.
    pub fn from_parts(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl std::str::FromStr for Cidr {
    type Err = CidrError;

    /// Reads `10.0.0.0/8`; an address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError { text: text.chars().take(64).collect() };
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse().map_err(|_| error())?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(error)?;
        Ok(Self::from_parts(address, prefix))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let network: Cidr = "10.201.7.9/16".parse().unwrap();
        assert_eq!(network.to_string(), "10.201.0.0/16");
        assert!(network.contains(Ipv4Addr::new(10, 201, 255, 1)) && !network.contains(Ipv4Addr::new(10, 202, 0, 0)));
        assert_eq!("1.2.3.4".parse::<Cidr>().unwrap().to_string(), "1.2.3.4/32");
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains(Ipv4Addr::BROADCAST));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/0", "a"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
