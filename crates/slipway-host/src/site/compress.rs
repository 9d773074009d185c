//! Compressed forms of a file, where they pay.

use std::io::{self, Read, Write};
use std::path::Path;

/// A smaller file fits into one packet as it is.
const BYTES_MIN: usize = 1024;
/// A compressed form is kept when it is smaller than this many tenths.
const TENTHS_MAX: usize = 9;
/// From here on a file, or a whole site, is compressed with less effort.
const LARGE_FILE_BYTES: usize = 1 << 20;
const LARGE_SITE_BYTES: u64 = 32 << 20;
const BROTLI_BUFFER_BYTES: usize = 64 * 1024;
/// Base two logarithm of the window: 4 MB, as much as a file of a site ever looks back.
const BROTLI_WINDOW: u32 = 22;

/// Time against size. Measured on HTML documentation, of its bytes is left: Brotli 5 0.21 at 19 MB/s and 4 0.22 at 34 MB/s;
/// gzip 6 0.23 at 29 MB/s and 5 0.24 at 46 MB/s, each
/// on one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    brotli: u32,
    gzip: u32,
}

impl Effort {
    const USUAL: Effort = Effort { brotli: 5, gzip: 6 };
    const HURRIED: Effort = Effort { brotli: 4, gzip: 5 };

    pub(super) fn of_site(bytes: u64) -> Self {
        if bytes > LARGE_SITE_BYTES { Self::HURRIED } else { Self::USUAL }
    }

    fn of_file(self, bytes: usize) -> Self {
        if bytes > LARGE_FILE_BYTES { Self::HURRIED } else { self }
    }
}

/// Types that compress, by the end of the name.
const COMPRESSIBLE: [&str; 34] = [
    "atom",
    "cjs",
    "css",
    "csv",
    "data",
    "eot",
    "geojson",
    "htm",
    "html",
    "ico",
    "ics",
    "js",
    "json",
    "jsonld",
    "map",
    "md",
    "mjs",
    "otf",
    "rsc",
    "rss",
    "svg",
    "topojson",
    "ts",
    "tsv",
    "ttf",
    "txt",
    "vtt",
    "wasm",
    "webmanifest",
    "xhtml",
    "xml",
    "xsl",
    "yaml",
    "yml",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    pub(super) const ALL: [Encoding; 2] = [Encoding::Brotli, Encoding::Gzip];

    /// End of a name, without the dot.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gz",
        }
    }

    /// The compressed form; None where it does not pay.
    pub(super) fn compress(self, content: &[u8], effort: Effort) -> Option<Vec<u8>> {
        if content.len() < BYTES_MIN {
            return None;
        }
        let effort = effort.of_file(content.len());
        let compressed = match self {
            Encoding::Brotli => brotli(content, effort.brotli),
            Encoding::Gzip => gzip(content, effort.gzip),
        };
        // Into memory nothing fails; if it does, the file is served as it is.
        compressed.ok().filter(|compressed| pays(content.len(), compressed.len()))
    }

    /// Whether `compressed` is `content`, decompressed no further than that.
    pub(super) fn is_of(self, compressed: &[u8], content: &[u8]) -> bool {
        match self {
            Encoding::Brotli => yields(brotli::Decompressor::new(compressed, BROTLI_BUFFER_BYTES), content),
            Encoding::Gzip => yields(flate2::read::GzDecoder::new(compressed), content),
        }
    }
}

/// Whether a compressed form is worth its place.
pub(super) fn pays(bytes: usize, compressed_bytes: usize) -> bool {
    compressed_bytes.saturating_mul(10) < bytes.saturating_mul(TENTHS_MAX)
}

pub(super) fn is_compressible(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    COMPRESSIBLE.binary_search(&extension.to_ascii_lowercase().as_str()).is_ok()
}

fn brotli(content: &[u8], quality: u32) -> io::Result<Vec<u8>> {
    let compressed = Vec::with_capacity(content.len() / 3);
    let mut writer = brotli::CompressorWriter::new(compressed, BROTLI_BUFFER_BYTES, quality, BROTLI_WINDOW);
    writer.write_all(content)?;
    // Ends the stream.
    Ok(writer.into_inner())
}

fn gzip(content: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let compressed = Vec::with_capacity(content.len() / 3);
    let mut encoder = flate2::write::GzEncoder::new(compressed, flate2::Compression::new(level));
    encoder.write_all(content)?;
    encoder.finish()
}

fn yields(mut decoder: impl Read, content: &[u8]) -> bool {
    let mut buffer = vec![0; BROTLI_BUFFER_BYTES];
    let mut rest = content;
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return rest.is_empty(),
            Ok(count) => match rest.strip_prefix(buffer.get(..count).unwrap_or_default()) {
                Some(left) => rest = left,
                None => return false,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_types_can_be_searched() {
        assert!(COMPRESSIBLE.is_sorted());
        for (path, expected) in [
            ("a/x.JS", true),
            ("i.html", true),
            ("x.png", false),
            ("x.woff2", false),
            ("noext", false),
            (".html", false),
        ] {
            assert_eq!(is_compressible(path), expected, "{path}");
        }
    }

    #[test]
    fn text_shrinks_and_comes_back() {
        let text = "all work and no play makes a dull page\n".repeat(200);
        for encoding in Encoding::ALL {
            let compressed = encoding.compress(text.as_bytes(), Effort::USUAL).unwrap();
            assert!(compressed.len() * 5 < text.len());
            assert!(encoding.is_of(&compressed, text.as_bytes()));
            assert!(!encoding.is_of(&compressed, &text.as_bytes()[1..]), "other content");
            assert!(!encoding.is_of(&compressed[..compressed.len() / 2], text.as_bytes()), "cut short");
            assert!(!encoding.is_of(text.as_bytes(), text.as_bytes()), "not compressed at all");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = Encoding::Gzip.compress(&vec![0; 64 << 20], Effort::USUAL).unwrap();
        assert!(!Encoding::Gzip.is_of(&bomb, &[0; 100]));
    }

    #[test]
    fn what_does_not_shrink_has_no_compressed_form() {
        let mut noise = vec![0; 8192];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_be_bytes()[0];
        }
        assert_eq!(Encoding::Brotli.compress(&noise, Effort::USUAL), None);
        assert_eq!(Encoding::Gzip.compress(b"short", Effort::USUAL), None);
    }
}
