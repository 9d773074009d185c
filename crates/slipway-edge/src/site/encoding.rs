//! Which form of a file a client gets: `Accept-Encoding` (RFC 9110 §12.5.3).

use http::HeaderValue;

/// A form in which a file may lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Brotli,
    Gzip,
}

impl Encoding {
    /// The value of `Content-Encoding`.
    pub(crate) fn token(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Brotli => Some(HeaderValue::from_static("br")),
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
        }
    }

    /// The end of the file's name, and with a hyphen of its entity tag.
    pub(crate) fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gz"),
        }
    }
}

/// What a client takes, in thousandths of a quality. None: not named.
#[derive(Debug, Default)]
struct Accepted {
    brotli: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

/// The form that the client likes best of those that are there; of equals the smaller. The plain form is what remains,
/// also for a client that refuses everything.
pub(crate) fn choose<'a>(fields: impl Iterator<Item = &'a HeaderValue>, brotli: bool, gzip: bool) -> Encoding {
    let accepted = Accepted::of(fields);
    let quality = |named: Option<u16>| named.or(accepted.any).unwrap_or(0);
    // Not named, the plain form is taken, but liked least.
    let mut best = (Encoding::Identity, accepted.identity.unwrap_or(0));
    for (encoding, there, quality) in
        [(Encoding::Gzip, gzip, quality(accepted.gzip)), (Encoding::Brotli, brotli, quality(accepted.brotli))]
    {
        if there && quality > 0 && quality >= best.1 {
            best = (encoding, quality);
        }
    }
    best.0
}

impl Accepted {
    fn of<'a>(fields: impl Iterator<Item = &'a HeaderValue>) -> Self {
        let mut accepted = Self::default();
        for part in fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(',')) {
            let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
            let Some(quality) = quality(parameters) else { continue };
            let place = match coding.trim().to_ascii_lowercase().as_str() {
                "br" => &mut accepted.brotli,
                "gzip" | "x-gzip" => &mut accepted.gzip,
                "identity" => &mut accepted.identity,
                "*" => &mut accepted.any,
                _ => continue,
            };
            *place = Some(quality);
        }
        accepted
    }
}

/// `;q=0.5` in thousandths; None: not a quality, so that the coding is not taken at its word.
pub(crate) fn quality(parameters: &str) -> Option<u16> {
    let Some(value) = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    }) else {
        return Some(1000);
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Brotli, Gzip, Identity};

    #[test]
    fn the_best_form_that_is_there_is_chosen() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Brotli),
            ("gzip, deflate", Gzip),
            ("gzip;q=1.0, br;q=0.5", Gzip),
            ("br;q=0, gzip", Gzip),
            ("br;q=0, gzip;q=0", Identity),
            ("identity;q=1, br;q=0.5", Identity),
            ("identity;q=0.5, br;q=0.5", Brotli),
            ("identity;q=0, gzip;q=0.001", Gzip),
            ("*", Brotli),
            ("*;q=0", Identity),
            ("br;q=0, *", Gzip),
            ("BR ; Q=1", Brotli),
            ("x-gzip", Gzip),
            ("br;q=2", Identity),
            ("br;q=abc, gzip", Gzip),
            ("br;q=0.0001", Identity),
            ("deflate", Identity),
            ("", Identity),
        ] {
            let field = HeaderValue::from_static(accept);
            assert_eq!(choose([&field].into_iter(), true, true), expected, "{accept}");
        }
        assert_eq!(choose([].into_iter(), true, true), Identity);
        let all = HeaderValue::from_static("br, gzip");
        assert_eq!(choose([&all].into_iter(), false, true), Gzip);
        assert_eq!(choose([&all].into_iter(), false, false), Identity);
        let (one, two) = (HeaderValue::from_static("br;q=0.1"), HeaderValue::from_static("gzip"));
        assert_eq!(choose([&one, &two].into_iter(), true, true), Gzip);
    }
}
