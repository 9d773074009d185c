//! Which files never change under their name, because a bundler put a hash of the contents into it.
//!
//! A file that is taken for such a one by mistake stays in browsers for a year; one that is overlooked costs a short
//! 304. So in doubt a name is an ordinary one: words, versions, dates and sizes are no hashes.

/// Directories in which a framework puts nothing but files named by their contents.
const DIRECTORIES: [&str; 3] = ["_next/static/", "_app/immutable/", "_astro/"];
/// Shortest hash that bundlers write by default (Vite, Rollup, esbuild, webpack's `contenthash:8`).
const HASH_CHARACTERS_MIN: usize = 8;
/// From here on, hexadecimal digits are a hash and nothing else.
const HEX_CHARACTERS_CERTAIN: usize = 16;
/// Hexadecimal SHA-512.
const HASH_CHARACTERS_MAX: usize = 128;
/// More digits in a row than this are a date or a number; in hexadecimal they are more frequent.
const DIGIT_RUN_MAX: usize = 3;
const HEX_DIGIT_RUN_MAX: usize = 6;
/// More letters in a row than this are a word.
const WORD_LETTERS_MAX: usize = 3;
/// What people name in eight letters.
const WORDS_MAX: usize = 2;

/// Whether the file `name` of a manifest may be cached for ever.
pub(crate) fn is_in(name: &str) -> bool {
    let (directory, file) = name.rsplit_once('/').map_or(("", name), |(directory, file)| (directory, file));
    let parts: Vec<&str> = file.split('.').collect();
    let [stems @ .., extension] = parts.as_slice() else { return false };
    if stems.is_empty() || matches!(*extension, "html" | "htm") {
        return false;
    }
    let inside = |wanted: &str| name.starts_with(wanted) || name.contains(&format!("/{wanted}"));
    if DIRECTORIES.iter().any(|wanted| inside(wanted)) {
        return true;
    }
    let nuxt = directory == "_nuxt" || directory.ends_with("/_nuxt");
    stems.iter().enumerate().any(|(index, stem)| {
        let whole = index > 0 || nuxt;
        is_certain(stem) || (whole && is_hash(stem)) || has_hash_at_end(stem)
    })
}

/// `name-<hash>`
fn has_hash_at_end(stem: &str) -> bool {
    let after = stem.rsplit_once('-').map(|(_, hash)| hash);
    if after.is_some_and(|hash| is_hash(hash) || is_base32(hash)) {
        return true;
    }
    // The alphabet of Vite has `-` and `_` in it, so a hash may hold its own separator.
    let Some(at) = stem.len().checked_sub(HASH_CHARACTERS_MIN + 1) else { return false };
    let Some(hash) = stem.get(at..).and_then(|tail| tail.strip_prefix('-')) else { return false };
    let has = |kind: fn(&u8) -> bool| hash.as_bytes().iter().any(kind);
    has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && is_hash(hash)
}

