//! A virtual machine's end of its network slot: a tap device in the slot's namespace, wired to the slot's own card.
//!
//! Every frame goes from one to the other: the machine takes the slot's address, and the host's rules see it like a container's.

use super::DriverError;
use crate::network::{NetworkError, Slot, inside};
use crate::program::run;
use rustix::fd::OwnedFd;
use std::os::fd::AsRawFd;
use std::process::Command;

pub(crate) const TAP: &str = "tap0";
/// The card of every slot, inside of its namespace.
const CARD: &str = "eth0";
const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
/// Large packets pass whole: the machine's kernel neither cuts them nor sums them up.
const IFF_VNET_HDR: libc::c_short = 0x4000;
/// `_IOW('T', 202, int)`
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// Makes and wires it; the descriptor is the machine's network.
pub(crate) fn open(slot: &Slot) -> Result<OwnedFd, DriverError> {
    let mtu = mtu(slot);
    inside(slot, move || {
        let tap = make()?;
        let links = format!("addr flush dev {CARD}\nlink set {TAP} mtu {mtu} up\n");
        run(Command::new("ip").args(["-batch", "-"]), &links)?;
        run(Command::new("tc").args(["-batch", "-"]), &(redirect(CARD, TAP) + &redirect(TAP, CARD)))?;
        Ok(tap)
    })
    .map_err(|error| DriverError::because("cannot make the machine's network device", &error))
}

/// Of the slot: larger packets would be lost on their way out.
pub(crate) fn mtu(slot: &Slot) -> u32 {
    const ETHERNET: u32 = 1500;
    let text = std::fs::read_to_string(format!("/sys/class/net/{}/mtu", slot.device)).unwrap_or_default();
    text.trim().parse().unwrap_or(ETHERNET)
}

fn redirect(from: &str, to: &str) -> String {
    format!(
        "qdisc add dev {from} ingress\n\
         filter add dev {from} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev {to}\n"
    )
}

/// In the namespace of the calling thread.
fn make() -> Result<OwnedFd, NetworkError> {
    const PATH: &str = "/dev/net/tun";
    let failed = |source| NetworkError::File { action: "make a tap device with", path: PATH.into(), source };
    let file = std::fs::File::options().read(true).write(true).open(PATH).map_err(failed)?;
    // SAFETY: all zero is a valid value of this plain struct.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(TAP.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    // SAFETY: the request is the struct that this code takes, and it outlives the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(file.into()),
        _ => Err(failed(std::io::Error::last_os_error())),
    }
}
