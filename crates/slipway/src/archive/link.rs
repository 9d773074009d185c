//! Where a symbolic link of the tree leads. Decided by the words alone, so that the answer does not depend on what
//! else lies on this machine.

use std::path::{Component, Path, PathBuf};

/// The target of the link at `path` (relative to `root`, which is absolute), relative to the link's directory.
/// None when it leads out of `root`.
pub(super) fn inside(root: &Path, path: &Path, target: &Path) -> Option<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    if target.is_absolute() {
        let within = target.strip_prefix(root).ok()?;
        normal_depth(Path::new(""), within)?;
        let up: PathBuf = directory.components().map(|_| "..").collect();
        let relative = up.join(within);
        // A link to the tree's root from the root itself.
        return Some(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative });
    }
    normal_depth(directory, target)?;
    Some(collapsed(target))
}

/// Without `name/..`: who unpacks refuses a way back, because `name` could be a link to elsewhere.
fn collapsed(target: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for component in target.components().filter(|component| *component != Component::CurDir) {
        match (component, parts.last()) {
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            _ => parts.push(component),
        }
    }
    if parts.is_empty() { PathBuf::from(".") } else { parts.into_iter().collect() }
}

/// How deep `target` ends when it starts at `directory`; None when it climbs above the root on the way.
fn normal_depth(directory: &Path, target: &Path) -> Option<usize> {
    let mut depth = directory.components().count();
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.checked_sub(1)?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_that_stay_inside() {
        let root = Path::new("/srv/app");
        for (path, target, expected) in [
            ("a", "b", Some("b")),
            ("d/a", "../b", Some("../b")),
            ("d/a", "/srv/app/x/b", Some("../x/b")),
            ("a", "/srv/app", Some(".")),
            ("current", "releases/../v2", Some("v2")),
            ("d/a", "x/../../b", Some("../b")),
            ("d/a", "./x/..", Some(".")),
            ("a", "../app/b", None),
            ("a", "../b", None),
            ("d/a", "../../b", None),
            ("a", "/etc/passwd", None),
            ("a", "/srv/app/../other", None),
            ("a", "/srv/application", None),
        ] {
            let found = inside(root, Path::new(path), Path::new(target));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{path} -> {target}");
        }
    }
}
