//! Which directories a bundler wrote: there each script and style sheet is named by its contents.
//!
//! One name alone often does not show it: of the hashes of Vite a quarter has no digit, and those of esbuild look like words
//! in capitals. A directory in which most scripts and style sheets end alike does.

use std::collections::{HashMap, HashSet};

/// Of Rollup, so of Vite, and of esbuild, so of Angular.
const HASH_CHARACTERS: usize = 8;
/// One file alone may be a person's.
const HASHED_MIN: usize = 2;

/// The directories of a site that a bundler wrote.
#[derive(Debug)]
pub(crate) struct Bundles(HashSet<Box<str>>);

impl Bundles {
    /// Those in which at least two scripts or style sheets, and at least half of them, have a hash in their names.
    pub(crate) fn among<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut counted: HashMap<&str, (usize, usize)> = HashMap::new();
        for (directory, stems) in names.filter_map(code) {
            let (hashed, all) = counted.entry(directory).or_default();
            *hashed += usize::from(has_hash(stems, directory));
            *all += 1;
        }
        let is_bundle = |(hashed, all): (usize, usize)| hashed >= HASHED_MIN && 2 * hashed >= all;
        Self(counted.into_iter().filter(|(_, counts)| is_bundle(*counts)).map(|(name, _)| name.into()).collect())
    }

    /// Whether the file `name` is one that a bundler named by its contents.
    pub(crate) fn name(&self, name: &str) -> bool {
        code(name).is_some_and(|(directory, stems)| self.0.contains(directory) && has_hash(stems, directory))
    }
}

/// Directory and name of a script or style sheet, without the ending.
fn code(name: &str) -> Option<(&str, &str)> {
    let (directory, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (stems, extension) = file.rsplit_once('.')?;
    matches!(extension, "js" | "mjs" | "css").then_some((directory, stems))
}

/// `name-<hash>`, `name.<hash>` or `name.<hash>.more`; Nuxt leaves out the name.
fn has_hash(stems: &str, directory: &str) -> bool {
    let nuxt = directory == "_nuxt" || directory.ends_with("/_nuxt");
    stems.split('.').enumerate().any(|(index, stem)| {
        let tail = stem.len().checked_sub(HASH_CHARACTERS + 1).and_then(|at| stem.get(at..)?.strip_prefix('-'));
        ((index > 0 || nuxt) && is_hash(stem)) || tail.is_some_and(is_hash)
    })
}

/// Nearly every hash of that alphabet has a capital; what people write has seldom one.
fn is_hash(text: &str) -> bool {
    text.len() == HASH_CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of `names` that are taken for a bundler's.
    fn found<'n>(names: &[&'n str]) -> Vec<&'n str> {
        let bundles = Bundles::among(names.iter().copied());
        names.iter().copied().filter(|name| bundles.name(name)).collect()
    }

    #[test]
    fn hashes_without_digits_are_known_by_their_neighbours() {
        let vite = ["assets/index-DEKfSKWO.js", "assets/index-n_ryQ3BS.css"];
        assert_eq!(found(&vite), vite);
        let angular = ["chunk-QXABMDAA.js", "main-TMBSGUEQ.js", "styles-INURTSOA.css"];
        assert_eq!(found(&angular), angular);
        let vitepress = ["assets/app.DEKfSKWO.js", "assets/index.md.abcDefgh.lean.js", "assets/style.Ctgqabcd.css"];
        assert_eq!(found(&vitepress), vitepress);
        let nuxt = ["_nuxt/DEKfSKWO.js", "_nuxt/entry.CabcdefG.css"];
        assert_eq!(found(&nuxt), nuxt);
    }

    #[test]
    fn what_people_name_is_ordinary() {
        assert_eq!(found(&["js/chart-DarkMode.js", "js/app.js", "js/vendor.js"]), [""; 0]);
        assert_eq!(found(&["js/chart-DarkMode.js"]), [""; 0]);
        assert_eq!(found(&["js/bootstrap-carousel.js", "js/bootstrap-dropdown.js", "css/app-20240101.css"]), [""; 0]);
        let beside = ["assets/index-DEKfSKWO.js", "assets/index-n_ryQ3BS.css", "assets/plain.js", "logo-DarkMode.svg"];
        assert_eq!(found(&beside), beside[..2]);
    }
}
