//! A source tree as seen from one directory of it.

use slipway_types::TreeListing;

/// A [`TreeListing`] and a directory in it; paths given to its methods are relative to that directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'t> {
    listing: &'t TreeListing,
    /// Without a slash at either end; empty is the whole tree.
    directory: &'t str,
}

impl<'t> Tree<'t> {
    pub(crate) fn new(listing: &'t TreeListing, directory: &'t str) -> Self {
        Self { listing, directory }
    }

    pub(crate) fn directory(&self) -> &'t str {
        self.directory
    }

    pub(crate) fn listing(&self) -> &'t TreeListing {
        self.listing
    }

    /// The whole tree.
    pub(crate) fn top(&self) -> Self {
        Self { listing: self.listing, directory: "" }
    }

    /// This directory and the ones above it, nearest first, the top last.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = Tree<'t>> + use<'t> {
        let listing = self.listing;
        std::iter::successors(Some(self.directory), |directory| parent(directory))
            .map(move |directory| Tree { listing, directory })
    }

    /// Path of `name` relative to the top.
    pub(crate) fn path(&self, name: &str) -> String {
        join(self.directory, name)
    }

    /// By a search of logarithmic time: the listing is sorted.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.listing.paths.binary_search(&self.path(name)).is_ok()
    }

    pub(crate) fn has_directory(&self, name: &str) -> bool {
        !paths_below(self.listing, &self.path(name)).is_empty()
    }

    /// `path` as seen from this directory; None when it lies elsewhere.
    pub(crate) fn relative<'p>(&self, path: &'p str) -> Option<&'p str> {
        match self.directory {
            "" => Some(path),
            directory if path == directory => Some(""),
            directory => path.strip_prefix(directory)?.strip_prefix('/'),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'t str> {
        self.listing.texts.get(&self.path(name)).map(String::as_str)
    }

    /// Paths of all files below this directory, relative to the top.
    pub(crate) fn files(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        let paths = paths_below(self.listing, self.directory);
        paths.iter().map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }
}

/// The part of a sorted listing that lies in `directory`: one run, because all of it begins alike.
fn paths_below<'t>(listing: &'t TreeListing, directory: &str) -> &'t [String] {
    if directory.is_empty() {
        return &listing.paths;
    }
    let prefix = format!("{directory}/");
    let start = listing.paths.partition_point(|path| *path < prefix);
    let rest = &listing.paths[start..];
    &rest[..rest.partition_point(|path| path.starts_with(&prefix))]
}

/// The directory above; None above the top.
pub(crate) fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    Some(path.rsplit_once('/').map_or("", |(directory, _)| directory))
}

/// `relative` as seen from `directory`, without `.` and `..`; None when it leads out of the tree.
pub(crate) fn resolve(directory: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// `name` below `directory`, which may be empty.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A listing of files with their texts.
    pub(crate) fn listing(files: &[(&str, &str)]) -> TreeListing {
        let mut listing = TreeListing::default();
        for (path, text) in files {
            listing.paths.push((*path).to_owned());
            listing.texts.insert((*path).to_owned(), (*text).to_owned());
        }
        listing.paths.sort();
        listing
    }

    #[test]
    fn a_directory_sees_its_own_files() {
        let listing = listing(&[("package.json", "top"), ("apps/web/package.json", "web"), ("apps/web2/x", "")]);
        let web = Tree::new(&listing, "apps/web");
        assert!(web.has("package.json"));
        assert_eq!(web.text("package.json"), Some("web"));
        assert_eq!(web.files().collect::<Vec<_>>(), ["apps/web/package.json"]);
        assert_eq!(web.upwards().map(|tree| tree.directory()).collect::<Vec<_>>(), ["apps/web", "apps", ""]);
        assert!(Tree::new(&listing, "apps/none").is_empty());
    }

    #[test]
    fn relative_paths_stay_in_the_tree() {
        assert_eq!(resolve("apps/web", "../../lib/./x"), Some("lib/x".into()));
        assert_eq!(resolve("apps", "../.."), None);
        assert_eq!(resolve("", "./a"), Some("a".into()));
    }
}
