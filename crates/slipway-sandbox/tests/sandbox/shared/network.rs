//! What a sandbox reaches, and who reaches it.

use super::Here;
use crate::machine::{named, next, run, start, tag, until};
use slipway_sandbox::{Cidr, SandboxConfig, SandboxEvent};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;

/// What the machine of these checks opens to its sandboxes.
pub(super) fn allowed(config: &SandboxConfig) -> Vec<Cidr> {
    vec![Cidr::from_parts(Ipv4Addr::new(10, 99, number(config), 0), 24)]
}

/// What tells this test's networks from those of tests that run beside it.
fn number(config: &SandboxConfig) -> u8 {
    config.network.subnet.network().octets()[2]
}

/// For a connection that is to be there.
const OPEN_WITHIN: u32 = 60;
/// For one that is to be refused, which happens at once; a lost one ends with it.
const CLOSED_WITHIN: u32 = 1;

/// Says `open`, or `closed` after so many seconds at the latest.
fn reach(address: Ipv4Addr, port: u16, seconds: u32) -> String {
    format!(
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => \"{address}\", PeerPort => {port}, \
         Timeout => {seconds}); print $s ? \"open\" : \"closed\"'"
    )
}

fn host_addresses() -> Vec<Ipv4Addr> {
    let output =
        std::process::Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_ascii_whitespace().filter_map(|word| word.split_once('/')?.0.parse().ok()).collect()
}

