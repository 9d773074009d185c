//! The base system.

use crate::bench::{base, layers_dir};
use slipway_layers::image;
use std::os::unix::fs::MetadataExt;

#[tokio::test]
async fn the_base_system_holds_what_builds_need() {
    let layer = base().await;
    let image = layers_dir().join(format!("{layer}.img"));
    let at = tempfile::tempdir().unwrap();
    let mounted = image::mount(&image, at.path(), image::ReadOnly).unwrap();
    let root = mounted.upper();
    let passwd = std::fs::read_to_string(root.join("etc/passwd")).unwrap();
    assert!(passwd.contains("app:x:10001:10001:app:/home/app:/bin/sh"), "{passwd}");
    for program in ["usr/bin/git", "usr/bin/g++", "usr/bin/make", "usr/bin/python3", "bin/sh"] {
        assert!(root.join(program).symlink_metadata().is_ok(), "{program}");
    }
    for (directory, owner) in [("app", 10001), ("home/app", 10001), ("run/slipway", 0)] {
        assert_eq!(std::fs::metadata(root.join(directory)).unwrap().uid(), owner, "{directory}");
    }
    assert!(!root.join("usr/share/man/man1").exists());
}
