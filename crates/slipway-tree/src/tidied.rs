//! What stays of a written tree.

use crate::is_real_directory;
use slipway_types::agent::Tidy;
use std::fs;
use std::io;
use std::path::Path;

/// Removes what is not to stay. Nothing else may change the tree meanwhile.
///
/// # Errors
/// When something cannot be removed; the tree is no layer then.
pub fn tidy(tree: &Path, tidy: &Tidy) -> io::Result<()> {
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if !tidy.keep.iter().any(|name| entry.file_name() == name.as_str()) {
            remove(&entry.path())?;
        }
    }
    // Whoever wrote the tree chose what stands at these names: a link on the way must lead nowhere.
    for path in &tidy.remove {
        if is_real_directory(tree, Path::new(path)) {
            remove(&tree.join(path))?;
        }
    }
    Ok(())
}

/// Removes a file or a tree without following links.
fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_named_stays_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("yarn")).unwrap();
        let tree = dir.path();
        for path in ["app/node_modules/a", "tmp/npm/x", "home/app/.npm/_cacache", "home/app/keep", "etc"] {
            fs::create_dir_all(tree.join(path)).unwrap();
        }
        fs::write(tree.join("file"), "").unwrap();
        symlink(outside.path(), tree.join("home/app/.cache")).unwrap();
        symlink(outside.path(), tree.join("link")).unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let order = Tidy { keep: words(&["app", "home"]), remove: words(&["home/app/.npm", "home/app/.cache/yarn"]) };
        super::tidy(tree, &order).unwrap();
        let kept = |path: &str| tree.join(path).symlink_metadata().is_ok();
        assert!(kept("app/node_modules/a") && kept("home/app/keep"));
        assert!(!kept("tmp") && !kept("etc") && !kept("file") && !kept("link") && !kept("home/app/.npm"));
        assert!(outside.path().join("yarn").exists(), "a link was followed");
    }
}
