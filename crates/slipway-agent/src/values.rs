//! The app's variables as a file: one JSON object, there as a whole or not at all, and readable by its user alone.
//!
//! The agent writes it with that user's rights, so that nothing which an app puts in the way, such as a link, leads further than
//! the app itself gets.

use rustix::fs::{Mode, OFlags, open, rename, unlink};
use slipway_types::agent::ValuesSpec;
use std::fs::File;
use std::io::{self, Write};

/// Of the file before it has its name.
const NEW_SUFFIX: &str = ".new";
/// The kernel answers with the user that is in force, and changes nothing.
const ASK: u32 = u32::MAX;

/// This thread's rights on files, until it is dropped. It has one thread.
struct AsUser {
    uid: u32,
    gid: u32,
}

impl AsUser {
    fn begin(uid: u32, gid: u32) -> io::Result<Self> {
        // SAFETY: plain system calls. The group first: the right to change it goes with the user.
        let before =
            unsafe { Self { gid: libc::setfsgid(gid).cast_unsigned(), uid: libc::setfsuid(uid).cast_unsigned() } };
        // SAFETY: plain system calls. They report no failure, but tell what is in force.
        let now = unsafe { (libc::setfsuid(ASK).cast_unsigned(), libc::setfsgid(ASK).cast_unsigned()) };
        if now == (uid, gid) { Ok(before) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        // SAFETY: plain system calls; back to what was in force, which a process always may that has kept its real user.
        unsafe {
            libc::setfsuid(self.uid);
            libc::setfsgid(self.gid);
        }
    }
}

/// The former file stays when this fails.
pub(crate) fn write(spec: &ValuesSpec) -> io::Result<()> {
    let bytes = serde_json::to_vec(&spec.values)?;
    let new = format!("{}{NEW_SUFFIX}", spec.path);
    let _user = AsUser::begin(spec.uid, spec.gid)?;
    // Of an agent that was killed in the middle of it, or the app's.
    match unlink(&new) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(open(&new, flags, Mode::RUSR)?);
    let written = file.write_all(&bytes).and_then(|()| Ok(rename(&new, &spec.path)?));
    if written.is_err() {
        let _ = unlink(&new);
    }
    written
}