pub(super) async fn the_host_is_closed_and_the_sandbox_is_open_to_it(here: &Here<'_>) {
    let sandbox = here.sandbox;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = Ipv4Addr::from_bits(sandbox.address().to_bits() - 1);
    let addresses = host_addresses();
    assert!(addresses.contains(&gateway), "the slot's own gateway is one of the host's: {addresses:?}");
    for address in addresses.into_iter().filter(|a| *a == gateway || !a.is_private()) {
        assert!(TcpStream::connect((address, port)).is_ok(), "the host itself reaches {address}");
        assert_eq!(run(sandbox, &reach(address, port, CLOSED_WITHIN)).await.stdout, "closed", "{address}");
    }
    let server = "exec perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 80, \
                  Listen => 1) or die; while ($c = $l->accept) { print $c \"hello\"; close $c }'";
    let number = start(sandbox, server).await;
    let mut events = sandbox.events();
    let is_listening =
        |sockets: &[slipway_types::agent::ListeningSocket]| sockets.iter().any(|socket| socket.port == 80);
    loop {
        if let SandboxEvent::Listening { sockets } = next(&mut events).await
            && is_listening(&sockets)
        {
            break;
        }
    }
    let mut text = String::new();
    TcpStream::connect(SocketAddrV4::new(sandbox.address(), 80)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    sandbox.signal(number, 9).await.unwrap();
    // That it listens no more is told too, before its end or after.
    let (mut is_over, mut is_closed) = (false, false);
    while !(is_over && is_closed) {
        match next(&mut events).await {
            SandboxEvent::Listening { sockets } => is_closed = !is_listening(&sockets),
            SandboxEvent::Exited { task, .. } if task == number => is_over = true,
            _ => {}
        }
    }
}

pub(super) async fn private_ranges_are_refused_at_once_and_there_is_no_ipv6(here: &Here<'_>) {
    let addresses = "10.0.0.1 172.16.0.1 192.168.0.1 100.64.0.1 169.254.169.254";
    // Refused, not lost: a lost one would only end with the patience.
    let script = format!(
        "perl -MErrno=ETIMEDOUT -MIO::Socket::INET -e 'for (qw({addresses})) {{ \
         $s = IO::Socket::INET->new(PeerAddr => $_, PeerPort => 80, Timeout => {OPEN_WITHIN}); \
         print $s ? \"open \" : $! == ETIMEDOUT ? \"lost \" : \"refused \" }}'"
    );
    assert_eq!(run(here.sandbox, &script).await.stdout, "refused ".repeat(5));
    assert_eq!(run(here.sandbox, "cat /proc/net/if_inet6").await.stdout, "", "no IPv6");
    // Another sandbox.
    let slot = here.sandbox.address().to_bits() & !3;
    for other in [slot + 4 + 2, slot - 4 + 2].map(Ipv4Addr::from_bits) {
        assert_eq!(run(here.sandbox, &reach(other, 8080, CLOSED_WITHIN)).await.stdout, "closed", "{other}");
    }
}

pub(super) async fn a_private_network_is_open_when_it_is_allowed(here: &Here<'_>) {
    let number = number(&here.machine.config);
    let _neighbour = Neighbour::new(number);
    let [other, allowed] = [98, 99].map(|second| Ipv4Addr::new(10, second, number, 2));
    for address in [other, allowed] {
        assert!(TcpStream::connect((address, 8080)).is_ok(), "the host itself reaches {address}");
    }
    let closed = run(here.sandbox, &reach(other, 8080, CLOSED_WITHIN)).await;
    let open = run(here.sandbox, &reach(allowed, 8080, OPEN_WITHIN)).await;
    assert_eq!((closed.stdout.as_str(), open.stdout.as_str()), ("closed", "open"));
}

pub(super) async fn a_forged_source_address_goes_nowhere(here: &Here<'_>) {
    let (config, own) = (&here.machine.config, here.sandbox.address().to_string());
    let inside = |words: &[&str]| Command::new("ip").args(words).output().unwrap();
    let rules = || {
        let table = format!("slipway_{}", tag(config));
        let output = Command::new("nft").args(["list", "table", "inet", &table]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let dropped = || {
        let text = rules();
        let count = text.lines().find_map(|line| Some(line.split_once("@slots counter packets ")?.1.to_owned()));
        count.unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(rules().contains(&own), "the slot's address is admitted");
    // No app can send such a packet. Its kernel could, and here it comes out of the namespace as if it had.
    let gateway = Ipv4Addr::from_bits(here.sandbox.address().to_bits() - 1).to_string();
    let device = named("/sys/class/net", &format!("slp{}", tag(config)))
        .into_iter()
        .find(|name| {
            String::from_utf8_lossy(&inside(&["addr", "show", "dev", name]).stdout).contains(&format!("{gateway}/"))
        })
        .unwrap();
    let namespace = format!("slipway-{}-{}", tag(config), &device[device.len() - 4..]);
    let link = std::fs::read_to_string(format!("/sys/class/net/{device}/address")).unwrap();
    let script = "import socket, struct, sys
to = bytes.fromhex(sys.argv[1].replace(':', ''))
head = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 29, 7, 0, 64, 17, 0, bytes([203, 0, 113, 9]), bytes([198, 51, 100, 1]))
total = sum(struct.unpack('>10H', head)); total = (total & 0xffff) + (total >> 16); total = (total & 0xffff) + (total >> 16)
head = head[:10] + struct.pack('>H', total ^ 0xffff) + head[12:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
s.send(to + bytes([2, 0, 0, 0, 0, 9]) + b'\\x08\\x00' + head + struct.pack('>HHHH', 9, 9, 9, 0) + b'x')
print('sent')";
    let before = dropped();
    let sent = inside(&["netns", "exec", &namespace, "python3", "-c", script, link.trim()]);
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "sent\n", "{sent:?}");
    until("the packet to be counted", || dropped() > before).await;
}

pub(super) async fn names_are_resolved_where_the_host_can(here: &Here<'_>) {
    let host = Command::new("getent").args(["ahostsv4", "deb.debian.org"]).output().unwrap();
    if !host.status.success() {
        eprintln!("SKIPPED: this machine resolves no names, so a sandbox cannot either");
        return;
    }
    let done = run(here.sandbox, "getent ahostsv4 deb.debian.org").await;
    assert_eq!(done.facts.code, Some(0), "{done:?}");
}

/// Another machine on two private networks of the host's, with a server.
struct Neighbour {
    name: String,
    server: std::process::Child,
}

impl Neighbour {
    fn new(number: u8) -> Self {
        // Not as the neighbours of other suites, which count from nought too.
        let name = format!("nextdoor{number}");
        ip(&format!("netns del {name}"));
        ip(&format!("link del {name}"));
        for step in [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name eth0 netns {name}"),
            format!("addr add 10.98.{number}.1/24 dev {name}"),
            format!("addr add 10.99.{number}.1/24 dev {name}"),
            format!("link set {name} up"),
            format!("-n {name} addr add 10.98.{number}.2/24 dev eth0"),
            format!("-n {name} addr add 10.99.{number}.2/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        let listen = "$l = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 8080, Listen => 9) or die; \
                      syswrite(STDOUT, 'up'); while ($c = $l->accept) { close $c }";
        let mut server = std::process::Command::new("ip")
            .args(["netns", "exec", &name, "perl", "-MIO::Socket::INET", "-e", listen])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 2];
        server.stdout.take().unwrap().read_exact(&mut up).unwrap();
        Self { name, server }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        ip(&format!("link del {}", self.name));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(words: &str) -> bool {
    let mut command = std::process::Command::new("ip");
    command.args(words.split(' ')).stderr(std::process::Stdio::null()).status().unwrap().success()
}
