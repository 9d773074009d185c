//! Which kernel modules a guest needs, in the order in which they can be loaded.
//!
//! Each module names what it depends on in its own `.modinfo`: no index is needed, and a package's modules have none before it is
//! installed.

use super::GuestError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In the order in which devices are to appear. What the kernel has built in is left out.
const NEEDED: [&str; 5] = ["virtio_blk", "virtio_net", "vmw_vsock_virtio_transport", "ext4", "overlay"];
/// How devices are reached: QEMU's stand on PCI, Firecracker's in memory. A kernel that is made for one VMM has one.
const TRANSPORTS: [&str; 2] = ["virtio_mmio", "virtio_pci"];
/// Modules of one directory; a distribution's full kernel has about 4000.
const FILES_MAX: usize = 50_000;
/// Virtio's transports depend on four others; a chain that is longer is a loop.
const DEPTH_MAX: usize = 16;

/// Files, each behind those that it depends on.
pub(super) fn needed(modules: &Path) -> Result<Vec<PathBuf>, GuestError> {
    let built_in = std::fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    let built_in: Vec<String> = built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();
    let mut files = BTreeMap::new();
    list(&modules.join("kernel"), &mut files)?;
    let mut index = Index { modules, built_in, files, order: Vec::new() };
    let there: Vec<&str> = TRANSPORTS.into_iter().filter(|name| index.has(name)).collect();
    // Where there is none, the first is what is missing.
    let there = if there.is_empty() { &TRANSPORTS[..1] } else { &there };
    there.iter().try_for_each(|name| index.add(name, 0))?;
    NEEDED.iter().try_for_each(|name| index.add(name, 0))?;
    Ok(index.order)
}

struct Index<'a> {
    modules: &'a Path,
    built_in: Vec<String>,
    files: BTreeMap<String, PathBuf>,
    order: Vec<PathBuf>,
}

impl Index<'_> {
    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.built_in.iter().any(|known| known == name)
    }

    fn add(&mut self, name: &str, depth: usize) -> Result<(), GuestError> {
        if self.built_in.iter().any(|known| known == name) {
            return Ok(());
        }
        let failed = |hint| GuestError::Module { modules: self.modules.to_owned(), name: name.to_owned(), hint };
        if depth > DEPTH_MAX {
            return Err(failed("its dependencies go in circles"));
        }
        let Some(file) = self.files.get(name).cloned() else {
            return Err(failed("use a kernel with virtio over MMIO, vsock, ext4 and overlayfs"));
        };
        if self.order.contains(&file) {
            return Ok(());
        }
        let bytes = std::fs::read(&file).map_err(GuestError::file("read", &file))?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(failed("it is compressed: decompress the kernel's modules first"));
        }
        for dependency in depends(&bytes) {
            self.add(&dependency, depth + 1)?;
        }
        self.order.push(file);
        Ok(())
    }
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, rest) = name.split_once(".ko")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| stem.replace('-', "_"))
}

fn list(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), GuestError> {
    let entries = std::fs::read_dir(dir).map_err(GuestError::file("read", dir))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir {
            list(&path, files)?;
        } else if let Some(name) = module_name(&path).filter(|_| files.len() < FILES_MAX) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `.modinfo` is text, `name=value` with a zero byte behind each; nothing else in a module looks like this.
fn depends(module: &[u8]) -> Vec<String> {
    const NAME: &[u8] = b"\0depends=";
    let Some(at) = module.windows(NAME.len()).position(|window| window == NAME) else { return Vec::new() };
    let value = &module[at + NAME.len()..];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let names = String::from_utf8_lossy(&value[..end]);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(dir: &Path, name: &str, depends: &str) {
        let path = dir.join("kernel/drivers").join(format!("{name}.ko"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("\x7fELF code\0license=GPL\0depends={depends}\0intree=Y\0")).unwrap();
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for (name, depends) in [
            ("virtio", ""),
            ("virtio_ring", "virtio"),
            ("virtio_mmio", "virtio,virtio_ring"),
            ("virtio_blk", "virtio,virtio_ring"),
            ("net-failover", ""),
            ("virtio_net", "net-failover,virtio"),
            ("vsock", ""),
            ("vmw_vsock_virtio_transport", "vsock,virtio_ring"),
            ("overlay", ""),
            ("unrelated", "virtio"),
        ] {
            module(dir, name, depends);
        }
        std::fs::write(dir.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        let names: Vec<String> = needed(dir).unwrap().iter().filter_map(|path| module_name(path)).collect();
        let expect = "virtio virtio_ring virtio_mmio virtio_blk net_failover virtio_net vsock vmw_vsock_virtio_transport overlay";
        assert_eq!(names.join(" "), expect);
    }

    #[test]
    fn what_is_missing_compressed_or_circular_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        module(dir, "virtio_mmio", "virtio_mmio");
        assert!(needed(dir).unwrap_err().to_string().contains("circles"));
        std::fs::write(dir.join("kernel/drivers/virtio_mmio.ko.zst"), "(\u{b5}/\u{fd}").unwrap();
        std::fs::remove_file(dir.join("kernel/drivers/virtio_mmio.ko")).unwrap();
        assert!(needed(dir).unwrap_err().to_string().contains("compressed"));
        module(dir, "virtio_mmio", "gone");
        std::fs::remove_file(dir.join("kernel/drivers/virtio_mmio.ko.zst")).unwrap();
        assert!(needed(dir).unwrap_err().to_string().contains("`gone`"));
    }
}
