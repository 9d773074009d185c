//! From the path of a request to a name in a manifest. What cannot name a file is refused before any look-up.

use crate::percent;

/// A path of a request, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName {
    /// As in the manifest: without the first and the last slash.
    pub(crate) name: String,
    /// It asks for a directory. Also true for the root.
    pub(crate) slash: bool,
}

/// The path is no path of a file: a broken escape, an escaped slash, a backslash, a control character, `.` or `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath;

impl FileName {
    /// `path` is what stands between host and query.
    pub(crate) fn of(path: &str) -> Result<Self, BadPath> {
        let rest = path.strip_prefix('/').ok_or(BadPath)?;
        let (rest, slash) = match rest.strip_suffix('/') {
            // `//` is not the root.
            Some("") => return Ok(Self { name: "/".to_owned(), slash: true }),
            Some(rest) => (rest, true),
            None => (rest, rest.is_empty()),
        };
        let mut name = String::with_capacity(rest.len());
        for (index, segment) in rest.split('/').enumerate() {
            let segment = percent::decode(segment).ok_or(BadPath)?;
            if matches!(&*segment, "." | "..") || segment.contains(is_forbidden) {
                return Err(BadPath);
            }
            if index > 0 {
                name.push('/');
            }
            name.push_str(&segment);
        }
        Ok(Self { name, slash })
    }

    /// Of the last part, lower case and without the dot: `css`.
    pub(crate) fn extension(&self) -> Option<String> {
        extension(&self.name)
    }
}

/// As [`FileName::extension`]. A first dot makes no extension (`.well-known`).
pub(crate) fn extension(name: &str) -> Option<String> {
    let last = name.rsplit('/').next().unwrap_or_default();
    let (stem, extension) = last.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '/' | '\\') || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_what_climbs_is_refused() {
        for (path, expected) in [
            ("/", Some(("", true))),
            ("/a/b.html", Some(("a/b.html", false))),
            ("/a/", Some(("a", true))),
            ("/img/a%20b.png", Some(("img/a b.png", false))),
            ("/caf%C3%A9", Some(("café", false))),
            ("/...", Some(("...", false))),
            ("/a//b", Some(("a//b", false))),
            ("//evil.test", Some(("/evil.test", false))),
            ("/..", None),
            ("/a/../b", None),
            ("/a/%2e%2E/b", None),
            ("/./a", None),
            ("/a%2Fb", None),
            ("/a%5Cb", None),
            ("/a\\b", None),
            ("/a%00", None),
            ("/a%0a", None),
            ("/%", None),
            ("/%ff", None),
            ("*", None),
            ("", None),
        ] {
            let name = FileName::of(path).ok();
            assert_eq!(name.as_ref().map(|name| (name.name.as_str(), name.slash)), expected, "{path}");
        }
    }

    #[test]
    fn extensions_are_of_the_last_part() {
        for (name, expected) in [
            ("a.b/c", None),
            ("a/B.Min.JS", Some("js")),
            (".well-known", None),
            ("a/.nojekyll", None),
            ("a.", None),
            ("a.tar.gz", Some("gz")),
        ] {
            assert_eq!(extension(name).as_deref(), expected, "{name}");
        }
    }
}
