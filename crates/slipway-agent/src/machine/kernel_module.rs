//! Loads the kernel modules of the initramfs, in the order that its list gives.

use super::MachineError;
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

const MODULES_DIR: &str = "/modules";
/// One file name a line; what a module depends on comes before it.
const ORDER_FILE: &str = "order";

/// A kernel that has all it needs built in comes without the list.
pub(super) fn load_all() -> Result<(), MachineError> {
    let dir = Path::new(MODULES_DIR);
    let order = std::fs::read_to_string(dir.join(ORDER_FILE)).unwrap_or_default();
    for name in order.lines().filter(|name| !name.is_empty()) {
        let failed = |error: std::io::Error| MachineError::because(format!("load the kernel module `{name}`"), error);
        let file = File::open(dir.join(name)).map_err(failed)?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    Ok(())
}
