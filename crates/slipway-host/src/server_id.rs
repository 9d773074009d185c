//! Who this server is to others that share its directory of layers.

use crate::supervisor::{HostRunError, disk};
use std::io::Write;
use std::path::Path;

const FILE: &str = "server-id";
/// The kernel gives a new one at each read.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

/// The id of a data directory, made at its first use. Letters, digits and `-`.
pub(crate) fn ensure(data_dir: &Path) -> Result<String, HostRunError> {
    let path = data_dir.join(FILE);
    if let Ok(text) = std::fs::read_to_string(&path)
        && slipway_layers::is_valid_key(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    let random = std::fs::read_to_string(RANDOM).map_err(disk(Path::new(RANDOM)))?;
    let id = format!("srv-{}", random.trim());
    let temporary = data_dir.join(".server-id.new");
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(id.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&temporary, &path)).map_err(disk(&path))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_and_no_two_are_alike() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = ensure(one.path()).unwrap();
        assert_eq!(ensure(one.path()).unwrap(), id);
        assert_ne!(ensure(other.path()).unwrap(), id);
        std::fs::write(one.path().join(FILE), "../x").unwrap();
        assert!(slipway_layers::is_valid_key(&ensure(one.path()).unwrap()));
    }
}
