//! Wires a machine's tap device to the card of its network slot, by netlink: a program started for it would cost more than
//! everything else that a boot does on the host.

use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::net::Ipv4Addr;

/// Every answer is one message with a number in it.
const ANSWER_BYTES_MAX: usize = 8192;
const HEAD_BYTES: usize = 16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16 | libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16 | libc::NLM_F_EXCL as u16;
/// Handle of the queue that sees what a device received.
const INGRESS: u32 = 0xffff_0000;
const INGRESS_PARENT: u32 = 0xffff_fff1;
const FILTER_PRIORITY: u32 = 1;
/// Below `TCA_OPTIONS` of a `u32` filter, its action and the action's own.
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const U32_TERMINAL: u8 = 1;
const ACTION_STOLEN: u32 = 4;
const EGRESS_REDIRECT: u32 = 1;
const NESTED: u16 = 1 << 15;

/// In the network namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        // No protocol is protocol 0: routes, devices and their queues.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sets the largest packet and turns the device on.
    pub(super) fn bring_up(&mut self, device: u32, mtu: u32) -> io::Result<()> {
        let up = (libc::IFF_UP as u32).to_ne_bytes();
        let mut body = vec![0; 4];
        body.extend(device.to_ne_bytes());
        body.extend(up);
        body.extend(up);
        attribute(&mut body, libc::IFLA_MTU, &mtu.to_ne_bytes());
        self.ask(libc::RTM_NEWLINK, 0, &body)
    }

    /// Takes the address from the device; none there is fine.
    pub(super) fn remove_address(&mut self, device: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut body = vec![libc::AF_INET as u8, prefix, 0, 0];
        body.extend(device.to_ne_bytes());
        attribute(&mut body, libc::IFA_LOCAL, &address.octets());
        match self.ask(libc::RTM_DELADDR, 0, &body) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            result => result,
        }
    }

    /// From now on all that `from` receives is sent by `to`, and by no device that was wired to it before.
    pub(super) fn redirect(&mut self, from: u32, to: u32) -> io::Result<()> {
        let mut queue = traffic(from, INGRESS, INGRESS_PARENT, 0);
        attribute(&mut queue, libc::TCA_KIND, b"ingress\0");
        match self.ask(libc::RTM_NEWQDISC, CREATE, &queue) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Its filters go with it.
                self.ask(libc::RTM_DELQDISC, 0, &queue)?;
                self.ask(libc::RTM_NEWQDISC, CREATE, &queue)?;
            }
            result => result?,
        }
        let every_protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
        let mut filter = traffic(from, 0, INGRESS, FILTER_PRIORITY << 16 | every_protocol);
        attribute(&mut filter, libc::TCA_KIND, b"u32\0");
        attribute(&mut filter, libc::TCA_OPTIONS | NESTED, &every_packet_to(to));
        self.ask(libc::RTM_NEWTFILTER, CREATE, &filter)
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let mut message = Vec::with_capacity(HEAD_BYTES + body.len());
        message.extend(((HEAD_BYTES + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(body);
        send(self.socket.as_fd(), &message, SendFlags::empty())?;
        let mut answer = [0; ANSWER_BYTES_MAX];
        let (length, _) = recv(self.socket.as_fd(), &mut answer[..], RecvFlags::empty())?;
        // An acknowledgement is an error of number zero.
        let number = answer[..length].get(HEAD_BYTES..HEAD_BYTES + 4).and_then(|bytes| bytes.try_into().ok());
        match number.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(number) => Err(io::Error::from_raw_os_error(-number)),
            None => Err(io::Error::other("the kernel's answer is too short")),
        }
    }
}

/// `struct tcmsg`.
fn traffic(device: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, device, handle, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A `u32` filter with one key that every packet has, and one action.
fn every_packet_to(device: u32) -> Vec<u8> {
    // `struct tc_u32_sel`: flags, shift and number of keys, then offsets and masks that are not used; a key of zeros matches.
    let mut selector = vec![0; 16];
    (selector[0], selector[2]) = (U32_TERMINAL, 1);
    selector.extend([0; 16]);
    // `struct tc_mirred`.
    let parameters: Vec<u8> =
        [0, 0, ACTION_STOLEN, 0, 0, EGRESS_REDIRECT, device].into_iter().flat_map(u32::to_ne_bytes).collect();
    let (mut own, mut action, mut actions, mut options) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    attribute(&mut own, TCA_MIRRED_PARMS, &parameters);
    attribute(&mut action, TCA_ACT_KIND, b"mirred\0");
    attribute(&mut action, TCA_ACT_OPTIONS | NESTED, &own);
    attribute(&mut actions, 1 | NESTED, &action);
    attribute(&mut options, TCA_U32_SEL, &selector);
    attribute(&mut options, TCA_U32_ACT | NESTED, &actions);
    options
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
