//! The rules between sandboxes and everything else: one nftables table per server.
//!
//! From a sandbox: its own source address only, no IPv6, nothing to this machine but DNS where it runs the resolver,
//! nothing to other sandboxes, nothing private but what is allowed and port 53 of the resolvers; the rest is
//! translated. To a sandbox: connections from this machine, and answers. To one that is gone: refused at once, where the
//! machine's default route would take a connection elsewhere, and whoever answers there would answer for it.

use super::NetworkError;
use super::cidr::Cidr;
use super::slot::{Layout, Slot};
use crate::program::run;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::process::Command;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// What no sandbox reaches unless a rule names it: private (RFC 1918), shared, loopback, link-local with the metadata
/// services, benchmarking, protocol assignments, multicast, reserved, broadcast.
const PRIVATE: [&str; 12] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    // Azure's metadata service, at a public address.
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

pub(super) fn enable_forwarding() -> Result<(), NetworkError> {
    let on = std::fs::read_to_string(FORWARDING).is_ok_and(|text| text.trim() == "1");
    if on {
        return Ok(());
    }
    let error = |source| NetworkError::File { action: "write", path: FORWARDING.into(), source };
    std::fs::write(FORWARDING, "1").map_err(error)
}

/// Replaces the whole table in one transaction: there is no instant without rules.
pub(super) fn install(layout: &Layout, allow: &[Cidr], dns: &[Ipv4Addr], in_use: &[Slot]) -> Result<(), NetworkError> {
    run(Command::new("nft").args(["-f", "-"]), &script(layout, allow, dns, in_use))?;
    Ok(())
}

/// What a server leaves in force when it stops, for the apps that go on.
pub(super) fn remove(layout: &Layout) -> Result<(), NetworkError> {
    let table = name(layout);
    // Adding first makes deleting succeed when it was not there.
    run(Command::new("nft").args(["-f", "-"]), &format!("table inet {table}\ndelete table inet {table}\n"))?;
    Ok(())
}

/// Lets the slot send from its own address.
pub(super) fn admit(layout: &Layout, slot: &Slot) -> Result<(), NetworkError> {
    change(layout, &["add"], slot)
}

pub(super) fn dismiss(layout: &Layout, slot: &Slot) -> Result<(), NetworkError> {
    // `destroy` needs a newer nftables; adding first makes deleting succeed when it was not there.
    change(layout, &["add", "delete"], slot)
}

pub(super) fn name(layout: &Layout) -> String {
    format!("slipway_{}", layout.tag())
}

fn change(layout: &Layout, verbs: &[&str], slot: &Slot) -> Result<(), NetworkError> {
    let what = format!("element inet {} slots {{ {} }}", name(layout), element(slot));
    let script: String = verbs.iter().map(|verb| format!("{verb} {what}\n")).collect();
    run(Command::new("nft").args(["-f", "-"]), &script)?;
    Ok(())
}

fn element(slot: &Slot) -> String {
    format!("\"{}\" . {}", slot.device, slot.guest)
}

/// Protocols are numbers (6 is TCP, 17 is UDP): a small system has no `/etc/protocols` with their names.
fn script(layout: &Layout, allow: &[Cidr], dns: &[Ipv4Addr], in_use: &[Slot]) -> String {
    let (table, subnet) = (name(layout), layout.subnet);
    let mine = format!("\"{}*\"", layout.device_prefix());
    let slots = in_use.iter().map(element).collect::<Vec<_>>();
    let mut text = format!("table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
    set(&mut text, "slots", "type ifname . ipv4_addr;", &slots);
    set(&mut text, "allowed", "type ipv4_addr; flags interval; auto-merge;", &strings(allow));
    set(&mut text, "resolvers", "type ipv4_addr;", &strings(dns));
    set(&mut text, "private", "type ipv4_addr; flags interval;", &PRIVATE.map(str::to_owned));
    let _ = write!(
        text,
        r#"  chain source {{
    type filter hook prerouting priority raw; policy accept;
    iifname {mine} meta nfproto != ipv4 drop
    iifname {mine} iifname . ip saddr != @slots counter drop
  }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname != {mine} accept
    ct state established,related accept
    ip daddr @resolvers meta l4proto {{ 6, 17 }} th dport 53 accept
    drop
  }}
  chain forward {{
    type filter hook forward priority filter - 5; policy accept;
    iifname {mine} jump outward
    oifname {mine} ct state established,related accept
    oifname {mine} drop
  }}
  chain outward {{
    ct state established,related accept
    oifname "slp*" reject with icmpx admin-prohibited
    ip daddr @resolvers meta l4proto {{ 6, 17 }} th dport 53 accept
    ip daddr @allowed accept
    ip daddr @private reject with icmpx admin-prohibited
    accept
  }}
  chain output {{
    type filter hook output priority filter - 5; policy accept;
    ip daddr {subnet} oifname != {mine} oifname != "lo" meta l4proto 6 reject with tcp reset
  }}
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != "slp*" masquerade
  }}
}}
"#
    );
    text
}

fn set(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    let elements = match elements {
        [] => String::new(),
        some => format!(" elements = {{ {} }};", some.join(", ")),
    };
    let _ = writeln!(text, "  set {name} {{ {kind}{elements} }}");
}

fn strings(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_transaction_that_nft_accepts() {
        let layout = Layout::new("10.250.77.0/24".parse().unwrap()).unwrap();
        let allow = ["10.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap()];
        let text = script(&layout, &allow, &[Ipv4Addr::new(10, 0, 0, 2)], &[layout.slot(1), layout.slot(2)]);
        run(Command::new("nft").args(["--check", "-f", "-"]), &text).unwrap();
        run(Command::new("nft").args(["--check", "-f", "-"]), &script(&layout, &[], &[], &[])).unwrap();
    }
}
