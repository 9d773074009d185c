//! The TCP sockets that something in the sandbox listens on, from `/proc/net/tcp` and `tcp6`.

use slipway_types::agent::{LISTENING_SOCKETS_MAX, ListeningSocket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kernel's number for a listening socket.
const STATE_LISTEN: &str = "0A";

/// Sorted, each once.
pub(crate) fn sockets() -> Vec<ListeningSocket> {
    let mut sockets = Vec::new();
    for path in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        // Absent without IPv6.
        if let Ok(table) = std::fs::read_to_string(path) {
            sockets.extend(table.lines().filter_map(parse_line));
        }
    }
    sockets.sort();
    sockets.dedup();
    sockets.truncate(LISTENING_SOCKETS_MAX);
    sockets
}

/// `  0: 0100007F:1F90 00000000:0000 0A …`
fn parse_line(line: &str) -> Option<ListeningSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != STATE_LISTEN {
        return None;
    }
    Some(ListeningSocket { address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()? })
}

/// The kernel prints each 32-bit word of the address as a number in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = hex.get(index * 8..index * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let parse = |line: &str| parse_line(line).map(|socket| format!("{} {}", socket.address, socket.port));
        let check = |line: &str, expect: Option<&str>| assert_eq!(parse(line).as_deref(), expect, "{line}");
        check("  sl  local_address rem_address   st tx_queue rx_queue", None);
        check("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000", Some("127.0.0.1 8080"));
        check("   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000", Some("0.0.0.0 3000"));
        check("   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000", None);
        check("   0: 00000000000000000000000000000000:0BB8 0:0 0A 0", Some(":: 3000"));
        check("   0: 00000000000000000000000001000000:0BB8 0:0 0A 0", Some("::1 3000"));
        check("   0: zz:0BB8 0:0 0A 0", None);
        check("", None);
    }
}
