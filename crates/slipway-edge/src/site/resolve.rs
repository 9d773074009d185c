//! Which file of a site answers a path.
//!
//! `/about` is `about.html`, or a redirect to `/about/` where that is a directory; `/about/` is `about/index.html`, or
//! `about.html`. A name is looked up as it is: nothing here knows of a disk.

use super::media_type;
use super::name::FileName;

/// Rules of the site, not files of it.
const HIDDEN: [&str; 2] = ["_redirects", "_headers"];
const INDEX: &str = "index.html";
/// Answers with 404 what is not there.
pub(crate) const NOT_FOUND_PAGE: &str = "404.html";

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The name of a file.
    File(String),
    /// A directory, asked for without its slash.
    Directory,
    Missing,
}

/// `exists` knows the names of the site's files.
pub(crate) fn resolve(asked: &FileName, exists: impl Fn(&str) -> bool) -> Resolved {
    let name = asked.name.as_str();
    let is_there = |name: &str| !HIDDEN.contains(&name) && exists(name);
    if name.is_empty() {
        return if is_there(INDEX) { Resolved::File(INDEX.to_owned()) } else { Resolved::Missing };
    }
    // `//x`, `/x//`: an address with an empty part is of no file, and must not become a redirect to another host.
    if name.split('/').any(str::is_empty) {
        return Resolved::Missing;
    }
    // The usual case, without building other names.
    if !asked.slash && is_there(name) {
        return Resolved::File(name.to_owned());
    }
    let (page, index) = (format!("{name}.html"), format!("{name}/{INDEX}"));
    match (asked.slash, is_there(&page), is_there(&index)) {
        (false, false, true) => Resolved::Directory,
        (true, _, true) => Resolved::File(index),
        (_, true, _) => Resolved::File(page),
        _ => Resolved::Missing,
    }
}

/// Whether a path that is no file may be a view of a single-page app. What ends like an asset is one that is missing:
/// a page in its place would be a script that does not parse.
pub(crate) fn is_navigation(asked: &FileName, accepts_html: bool) -> bool {
    match asked.extension() {
        None => true,
        Some(extension) => accepts_html && !media_type::is_asset(&extension),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &str) -> Resolved {
        let files =
            ["index.html", "about.html", "docs/index.html", "both.html", "both/index.html", "a b.txt", "_headers"];
        resolve(&FileName::of(path).unwrap(), |name| files.contains(&name))
    }

    #[test]
    fn clean_addresses_find_their_file() {
        let file = |name: &str| Resolved::File(name.to_owned());
        for (path, expected) in [
            ("/", file("index.html")),
            ("/index.html", file("index.html")),
            ("/index", file("index.html")),
            ("/about", file("about.html")),
            ("/about.html", file("about.html")),
            ("/about/", file("about.html")),
            ("/about.html/", Resolved::Missing),
            ("/docs", Resolved::Directory),
            ("/docs/", file("docs/index.html")),
            ("/docs/index", file("docs/index.html")),
            ("/both", file("both.html")),
            ("/both/", file("both/index.html")),
            ("/a%20b.txt", file("a b.txt")),
            ("/_headers", Resolved::Missing),
            ("/About", Resolved::Missing),
            ("//docs", Resolved::Missing),
            ("/docs//", Resolved::Missing),
            ("//", Resolved::Missing),
        ] {
            assert_eq!(resolved(path), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_asset_is_no_view() {
        for (path, accepts_html, expected) in [
            ("/users/7", false, true),
            ("/users/", true, true),
            ("/assets/x.js", false, false),
            ("/assets/x.js", true, false),
            ("/img/x.png", true, false),
            ("/users/john.doe", true, true),
            ("/users/john.doe", false, false),
            ("/old.html", true, true),
            ("/old.html", false, false),
        ] {
            let name = FileName::of(path).unwrap();
            assert_eq!(is_navigation(&name, accepts_html), expected, "{path} {accepts_html}");
        }
    }
}
