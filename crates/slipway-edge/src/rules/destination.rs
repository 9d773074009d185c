//! Where a redirect leads: its `to`, with `:name` and `:splat` put in.
//!
//! What comes from a path goes in as it came, what comes from a query is encoded anew; neither can end the path, add a
//! parameter or name another host.

use crate::percent::{encode_into, in_url, unreserved};

/// A value for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Encoded, from the path.
    Path(&'a str),
    /// Decoded, from the query.
    Query(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// `to`, compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    base: Vec<Piece>,
    query: Option<Vec<Piece>>,
    fragment: Option<Vec<Piece>>,
    pub(super) is_absolute: bool,
}

/// A `to` with all put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// A path, or a URL with scheme and host.
    pub(crate) base: String,
    pub(crate) query: Option<String>,
    pub(super) fragment: Option<String>,
}

impl Target {
    pub(crate) fn path_and_query(&self) -> String {
        match self.query.as_deref().filter(|query| !query.is_empty()) {
            Some(query) => format!("{}?{query}", self.base),
            None => self.base.clone(),
        }
    }

    /// The value of `Location`.
    pub(super) fn location(&self) -> String {
        let fragment = self.fragment.as_ref().map_or_else(String::new, |fragment| format!("#{fragment}"));
        self.path_and_query() + &fragment
    }
}

impl Destination {
    /// `names` are what the rule captures.
    pub(super) fn parse(to: &str, names: &[&str]) -> Self {
        let (rest, fragment) = to.split_once('#').map_or((to, None), |(rest, fragment)| (rest, Some(fragment)));
        let (base, query) = rest.split_once('?').map_or((rest, None), |(base, query)| (base, Some(query)));
        let lower = base.to_ascii_lowercase();
        let is_absolute = ["http://", "https://", "//"].iter().any(|start| lower.starts_with(start));
        Self {
            base: pieces(base, names),
            query: query.map(|query| pieces(query, names)),
            fragment: fragment.map(|fragment| pieces(fragment, names)),
            is_absolute,
        }
    }

    /// The query of the request goes along unless there is one of its own, be it empty (`/to?`).
    pub(super) fn expand(&self, values: &[(String, Value<'_>)], query: Option<&str>) -> Target {
        let mut base = filled(&self.base, values, false);
        if !self.is_absolute {
            // `//host` and `/\host` would be another site.
            let path = base.trim_start_matches('/');
            base = format!("/{path}");
        }
        let sent = || query.filter(|query| !query.is_empty()).map(|query| encoded(query, in_url));
        Target {
            base,
            query: self.query.as_ref().map(|pieces| filled(pieces, values, true)).or_else(sent),
            fragment: self.fragment.as_ref().map(|pieces| filled(pieces, values, true)),
        }
    }
}

/// `text` cut at the names; of two that fit the longer one counts.
fn pieces(text: &str, names: &[&str]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(':') {
        plain.push_str(before);
        match names.iter().filter(|name| after.starts_with(**name)).max_by_key(|name| name.len()) {
            Some(name) => {
                pieces.push(Piece::Text(encoded(&std::mem::take(&mut plain), in_url)));
                pieces.push(Piece::Name((*name).to_owned()));
                rest = &after[name.len()..];
            }
            None => {
                plain.push(':');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(encoded(&plain, in_url)));
    pieces
}

fn filled(pieces: &[Piece], values: &[(String, Value<'_>)], in_query: bool) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Name(name) => match values.iter().find(|(known, _)| known == name).map(|(_, value)| value) {
                Some(Value::Path(raw)) if in_query => {
                    encode_into(&mut out, raw, |byte| in_url(byte) && !b"&=+#?".contains(&byte));
                }
                Some(Value::Path(raw)) => encode_into(&mut out, raw, |byte| in_url(byte) && !b"?#".contains(&byte)),
                Some(Value::Query(text)) => encode_into(&mut out, text, unreserved),
                None => {}
            },
        }
    }
    out
}

fn encoded(text: &str, kept: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text, kept);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_and_cannot_break_out() {
        for (to, names, values, query, expected) in [
            ("/t/:splat", &["splat"][..], &[("splat", Value::Path("a/b/"))][..], None, "/t/a/b/"),
            ("/t/:splat", &["splat"], &[("splat", Value::Path(""))], Some("x=1"), "/t/?x=1"),
            ("/o/:m-:y", &["y", "m"], &[("y", Value::Path("1")), ("m", Value::Path("2"))], None, "/o/2-1"),
            ("/:id/:idx", &["id"], &[("id", Value::Path("7"))], None, "/7/7x"),
            ("/:id/:idx", &["id", "idx"], &[("id", Value::Path("7")), ("idx", Value::Path("8"))], None, "/7/8"),
            ("/:none", &["id"], &[], None, "/:none"),
            ("/r?a=1#frag", &[], &[], Some("z=1"), "/r?a=1#frag"),
            ("/r#frag", &[], &[], Some("z=1"), "/r?z=1#frag"),
            ("/f?path=:splat", &["splat"], &[("splat", Value::Path("a/b&c=d%20e"))], None, "/f?path=a/b%26c%3Dd%20e"),
            ("/b/:id", &["id"], &[("id", Value::Query("a b/ü".to_owned()))], None, "/b/a%20b%2F%C3%BC"),
            ("https://e.test:8443/:splat", &["splat"], &[("splat", Value::Path("x"))], None, "https://e.test:8443/x"),
            ("/:splat", &["splat"], &[("splat", Value::Path("/evil.test"))], None, "/evil.test"),
            ("/:splat", &["splat"], &[("splat", Value::Path("\\evil.test"))], None, "/%5Cevil.test"),
            ("/a b\r\nX: 1", &[], &[], None, "/a%20b%0D%0AX:%201"),
            ("x", &[], &[], None, "/x"),
        ] {
            let values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let target = Destination::parse(to, names).expand(&values, query);
            assert_eq!(target.location(), expected, "{to}");
        }
    }
}
