//! Trees with everything that a file system can hold, and what is seen of a tree.

use crate::setup::noise;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::Permissions;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

const ENTRIES: u64 = 160;
const DEPTH_MAX: usize = 40;

/// Numbers that look random; the same seed grows the same tree.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        let mut bytes = [0; 16];
        noise(self.0, &mut bytes);
        self.0 = u64::from_le_bytes(bytes[8..].try_into().unwrap());
        (self.0 >> 11) % below
    }
}

/// Fills a directory of the file system of an image.
pub(crate) fn grow(root: &Path, seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut all: Vec<PathBuf> = Vec::new();
    for number in 0..ENTRIES {
        let parent = directories[dice.roll(directories.len() as u64) as usize].clone();
        let path = parent.join(name(&mut dice, number));
        match dice.roll(11) {
            0..3 => {
                std::fs::create_dir(&path).unwrap();
                if dice.roll(3) == 0 {
                    set_xattr(&path, "trusted.overlay.opaque", b"y");
                }
                if path.components().count() < root.components().count() + DEPTH_MAX {
                    directories.push(path.clone());
                }
            }
            3..7 => {
                write_file(&path, &mut dice);
                files.push(path.clone());
            }
            7 if !files.is_empty() => {
                std::fs::hard_link(&files[dice.roll(files.len() as u64) as usize], &path).unwrap();
            }
            8 => {
                let target = OsString::from_vec(vec![b'x'; 1 + dice.roll(300) as usize]);
                symlink(target, &path).unwrap();
            }
            9 => make_node(&path, FileType::CharacterDevice),
            _ => make_node(&path, FileType::Fifo),
        }
        all.push(path);
    }
    deep(root, &mut all);
    // Children first, since they change the times of their directory.
    for path in all.iter().rev().chain([&root.to_owned()]) {
        decorate(path, &mut dice);
    }
}

/// Short and long, plain and odd. The number keeps it apart from the others.
fn name(dice: &mut Dice, number: u64) -> OsString {
    let mut name = number.to_string().into_bytes();
    match dice.roll(7) {
        0 => name.extend_from_slice(b"\n new\tline"),
        1 => name.extend_from_slice(&[0xff, 0xfe, 0x80]),
        2 => name.resize(255, b'n'),
        3 => name.extend_from_slice("äß€𝕏".as_bytes()),
        4 => name.splice(0..0, *b".wh.").for_each(drop),
        5 => name.splice(0..0, *b"-rf ").for_each(drop),
        _ => {}
    }
    OsString::from_vec(name)
}

fn write_file(path: &Path, dice: &mut Dice) {
    let file = std::fs::File::create(path).unwrap();
    match dice.roll(4) {
        0 => {}
        1 => {
            // A few islands in a large hole.
            file.set_len(dice.roll(20 << 20)).unwrap();
            for _ in 0..3 {
                file.write_all_at(b"island", dice.roll(10 << 20)).unwrap();
            }
        }
        _ => {
            let mut content = vec![0; dice.roll(200_000) as usize];
            noise(dice.roll(u64::MAX), &mut content);
            file.write_all_at(&content, 0).unwrap();
        }
    }
}

/// A whiteout is a character device 0/0.
fn make_node(path: &Path, kind: FileType) {
    rustix::fs::mknodat(CWD, path, kind, Mode::empty(), makedev(0, 0)).unwrap();
}

fn deep(root: &Path, all: &mut Vec<PathBuf>) {
    let mut path = root.join("deep");
    for _ in 0..120 {
        std::fs::create_dir(&path).unwrap();
        all.push(path.clone());
        path.push("d");
    }
}

fn decorate(path: &Path, dice: &mut Dice) {
    let kind = std::fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_file() || kind.is_dir() {
        if dice.roll(3) == 0 {
            let value = vec![b'v'; dice.roll(1500) as usize];
            set_xattr(path, "user.value", &value);
            set_xattr(path, "trusted.note", b"\0\xff");
        }
        if dice.roll(12) == 0 {
            // CAP_NET_BIND_SERVICE, permitted and effective, version 2.
            let mut capability = [0_u8; 20];
            capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
            set_xattr(path, "security.capability", &capability);
        }
    }
    lchown(path, Some(dice.roll(70_000) as u32), Some(dice.roll(70_000) as u32)).unwrap();
    if !kind.is_symlink() {
        std::fs::set_permissions(path, Permissions::from_mode(dice.roll(0o10000) as u32)).unwrap();
    }
    let time =
        Timespec { tv_sec: dice.roll(4_000_000_000) as i64 - 1_000_000_000, tv_nsec: dice.roll(1_000_000_000) as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// All that is seen of one name, but its inode number, which [`Seen::links`] stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    device: u64,
    bytes: u64,
    allocated: u64,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a file its digest, of a symbolic link its target.
    content: Vec<u8>,
    nlink: u64,
    /// The first name in the tree of the same inode.
    links: Vec<u8>,
}

/// By path below the root.
pub(crate) fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let (mut seen, mut inodes) = (BTreeMap::new(), BTreeMap::new());
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_owned();
        if metadata.is_dir() {
            let mut children: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            children.sort();
            waiting.extend(children);
        }
        let links = inodes.entry(metadata.ino()).or_insert_with(|| name.clone()).clone();
        seen.insert(name, see(&path, &metadata, links));
    }
    seen
}

fn see(path: &Path, metadata: &std::fs::Metadata, links: Vec<u8>) -> Seen {
    let kind = metadata.file_type();
    let content = match () {
        () if kind.is_file() => blake3::hash(&std::fs::read(path).unwrap()).as_bytes().to_vec(),
        () if kind.is_symlink() => std::fs::read_link(path).unwrap().into_os_string().into_vec(),
        () => Vec::new(),
    };
    assert!(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_char_device() || kind.is_fifo());
    Seen {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        bytes: metadata.size(),
        allocated: metadata.blocks(),
        xattrs: xattrs(path),
        content,
        nlink: metadata.nlink(),
        links,
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 * 1024];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, CString::new(name).unwrap().as_c_str(), &mut value).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}
