//! The OCI driver: runc or crun on an overlay of loop-mounted images. It shares the host's kernel.

pub(crate) mod cgroup;

use crate::error::SandboxError;
use std::path::{Path, PathBuf};

/// What the runtime mounts on: directories, then files. In the lowest layer, so that no written layer gets them.
const SKELETON_DIRS: [&str; 9] =
    ["proc", "sys", "dev", "tmp", "etc/slipway", "run/slipway", "slipway", "app", "home/app"];
const SKELETON_FILES: [&str; 5] =
    ["etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/slipway/ca.pem", "slipway/agent"];

/// The tree of empty mount points, beside the sandboxes. Its name is no sandbox id.
pub(crate) fn make_skeleton(sandboxes_dir: &Path) -> Result<PathBuf, SandboxError> {
    let root = sandboxes_dir.join(".skeleton");
    for dir in SKELETON_DIRS {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))?;
    }
    for file in SKELETON_FILES {
        let file = root.join(file);
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        open.map_err(SandboxError::file("create", &file))?;
    }
    for dir in ["app", "home/app"] {
        let dir = root.join(dir);
        std::os::unix::fs::chown(&dir, Some(crate::APP_UID), Some(crate::APP_GID))
            .map_err(SandboxError::file("change the owner of", &dir))?;
    }
    Ok(root)
}
