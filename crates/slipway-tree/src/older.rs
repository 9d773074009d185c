//! The tree of an earlier install, made ready to be installed on.
//!
//! It is of use only where it holds nothing but what package managers keep: whatever else an install has written might hide or
//! replace a file of the newer source.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories outside of those of package managers: a layer has a handful, one for each package of a workspace.
const DIRECTORIES_MAX: usize = 20_000;

/// What package managers keep, each in the directory that it installs for.
const KEPT_DIRECTORIES: [&str; 3] = ["node_modules", ".yarn/cache", ".yarn/unplugged"];
const KEPT_FILES: [&str; 2] = [".pnp.cjs", ".pnp.loader.mjs"];
/// Written by the tree's own scripts at every install, and so removed before it.
const WRITTEN_AGAIN: [&str; 3] = [".svelte-kit", ".nuxt", ".react-router"];
/// By these Yarn knows whose scripts need not run again. What they wrote may be removed here, so all of them must.
const FORGOTTEN: [&str; 2] = [".yarn/install-state.gz", ".yarn/build-state.yml"];

/// Why an older tree is of no use.
#[derive(Debug, thiserror::Error)]
pub enum OlderTreeError {
    #[error("{0}")]
    Unusable(String),
    #[error("cannot look through the older tree: {0}")]
    Look(#[from] io::Error),
}

/// Removes what is written again, and refuses what no package manager keeps. `app` is what the install before wrote, `source` the
/// tree of the newer source.
///
/// # Errors
/// When the tree is of no use. It may be half made ready then.
pub fn make_ready(app: &Path, source: &Path) -> Result<(), OlderTreeError> {
    let mut directories = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(app.join(&directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.as_os_str().is_empty() => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let relative = directory.join(entry.file_name());
            let is_directory = entry.file_type()?.is_dir();
            let is_one_of = |names: &[&str]| names.iter().any(|name| relative.ends_with(name));
            if is_directory && is_one_of(&WRITTEN_AGAIN) && is_absent(&source.join(&relative)) {
                fs::remove_dir_all(entry.path())?;
            } else if is_file(&entry.path()) && is_one_of(&FORGOTTEN) {
                fs::remove_file(entry.path())?;
            } else if is_one_of(if is_directory { &KEPT_DIRECTORIES } else { &KEPT_FILES }) {
                if !is_absent(&source.join(&relative)) {
                    return Err(OlderTreeError::Unusable(format!("the source has its own `{}`", relative.display())));
                }
            } else if is_directory && !hides_what_is_below(&entry.path()) && seen < DIRECTORIES_MAX {
                if fs::symlink_metadata(source.join(&relative)).is_ok_and(|found| !found.is_dir()) {
                    // An empty one would hide it too; through a link one would look elsewhere.
                    let name = relative.display();
                    return Err(OlderTreeError::Unusable(format!("the source has no directory `{name}` any more")));
                }
                seen += 1;
                directories.push(relative);
            } else if is_file(&entry.path()) && is_file(&source.join(&relative)) {
                // Changed by the install before; this one meets it as the source has it.
                fs::remove_file(entry.path())?;
            } else {
                return Err(OlderTreeError::Unusable(format!("the install before wrote `{}`", relative.display())));
            }
        }
    }
    Ok(())
}

/// Whether nothing at all stands there.
pub fn is_absent(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// A directory that was removed and made again: overlayfs marks it.
fn hides_what_is_below(directory: &Path) -> bool {
    let mut value = [0; 4];
    rustix::fs::lgetxattr(directory, c"trusted.overlay.opaque", &mut value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn check(written: &[&str], source: &[&str]) -> Result<(), String> {
        let app = tree(written);
        let result = make_ready(app.path(), tree(source).path()).map_err(|error| error.to_string());
        for name in WRITTEN_AGAIN.iter().chain(&FORGOTTEN) {
            assert!(result.is_err() || is_absent(&app.path().join(name)), "{name}");
        }
        result
    }

    #[test]
    fn what_package_managers_keep_is_of_use() {
        let kept = ["node_modules/a/x", "packages/b/node_modules/c/y", ".yarn/cache/z", ".pnp.cjs", "web/.pnp.cjs"];
        check(&kept, &["package.json", "packages/b/package.json", ".yarn/releases/yarn.cjs"]).unwrap();
        check(&["node_modules/a/x", ".svelte-kit/tsconfig.json", ".nuxt/x"], &["package.json"]).unwrap();
        check(&[".yarn/install-state.gz", ".yarn/build-state.yml", "node_modules/a/x"], &[]).unwrap();
        check(&[], &["package.json"]).unwrap();
        // The install before changed it: it is removed, and the source's own counts.
        check(&["package.json"], &["package.json"]).unwrap();
    }

    #[test]
    fn whatever_else_was_written_is_refused() {
        for (written, source, why) in [
            ("package-lock.json", "package.json", "wrote `package-lock.json`"),
            ("src/a", "src/a/b", "wrote `src/a`"),
            ("public/worker.js", "package.json", "wrote `public/worker.js`"),
            ("node_modules/a/x", "node_modules/a/y", "has its own `node_modules`"),
            (".yarn/cache/a.zip", ".yarn/cache/b.zip", "has its own `.yarn/cache`"),
            (".nuxt/x", ".nuxt/y", "wrote `.nuxt/x`"),
            (".yarn/other", "package.json", "wrote `.yarn/other`"),
        ] {
            let error = check(&[written], &[source]).unwrap_err();
            assert!(error.contains(why), "{written}: {error}");
        }
    }

    #[test]
    fn a_directory_that_is_another_thing_in_the_source_is_refused() {
        let app = tree(&["web/node_modules/x", "api/.nuxt/x"]);
        make_ready(app.path(), tree(&["web/package.json", "api/package.json"]).path()).unwrap();
        let error = make_ready(app.path(), tree(&["api"]).path()).unwrap_err().to_string();
        assert!(error.contains("no directory `api`"), "{error}");
        let linked = tree(&["elsewhere/package.json"]);
        std::os::unix::fs::symlink("elsewhere", linked.path().join("web")).unwrap();
        let error = make_ready(app.path(), linked.path()).unwrap_err().to_string();
        assert!(error.contains("no directory `web`"), "{error}");
    }

    #[test]
    fn a_removed_file_and_a_replaced_directory_are_refused() {
        let app = tree(&["src/node_modules/x"]);
        rustix::fs::setxattr(app.path().join("src"), c"trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())
            .unwrap();
        assert!(make_ready(app.path(), tree(&[]).path()).is_err());
        let app = tree(&["node_modules/x"]);
        std::os::unix::fs::symlink("/", app.path().join("link")).unwrap();
        assert!(make_ready(app.path(), tree(&[]).path()).is_err());
    }
}
