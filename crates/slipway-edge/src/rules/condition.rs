//! The conditions of a redirect: language and cookies of the request.
//!
//! `Country` and `Role` never hold: there is no map of addresses here and no identity service. Nor does a condition
//! that is not known.

use crate::site::quality;
use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, COOKIE};
use std::collections::BTreeMap;

/// Chooses the language by hand; the name is Netlify's.
const LANGUAGE_COOKIE: &str = "nf_lang";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The language liked best is one of these, or one of their regions; lower case.
    Language(Vec<String>),
    /// One of these cookies is there and not empty.
    Cookie(Vec<String>),
    Never,
}

impl Condition {
    pub(super) fn parse_all(conditions: &BTreeMap<String, Vec<String>>) -> Vec<Self> {
        conditions.iter().map(|(name, values)| Self::parse(name, values)).collect()
    }

    fn parse(name: &str, values: &[String]) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "language" => Self::Language(values.iter().map(|value| value.trim().to_ascii_lowercase()).collect()),
            "cookie" => Self::Cookie(values.iter().map(|value| value.trim().to_owned()).collect()),
            _ => Self::Never,
        }
    }

    pub(super) fn holds(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Never => false,
            Self::Cookie(names) => {
                names.iter().any(|name| cookie(headers, name).is_some_and(|value| !value.is_empty()))
            }
            Self::Language(wanted) => language(headers).is_some_and(|language| {
                wanted.iter().any(|wanted| {
                    language.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                })
            }),
        }
    }
}

/// The one with the highest quality, the first of equals; lower case.
fn language(headers: &HeaderMap) -> Option<String> {
    if let Some(chosen) = cookie(headers, LANGUAGE_COOKIE).filter(|value| !value.is_empty()) {
        return Some(chosen.to_ascii_lowercase());
    }
    let fields = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|field| field.to_str().ok());
    let mut best: Option<(&str, u16)> = None;
    for part in fields.flat_map(|field| field.split(',')) {
        let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
        let Some(quality) = quality(parameters).filter(|quality| *quality > 0) else { continue };
        if !tag.trim().is_empty() && best.is_none_or(|(_, best)| quality > best) {
            best = Some((tag.trim(), quality));
        }
    }
    best.map(|(tag, _)| tag.to_ascii_lowercase())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(known, _)| known.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn holds(name: &str, values: &[&str], field: (&'static str, &'static str)) -> bool {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.append(field.0, HeaderValue::from_static(field.1));
        Condition::parse(name, &values).holds(&headers)
    }

    #[test]
    fn language_is_the_one_liked_best() {
        for (values, field, expected) in [
            (&["fr"][..], "fr", true),
            (&["fr"], "FR-CA,en;q=0.8", true),
            (&["fr"], "en,fr;q=0.8", false),
            (&["fr"], "en;q=0.5,fr;q=0.8", true),
            (&["de-CH"], "de-ch", true),
            (&["de-CH"], "de-AT", false),
            (&["de-CH"], "de", false),
            (&["fr"], "frr", false),
            (&["en", "fr"], "fr", true),
            (&["en"], "", false),
        ] {
            assert_eq!(holds("Language", values, ("accept-language", field)), expected, "{values:?} {field}");
        }
        assert!(holds("Language", &["fr"], ("cookie", "nf_lang=fr")));
        assert!(!holds("Language", &["en"], ("x-none", "")));
    }

    #[test]
    fn a_cookie_must_be_there_and_not_empty() {
        for (field, expected) in [("ab=1", true), ("x=1; ab=0", true), ("ab=", false), ("AB=1", false), ("ab", false)] {
            assert_eq!(holds("Cookie", &["zz", "ab"], ("cookie", field)), expected, "{field}");
        }
    }

    #[test]
    fn what_nothing_is_known_of_never_holds() {
        for name in ["Country", "Role", "Weather"] {
            assert!(!holds(name, &["us"], ("x-country", "us")), "{name}");
        }
    }
}
