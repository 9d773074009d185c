use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn archive(root: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&Tree::list(root).unwrap(), &mut bytes, u64::MAX).unwrap();
    bytes
}

/// Path → what it is, of all entries but directories.
fn contents(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let what = match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Symlink => format!("-> {}", entry.link_name().unwrap().unwrap().display()),
            _ => {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                format!("{:o} {text}", entry.header().mode().unwrap())
            }
        };
        assert!(found.insert(path, what).is_none());
    }
    found
}

fn paths(root: &Path) -> Vec<String> {
    contents(&archive(root)).into_keys().collect()
}

#[test]
fn ignore_files_decide_what_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, text) in [
        (".gitignore", "dist/\n*.log\n"),
        (".env.example", "A=1"),
        (".slipwayignore", "docs\n!kept.log\n"),
        ("a.txt", "a"),
        ("a.log", "x"),
        ("kept.log", "kept"),
        ("dist/out.js", "x"),
        ("docs/page.md", "x"),
        ("app/.gitignore", "secret.txt\n"),
        ("app/secret.txt", "x"),
        ("app/page.tsx", "x"),
        ("node_modules/x/index.js", "x"),
        ("packages/b/node_modules/y/index.js", "x"),
        ("packages/b/index.js", "x"),
        (".git/config", "x"),
    ] {
        put(root, path, text);
    }
    let expected = [
        ".env.example",
        ".gitignore",
        ".slipwayignore",
        "a.txt",
        "app/.gitignore",
        "app/page.tsx",
        "kept.log",
        "packages/b/index.js",
    ];
    assert_eq!(paths(root), expected);
}

#[test]
fn the_repository_above_counts_and_nothing_above_it() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), ".gitignore", "b.txt\n");
    put(dir.path(), "repo/.gitignore", "*.tmp\n");
    put(dir.path(), "repo/site/a.txt", "a");
    put(dir.path(), "repo/site/b.txt", "b");
    put(dir.path(), "repo/site/c.tmp", "c");
    let site = dir.path().join("repo/site");
    assert_eq!(paths(&site), ["a.txt", "b.txt", "c.tmp"]);
    fs::create_dir(dir.path().join("repo/.git")).unwrap();
    assert_eq!(paths(&site), ["a.txt", "b.txt"]);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for path in ["z.txt", "a/b.txt", "a.txt"] {
        put(first.path(), path, path);
    }
    for path in ["a.txt", "a/b.txt", "z.txt"] {
        put(second.path(), path, path);
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    File::options().write(true).open(second.path().join("a.txt")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(second.path().join("z.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(archive(first.path()), archive(second.path()));
    put(second.path(), "a.txt", "other");
    assert_ne!(archive(first.path()), archive(second.path()));
}

#[test]
fn links_and_modes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "bin/run.sh", "#!/bin/sh");
    fs::set_permissions(dir.path().join("bin/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("bin/run.sh", dir.path().join("run")).unwrap();
    symlink(dir.path().canonicalize().unwrap().join("bin"), dir.path().join("tools")).unwrap();
    symlink("missing", dir.path().join("dangling")).unwrap();
    let found = contents(&archive(dir.path()));
    let found: Vec<_> = found.iter().map(|(path, what)| (path.as_str(), what.as_str())).collect();
    assert_eq!(
        found,
        [("bin/run.sh", "755 #!/bin/sh"), ("dangling", "-> missing"), ("run", "-> bin/run.sh"), ("tools", "-> bin")]
    );
}

#[test]
fn a_long_path_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("{}/{}/file.txt", "a".repeat(120), "b".repeat(120));
    put(dir.path(), &path, "x");
    assert_eq!(paths(dir.path()), [path]);
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |root: &Path| Tree::list(root).unwrap_err().to_string();
    assert!(refusal(dir.path()).contains("nothing to upload"));
    put(dir.path(), "a", "x");
    assert!(refusal(&dir.path().join("a")).contains("is not a directory"));
    symlink("/etc/passwd", dir.path().join("p")).unwrap();
    assert_eq!(refusal(dir.path()), "the link `p` leads to `/etc/passwd`, which is not in the directory");
}

#[test]
fn more_than_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Does not compress: a linear congruential generator's high bytes.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..300_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    fs::write(dir.path().join("noise"), noise).unwrap();
    let tree = Tree::list(dir.path()).unwrap();
    let mut bytes = Vec::new();
    let refusal = write(&tree, &mut bytes, 100_000).unwrap_err();
    assert!(matches!(refusal, ArchiveError::TooLarge { bytes_max: 100_000 }), "{refusal}");
    assert!(bytes.len() <= 100_000);
}

#[test]
fn a_file_that_shrinks_meanwhile_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", "long text");
    let tree = Tree::list(dir.path()).unwrap();
    put(dir.path(), "a", "short");
    assert!(matches!(write(&tree, io::sink(), u64::MAX), Err(ArchiveError::Changed { .. })));
}