fn is_certain(text: &str) -> bool {
    (HEX_CHARACTERS_CERTAIN..=HASH_CHARACTERS_MAX).contains(&text.len()) && is_hex(text) && has_digit_and_letter(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// esbuild, and so Angular: eight characters of base 32. A word with a number at one end is none.
pub(super) fn is_base32(text: &str) -> bool {
    text.len() == HASH_CHARACTERS_MIN
        && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
        && text.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count() > 1
}

fn is_hash(text: &str) -> bool {
    if !(HASH_CHARACTERS_MIN..=HASH_CHARACTERS_MAX).contains(&text.len())
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        || !has_digit_and_letter(text)
    {
        return false;
    }
    if is_certain(text) {
        return true;
    }
    let runs = Runs::of(text);
    let is_short = text.len() < HEX_CHARACTERS_CERTAIN;
    // On average two letters in a row at most: `sha256sum` and `iPhone15Pro2x` read like words.
    let digits_max = if is_hex(text) { HEX_DIGIT_RUN_MAX } else { DIGIT_RUN_MAX };
    runs.letters < 3 * runs.words && runs.digits_max <= digits_max && (!is_short || runs.word_max <= WORD_LETTERS_MAX)
}

/// Whether a text of letters, and perhaps digits, could be words that a person wrote: one or two of them, one with some
/// small letters in a row, or capitalised ones (`AddToBag`).
pub(super) fn reads_like_words(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_small_run = |run: &[u8]| run.iter().all(u8::is_ascii_lowercase);
    let has_capitals_together = bytes.windows(2).any(|pair| pair.iter().all(u8::is_ascii_uppercase));
    let ends_in_capital = bytes.last().is_some_and(u8::is_ascii_uppercase);
    Runs::of(text).words <= WORDS_MAX
        || bytes.windows(WORD_LETTERS_MAX + 1).any(is_small_run)
        || !(has_capitals_together || ends_in_capital)
}

fn has_digit_and_letter(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// A text cut where its kind of character changes; a capital and the small letters after it are one word.
#[derive(Debug, Default)]
struct Runs {
    words: usize,
    letters: usize,
    word_max: usize,
    digits_max: usize,
}

impl Runs {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut runs = Self::default();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let count = |kind: fn(&u8) -> bool, from: usize| bytes[from..].iter().take_while(|b| kind(b)).count();
            let length = if byte.is_ascii_digit() {
                let length = count(u8::is_ascii_digit, at);
                runs.digits_max = runs.digits_max.max(length);
                length
            } else if byte.is_ascii_alphabetic() {
                let capitals = count(u8::is_ascii_uppercase, at);
                let small = count(u8::is_ascii_lowercase, at + capitals);
                // `HTMLPage` is `HTML` and `Page`.
                let length = if capitals > 1 && small > 0 { capitals - 1 } else { capitals + small };
                runs.words += 1;
                runs.letters += length;
                runs.word_max = runs.word_max.max(length);
                length
            } else {
                1
            };
            at += length;
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_bundlers_write_are_known() {
        for name in [
            // Vite, React Router, TanStack Start, VitePress
            "assets/index-DVoHNO1Y.js",
            "assets/index-n_ryQ3BS.css",
            "assets/vendor-C-4xTg9Z.js",
            "assets/react-CHdo91hT.svg",
            "assets/app.Bx3dK9aL.js",
            "assets/guide_index.md.D1x2k3Gb.lean.js",
            "assets/inter-roman-latin.Di8DUH2h.woff2",
            // webpack, Create React App, Docusaurus, Vue CLI
            "static/js/main.8e0d62a0.js",
            "static/js/787.cda612ba.chunk.js",
            "static/css/main.f855e6bc.css.map",
            "static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg",
            "assets/js/runtime~main.1a2b3c4d.js",
            "5dadf4f2d0b1e6a7c9f8.png",
            // Gatsby
            "app-3bf1a1f4e8bc2e1a1cd8.js",
            "component---src-pages-index-js-648cc0ac9f5fd1d39d0d.js",
            // Next.js
            "_next/static/chunks/main-app-8b1a2c3d4e5f6a7b.js",
            "_next/static/0mT4vNnN2fQd8Vq2rRr1a/_buildManifest.js",
            "docs/_next/static/media/a34f9d1faa5f3315-s.p.woff2",
            // Astro, SvelteKit, Nuxt
            "_astro/hoisted.DiwrgTda.js",
            "_app/immutable/chunks/entry.js",
            "_nuxt/B7kx1Qbz.js",
            "_nuxt/entry.C2a9Xk3d.css",
            // Angular, old and new
            "main.3f2a1b4c5d6e7f80.js",
            "chunk-QX7B2M3A.js",
            "polyfills-FFHMD2TL.js",
            // Parcel, Hugo
            "index.7fd0d8a8.css",
            "main.min.9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.css",
        ] {
            assert!(is_in(name), "{name}");
        }
    }

    #[test]
    fn names_that_people_write_are_ordinary() {
        for name in [
            "js/jquery-ui-customized.js",
            "js/jquery-3.7.1.min.js",
            "js/bootstrap.bundle.min.js",
            "js/bootstrap-5.3.0-dist.js",
            "app.component.js",
            "assets/logo-DarkMode.svg",
            "assets/logo-DarkMode2.svg",
            "assets/photo-iPhone15Pro2x.jpg",
            "assets/DiwrgTda.js",
            "fonts/open-opensans700.woff2",
            "fonts/inter-latin400.woff2",
            "fonts/OpenSans-ExtraBold800.woff2",
            "report-20240101.pdf",
            "report-20240101a.pdf",
            "build-1700000000000.json",
            "release.sha256sum.txt",
            "release-SHA256SUMS.txt",
            "guide-VERSION2.pdf",
            "img/1920x1080.png",
            "img/hero-1920x1080.png",
            "video-1280x720p60.mp4",
            "my-ui-core1.js",
            "_nuxt/builds/latest.json",
            "page-8e0d62a0.html",
            "_astro/index.html",
            "8e0d62a0",
            "dir.8e0d62a0/readme",
            "favicon.ico",
            "sw.js",
            "facade-facade01.js",
        ] {
            assert!(!is_in(name), "{name}");
        }
    }
}
