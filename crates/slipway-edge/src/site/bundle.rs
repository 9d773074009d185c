//! Which directories a bundler wrote: there each script and style sheet is named by its contents.
//!
//! One name alone often does not show it: of the hashes of Vite a quarter has no digit, and some of those of esbuild look
//! like words in capitals. A directory in which most scripts and style sheets end alike does. What reads like words
//! (`App.Settings.js`) is never a hash, whatever stands beside it.

use super::fingerprint;
use std::collections::HashMap;

/// Of Rollup, so of Vite, and of esbuild, so of Angular.
const HASH_CHARACTERS: usize = 8;
/// One file alone may be a person's.
const HASHED_MIN: usize = 2;

/// How a script or style sheet is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With a hash of esbuild that no word could be.
    Esbuild,
    Hashed,
    /// With capitals only: a hash beside one of esbuild, else a word.
    Capitals,
    Ordinary,
}

/// The scripts and style sheets of a directory.
#[derive(Debug, Default)]
struct Count {
    esbuild: usize,
    hashed: usize,
    capitals: usize,
    all: usize,
}

impl Count {
    fn add(&mut self, kind: Kind) {
        self.all += 1;
        match kind {
            Kind::Esbuild => self.esbuild += 1,
            Kind::Hashed => self.hashed += 1,
            Kind::Capitals => self.capitals += 1,
            Kind::Ordinary => {}
        }
    }

    /// At least two have a hash in their names, and at least half of them.
    fn bundle(&self) -> Option<Bundle> {
        let capitals_are_hashes = self.esbuild > 0;
        let hashed = self.esbuild + self.hashed + if capitals_are_hashes { self.capitals } else { 0 };
        (hashed >= HASHED_MIN && 2 * hashed >= self.all).then_some(Bundle { capitals_are_hashes })
    }
}

#[derive(Debug)]
struct Bundle {
    capitals_are_hashes: bool,
}

/// The directories of a site that a bundler wrote.
#[derive(Debug)]
pub(crate) struct Bundles(HashMap<Box<str>, Bundle>);

impl Bundles {
    pub(crate) fn among<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut counted: HashMap<&str, Count> = HashMap::new();
        for (directory, kind) in names.filter_map(kind) {
            counted.entry(directory).or_default().add(kind);
        }
        Self(counted.into_iter().filter_map(|(name, count)| Some((name.into(), count.bundle()?))).collect())
    }

    /// Whether the file `name` is one that a bundler named by its contents.
    pub(crate) fn name(&self, name: &str) -> bool {
        kind(name).is_some_and(|(directory, kind)| match (self.0.get(directory), kind) {
            (None, _) | (_, Kind::Ordinary) => false,
            (Some(bundle), Kind::Capitals) => bundle.capitals_are_hashes,
            (Some(_), Kind::Esbuild | Kind::Hashed) => true,
        })
    }
}

/// Of a script or style sheet, with its directory.
fn kind(name: &str) -> Option<(&str, Kind)> {
    let (directory, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (stems, extension) = file.rsplit_once('.')?;
    if !matches!(extension, "js" | "mjs" | "css") {
        return None;
    }
    let kind = match stems.rsplit_once('-') {
        Some((_, hash)) if fingerprint::is_base32(hash) => Kind::Esbuild,
        _ if fingerprint::is_in(name) || has_hash(stems, directory) => Kind::Hashed,
        Some((_, hash)) if hash.len() == HASH_CHARACTERS && hash.bytes().all(|b| b.is_ascii_uppercase()) => {
            Kind::Capitals
        }
        _ => Kind::Ordinary,
    };
    Some((directory, kind))
}

/// `name-<hash>`, `name.<hash>` or `name.<hash>.more`; Nuxt leaves out the name.
fn has_hash(stems: &str, directory: &str) -> bool {
    let nuxt = directory == "_nuxt" || directory.ends_with("/_nuxt");
    stems.split('.').enumerate().any(|(index, stem)| {
        let tail = stem.len().checked_sub(HASH_CHARACTERS + 1).and_then(|at| stem.get(at..)?.strip_prefix('-'));
        ((index > 0 || nuxt) && is_hash(stem)) || tail.is_some_and(is_hash)
    })
}

/// Nearly every hash of that alphabet has a capital; what people write has seldom one, and reads like words.
fn is_hash(text: &str) -> bool {
    text.len() == HASH_CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && !fingerprint::reads_like_words(text)
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
        let angular = ["chunk-QXABMDAA.js", "main-TMBSGUEQ.js", "polyfills-FFH2M3TL.js", "styles-INURTSOA.css"];
        assert_eq!(found(&angular), angular);
        let vitepress = ["assets/app.DEKfSKWO.js", "assets/index.md.DqLmXTbR.lean.js", "assets/style.CtgqVWbd.css"];
        assert_eq!(found(&vitepress), vitepress);
        let nuxt = ["_nuxt/DEKfSKWO.js", "_nuxt/entry.CabXcdPG.css"];
        assert_eq!(found(&nuxt), nuxt);
    }

    #[test]
    fn what_people_name_is_ordinary() {
        assert_eq!(found(&["js/chart-DarkMode.js", "js/app.js", "js/vendor.js"]), [""; 0]);
        assert_eq!(found(&["js/chart-DarkMode.js"]), [""; 0]);
        assert_eq!(found(&["js/bootstrap-carousel.js", "js/bootstrap-dropdown.js", "css/app-20240101.css"]), [""; 0]);
        for words in [
            ["js/App.Settings.js", "js/App.Messages.js"],
            ["js/jquery.Validate.js", "js/jquery.Cookie2x.js"],
            ["theme-DarkMode.css", "theme-NeonMode.css"],
            ["js/app.jQueryUI.js", "js/app.UIWidget.js"],
            ["js/app.AddToBag.js", "js/app.onlyIfOk.js"],
            ["js/app.Version2.js", "js/app.Page2020.js"],
            ["js/app-SETTINGS.js", "js/app-MESSAGES.js"],
        ] {
            assert_eq!(found(&words), [""; 0]);
            let hashed = ["index-DEKfSKWO.js", "index-n_ryQ3BS.css"].map(|name| match words[0].split_once('/') {
                Some((directory, _)) => format!("{directory}/{name}"),
                None => name.to_owned(),
            });
            let both = [&hashed[0], &hashed[1], words[0], words[1]];
            assert_eq!(found(&both), both[..2]);
        }
        let beside = ["assets/index-DEKfSKWO.js", "assets/index-n_ryQ3BS.css", "assets/plain.js", "logo-DarkMode.svg"];
        assert_eq!(found(&beside), beside[..2]);
    }
}
