//! A virtual machine's end of its network slot: a tap device in the slot's namespace, wired to the slot's own card.
//!
//! Every frame goes from one to the other: the machine takes the slot's address, and the host's rules see it like a container's.

use super::DriverError;
use super::wire::Netlink;
use crate::network::{NetworkError, Slot, inside};
use rustix::fd::OwnedFd;
use std::os::fd::{AsRawFd, RawFd};

pub(crate) const TAP: &str = "tap0";
/// The card of every slot, inside of its namespace.
const CARD: &str = "eth0";
/// Of a slot.
const PREFIX: u8 = 30;
const IFF_TAP: libc::c_short = 0x0002;
const IFF_NO_PI: libc::c_short = 0x1000;
/// Large packets pass whole: the machine's kernel neither cuts them nor sums them up.
const IFF_VNET_HDR: libc::c_short = 0x4000;
/// `_IOW('T', 202, int)` and its neighbours.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNSETOWNER: libc::c_ulong = 0x4004_54cc;

/// Makes and wires it; the descriptor is the machine's network.
pub(crate) fn open(slot: &Slot) -> Result<OwnedFd, DriverError> {
    make_and_wire(slot, None)
}

/// Makes and wires it for a VMM that opens it by its name [`TAP`], as that user. It goes with the slot's namespace.
pub(crate) fn leave_for(slot: &Slot, uid: u32) -> Result<(), DriverError> {
    make_and_wire(slot, Some(uid)).map(drop)
}

fn make_and_wire(slot: &Slot, owner: Option<u32>) -> Result<OwnedFd, DriverError> {
    let (mtu, address) = (mtu(slot), slot.guest);
    inside(slot, move || {
        let tap = make(owner)?;
        let wired = || {
            let (card, tap) = (index(CARD)?, index(TAP)?);
            let mut netlink = Netlink::open()?;
            netlink.remove_address(card, address, PREFIX)?;
            netlink.bring_up(tap, mtu)?;
            netlink.redirect(card, tap)?;
            netlink.redirect(tap, card)
        };
        wired().map_err(|source| NetworkError::File { action: "wire the device", path: TAP.into(), source })?;
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

/// In the namespace of the calling thread.
fn index(device: &str) -> std::io::Result<u32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: the name outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(std::io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// In the namespace of the calling thread.
fn make(owner: Option<u32>) -> Result<OwnedFd, NetworkError> {
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
    if unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    if let Some(uid) = owner {
        set(file.as_raw_fd(), TUNSETOWNER, uid.into()).map_err(failed)?;
        set(file.as_raw_fd(), TUNSETPERSIST, 1).map_err(failed)?;
    }
    Ok(file.into())
}

fn set(tap: RawFd, code: libc::c_ulong, value: libc::c_ulong) -> std::io::Result<()> {
    // SAFETY: these codes take a number.
    match unsafe { libc::ioctl(tap, code, value) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
