//! Tells the service manager how far the server is (`sd_notify(3)`), where one asks for it: `systemctl restart` then ends when
//! the server answers. Trouble with that is no trouble of the server's.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;

pub(super) const VARIABLE: &str = "NOTIFY_SOCKET";

/// Of the process, like the variable.
static SOCKET: OnceLock<OsString> = OnceLock::new();

/// Takes the variable away: an OCI runtime that finds it would wait until the app says that it is ready. To be called once,
/// before anything else runs.
pub(super) fn take() {
    if let Some(socket) = std::env::var_os(VARIABLE) {
        SOCKET.get_or_init(|| socket);
        // SAFETY: the process has no other thread yet.
        unsafe { std::env::remove_var(VARIABLE) };
    }
}

/// For the program that takes this one's place.
pub(super) fn socket() -> Option<&'static OsString> {
    SOCKET.get()
}

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
    let Some(path) = socket() else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, state, "the service manager could not be told");
    }
}
