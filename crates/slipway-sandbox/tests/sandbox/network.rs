//! What a sandbox reaches, and who reaches it.

use crate::machine::{Machine, next, run, task, wrote};
use slipway_sandbox::{NetworkConfig, SandboxEvent};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

/// Says `open`, or why not, within a second.
fn reach(address: Ipv4Addr, port: u16) -> String {
    format!(
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => \"{address}\", PeerPort => {port}, \
         Timeout => 1); print $s ? \"open\" : \"closed\"'"
    )
}

fn host_addresses() -> Vec<Ipv4Addr> {
    let output =
        std::process::Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_ascii_whitespace().filter_map(|word| word.split_once('/')?.0.parse().ok()).collect()
}

#[tokio::test]
async fn the_host_is_closed_and_the_sandbox_is_open_to_it() {
    let machine = Machine::new(40).await;
    let sandbox = machine.boot("network-40").await;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = Ipv4Addr::from_bits(sandbox.address().to_bits() - 1);
    let addresses = host_addresses();
    assert!(addresses.contains(&gateway), "the slot's own gateway is one of the host's: {addresses:?}");
    for address in addresses.into_iter().filter(|a| *a == gateway || !a.is_private()) {
        assert!(TcpStream::connect((address, port)).is_ok(), "the host itself reaches {address}");
        assert_eq!(run(&sandbox, &reach(address, port)).await.stdout, "closed", "{address}");
    }
    let server = "exec perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 80, \
                  Listen => 1) or die; $| = 1; print \"up\\n\"; while ($c = $l->accept) { print $c \"hello\"; close $c }'";
    sandbox.start_task(task(1, server)).await.unwrap();
    let mut events = sandbox.events();
    let mut listening = false;
    while !listening {
        if let SandboxEvent::Listening { sockets } = next(&mut events).await {
            listening = sockets.iter().any(|socket| socket.port == 80);
        }
    }
    let mut text = String::new();
    TcpStream::connect(SocketAddrV4::new(sandbox.address(), 80)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn other_sandboxes_and_private_ranges_are_closed() {
    let machine = Machine::new(41).await;
    let (a, b) = (machine.boot("network-41a").await, machine.boot("network-41b").await);
    let listen = "exec perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 8080, \
                  Listen => 1) or die; $| = 1; print \"up\\n\"; sleep 60'";
    b.start_task(task(1, listen)).await.unwrap();
    wrote(&mut b.events(), "up").await;
    TcpStream::connect((b.address(), 8080)).expect("the host reaches it");
    assert_eq!(run(&a, &reach(b.address(), 8080)).await.stdout, "closed");
    for address in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254"] {
        let begun = std::time::Instant::now();
        assert_eq!(run(&a, &reach(address.parse().unwrap(), 80)).await.stdout, "closed", "{address}");
        assert!(begun.elapsed() < Duration::from_millis(900), "{address} is refused at once, not lost");
    }
    let v6 = run(&a, "cat /proc/net/if_inet6").await.stdout;
    assert_eq!(v6, "", "no IPv6");
    machine.end(&[&a, &b]).await;
}

#[tokio::test]
async fn a_forged_source_address_goes_nowhere() {
    let machine = Machine::new(42).await;
    let sandbox = machine.boot("network-42").await;
    // The app cannot take another address itself, so the test puts one there: the rules alone must hold.
    let namespace = crate::machine::named("/run/netns", &format!("slipway-{}", crate::machine::tag(&machine.config)));
    let own = sandbox.address().to_string();
    let inside = |words: &[&str]| std::process::Command::new("ip").args(words).output().unwrap();
    let netns = namespace
        .iter()
        .find(|name| String::from_utf8_lossy(&inside(&["-n", name, "addr"]).stdout).contains(&own))
        .unwrap();
    assert!(inside(&["-n", netns, "addr", "add", "203.0.113.9/32", "dev", "eth0"]).status.success());
    let rules = || {
        let table = format!("slipway_{}", crate::machine::tag(&machine.config));
        let output = std::process::Command::new("nft").args(["list", "table", "inet", &table]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(rules().contains(&own), "the slot's address is admitted");
    // The gateway's link address has to be known: it answers no question that comes from a forged address either.
    run(&sandbox, &reach(Ipv4Addr::new(198, 51, 100, 1), 9)).await;
    let forged = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"203.0.113.9\", PeerAddr => \
                  \"198.51.100.1\", PeerPort => 9, Proto => \"udp\") or die $!; $s->send(\"x\") or die $!; print \"sent\"'";
    assert_eq!(run(&sandbox, forged).await.stdout, "sent");
    let dropped = rules().lines().find_map(|line| Some(line.split_once("@slots counter packets ")?.1.to_owned()));
    assert_eq!(dropped.unwrap().split(' ').next(), Some("1"));
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn names_are_resolved_where_the_host_can() {
    let machine = Machine::new(43).await;
    let sandbox = machine.boot("network-43").await;
    let host = std::process::Command::new("getent").args(["ahostsv4", "deb.debian.org"]).output().unwrap();
    if !host.status.success() {
        eprintln!("SKIPPED: this machine resolves no names, so a sandbox cannot either");
    } else {
        let done = run(&sandbox, "getent ahostsv4 deb.debian.org").await;
        assert_eq!(done.facts.code, Some(0), "{done:?}");
    }
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn a_private_network_is_open_when_it_is_allowed() {
    let allow = vec!["10.99.44.0/24".parse().unwrap()];
    let machine = Machine::with(44, |config| {
        config.network = NetworkConfig { allow, ..config.network.clone() };
    })
    .await;
    let _neighbour = Neighbour::new();
    for address in ["10.98.44.2", "10.99.44.2"] {
        assert!(TcpStream::connect((address, 8080)).is_ok(), "the host itself reaches {address}");
    }
    let sandbox = machine.boot("network-44").await;
    let closed = run(&sandbox, &reach("10.98.44.2".parse().unwrap(), 8080)).await;
    let open = run(&sandbox, &reach("10.99.44.2".parse().unwrap(), 8080)).await;
    assert_eq!((closed.stdout.as_str(), open.stdout.as_str()), ("closed", "open"));
    machine.end(&[&sandbox]).await;
}

/// Another machine on two private networks of the host's, with a server.
struct Neighbour {
    server: std::process::Child,
}

impl Neighbour {
    const NAME: &str = "neighbour44";

    fn new() -> Self {
        let name = Self::NAME;
        ip(&format!("netns del {name}"));
        ip(&format!("link del {name}"));
        for step in [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name eth0 netns {name}"),
            format!("addr add 10.98.44.1/24 dev {name}"),
            format!("addr add 10.99.44.1/24 dev {name}"),
            format!("link set {name} up"),
            format!("-n {name} addr add 10.98.44.2/24 dev eth0"),
            format!("-n {name} addr add 10.99.44.2/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        let listen = "$l = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 8080, Listen => 9) or die; \
                      syswrite(STDOUT, 'up'); while ($c = $l->accept) { close $c }";
        let mut server = std::process::Command::new("ip")
            .args(["netns", "exec", name, "perl", "-MIO::Socket::INET", "-e", listen])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 2];
        server.stdout.take().unwrap().read_exact(&mut up).unwrap();
        Self { server }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        ip(&format!("link del {}", Self::NAME));
        ip(&format!("netns del {}", Self::NAME));
    }
}

fn ip(words: &str) -> bool {
    let mut command = std::process::Command::new("ip");
    command.args(words.split(' ')).stderr(std::process::Stdio::null()).status().unwrap().success()
}
