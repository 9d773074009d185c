//! Archives as an attacker or a careless tool would make them, each refused by its own code.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use tar::{Builder, Header};

const ROOMY: u64 = 1 << 20;

struct Entry(EntryType, &'static [u8], &'static [u8], usize);

fn file(path: &'static str) -> Entry {
    Entry(EntryType::Regular, path.as_bytes(), b"", 3)
}

fn dir(path: &'static str) -> Entry {
    Entry(EntryType::Directory, path.as_bytes(), b"", 0)
}

fn link(path: &'static str, target: &'static str) -> Entry {
    Entry(EntryType::Symlink, path.as_bytes(), target.as_bytes(), 0)
}

fn hard(path: &'static str, target: &'static str) -> Entry {
    Entry(EntryType::Link, path.as_bytes(), target.as_bytes(), 0)
}

fn special(kind: EntryType) -> Entry {
    Entry(kind, b"odd", b"", 0)
}

/// Headers are filled by hand: the library's own setters refuse what is tried here.
fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for Entry(kind, path, target, size) in entries {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path);
        old.linkname[..target.len()].copy_from_slice(target);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(*size as u64);
        header.set_cksum();
        builder.append(&header, vec![b'x'; *size].as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn check_bytes(bytes: &[u8]) -> Result<ArchiveFacts, ArchiveRefusal> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    check(file.path(), ROOMY)
}

fn code(entries: &[Entry]) -> &'static str {
    check_bytes(&gzip(&tar(entries))).map_or_else(|refusal| refusal.code(), |_| "accepted")
}

#[test]
fn an_ordinary_tree_is_accepted() {
    let entries = [
        dir("./"),
        file("./package.json"),
        dir("./app"),
        dir("./app"),
        file("./app/page.tsx"),
        link("./app/up", "../package.json"),
        link("./gone", "not/there"),
        link("./self", "."),
    ];
    let facts = check_bytes(&gzip(&tar(&entries))).unwrap();
    assert_eq!(facts, ArchiveFacts { files: 5, bytes: 6 });
}

#[test]
fn long_names_are_read_as_unpacking_will() {
    let long = format!("{}/file", "directory".repeat(20));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    assert!(check_bytes(&gzip(&builder.into_inner().unwrap())).is_ok());
}

#[test]
fn what_leaves_the_tree_is_refused() {
    for (entries, expected) in [
        (vec![file("../x")], "upload-path-outside"),
        (vec![file("a/../../x")], "upload-path-outside"),
        (vec![file("/etc/passwd")], "upload-path-outside"),
        (vec![file("a"), link("b", "/etc/passwd")], "upload-link-outside"),
        (vec![file("a"), link("b", "../x")], "upload-link-outside"),
        (vec![file("a/b"), link("a/c", "../../x")], "upload-link-outside"),
        // Only by following `out`, which is the tree itself, does `..` lead out.
        (vec![file("d/e/f"), link("d/e/out", "../.."), link("trick", "d/e/out/..")], "upload-link-outside"),
        (vec![file("a"), hard("b", "a")], "upload-special-file"),
        (vec![file("a"), hard("b", "/etc/shadow")], "upload-special-file"),
        (vec![link("d", "."), file("d/x")], "upload-path-through-link"),
        (vec![file("d/x"), link("d", ".")], "upload-duplicate-path"),
        (vec![file("a"), link("b", "c"), link("c", "b")], "upload-link-loop"),
    ] {
        assert_eq!(code(&entries), expected, "{:?}", entries.last().map(|e| String::from_utf8_lossy(e.1)));
    }
}

#[test]
fn what_is_no_source_is_refused() {
    for (entries, expected) in [
        (vec![special(EntryType::Char)], "upload-special-file"),
        (vec![special(EntryType::Block)], "upload-special-file"),
        (vec![special(EntryType::Fifo)], "upload-special-file"),
        (vec![file("a"), file("./a")], "upload-duplicate-path"),
        (vec![file("a"), file("a/b")], "upload-duplicate-path"),
        (vec![dir("a")], "upload-empty"),
        (vec![], "upload-empty"),
        (vec![Entry(EntryType::Regular, b"a\nb", b"", 0)], "upload-name"),
        (vec![Entry(EntryType::Regular, b"\xff\xfe", b"", 0)], "upload-name"),
        (vec![Entry(EntryType::Regular, b"big", b"", ROOMY as usize + 1)], "upload-too-large"),
    ] {
        assert_eq!(code(&entries), expected, "{:?}", entries.last().map(|e| String::from_utf8_lossy(e.1)));
    }
}

#[test]
fn what_readers_would_read_differently_is_refused() {
    let good = tar(&[file("a")]);
    let evil = tar(&[file("../b")]);
    let two_members = [gzip(&good), gzip(&evil)].concat();
    let after_the_end = gzip(&[good.clone(), evil].concat());
    let cut = gzip(&good[..good.len() - 1024 - 511]);
    let half = &gzip(&good)[..30];
    for bytes in [b"no archive".as_slice(), b"", &two_members, &after_the_end, &cut, half] {
        assert_eq!(check_bytes(bytes).unwrap_err().code(), "upload-not-an-archive");
    }
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("size", b"1".as_slice())]).unwrap();
    let pax = [builder.into_inner().unwrap()[..1024].to_vec(), good].concat();
    assert_eq!(check_bytes(&gzip(&pax)).unwrap_err().code(), "upload-not-an-archive");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let mut header = Header::new_gnu();
    header.set_size(ROOMY * 1000);
    header.set_path("zeros").unwrap();
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(vec![0; 4 << 20]);
    assert_eq!(check_bytes(&gzip(&bytes)).unwrap_err().code(), "upload-too-large");
}
