//! Tells the service manager how far the server is (`sd_notify(3)`), where one asks for it: `systemctl restart` then ends when
//! the server answers. Trouble with that is no trouble of the server's.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// It serves.
pub(super) fn ready() {
    send("READY=1");
}

/// It makes place for another program in the same process, which will be ready in its turn.
pub(super) fn reloading() {
    send("RELOADING=1");
}

/// It ends on purpose.
pub(super) fn stopping() {
    send("STOPPING=1");
}

fn send(state: &str) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, state, "the service manager could not be told");
    }
}
