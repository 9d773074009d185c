//! Loopback and the one network card: address, route, packet size. The host's rules hold outside of this machine.

use super::MachineError;
use slipway_types::agent::MachineNetwork;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const CARD: &str = "eth0";
const LOOPBACK: &str = "lo";
const MTU_MAX: u32 = 65_535;

pub(super) fn set_up(network: &MachineNetwork) -> Result<(), MachineError> {
    let configure = || -> io::Result<()> {
        let socket = socket()?;
        bring_up(&socket, LOOPBACK)?;
        set_mtu(&socket, network.mtu)?;
        set_address(&socket, libc::SIOCSIFADDR, network.address)?;
        set_address(&socket, libc::SIOCSIFNETMASK, mask(network.prefix))?;
        bring_up(&socket, CARD)?;
        add_default_route(&socket, network.gateway)
    };
    configure().map_err(|e| MachineError::because(format!("set up the network card `{CARD}`"), e))
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the descriptor is owned as soon as it is known to be one.
    unsafe {
        match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn request(device: &str) -> libc::ifreq {
    // SAFETY: all zero is a valid value of this plain struct.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    request
}

fn address(of: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(of.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn control<T>(socket: &OwnedFd, code: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller's argument is the struct that the code takes, and it outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), code, std::ptr::from_mut(argument)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn bring_up(socket: &OwnedFd, device: &str) -> io::Result<()> {
    let mut request = request(device);
    control(socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the call above filled in this member.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    control(socket, libc::SIOCSIFFLAGS, &mut request)
}

fn set_mtu(socket: &OwnedFd, mtu: u32) -> io::Result<()> {
    let mut request = request(CARD);
    request.ifr_ifru.ifru_mtu = mtu.min(MTU_MAX).cast_signed();
    control(socket, libc::SIOCSIFMTU, &mut request)
}

fn set_address(socket: &OwnedFd, code: libc::c_ulong, of: Ipv4Addr) -> io::Result<()> {
    let mut request = request(CARD);
    request.ifr_ifru.ifru_addr = address(of);
    control(socket, code, &mut request)
}

fn add_default_route(socket: &OwnedFd, gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: all zero is a valid value of this plain struct.
    let mut route = unsafe { std::mem::zeroed::<libc::rtentry>() };
    let any = address(Ipv4Addr::UNSPECIFIED);
    (route.rt_dst, route.rt_genmask, route.rt_gateway) = (any, any, address(gateway));
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    control(socket, libc::SIOCADDRT, &mut route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (prefix, text) in [(30, "255.255.255.252"), (16, "255.255.0.0"), (32, "255.255.255.255"), (0, "0.0.0.0")] {
            assert_eq!(mask(prefix).to_string(), text);
        }
    }
}
