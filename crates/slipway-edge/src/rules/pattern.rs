//! The path of a redirect rule: literal parts, `:name` for one part, `*` for the rest or for any parts between.
//!
//! A last slash does not count, neither in the rule nor in the request. `*` may end a part (`/old*`) and stands for
//! nothing too, so that `/blog/*` is also `/blog`; anywhere else in a part no path matches, as at Netlify.

use super::path::{AskedPath, Segment};
use crate::percent;

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Decoded.
    Literal(String),
    /// Any one part that is not empty.
    Name(String),
    /// The beginning of a part, the rest of which belongs to the star that follows.
    Prefix(String),
}

impl Part {
    fn matches(&self, segment: &Segment<'_>) -> bool {
        match self {
            Self::Literal(text) => *text == segment.text,
            Self::Name(_) => !segment.raw.is_empty(),
            Self::Prefix(text) => segment.text.starts_with(text.as_str()),
        }
    }
}

/// Parts between stars: one more run than there are stars.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    runs: Vec<Vec<Part>>,
}

/// What stood in the place of names and of the first star, as it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Captured<'a> {
    pub(super) names: Vec<(String, &'a str)>,
    pub(super) splat: Option<&'a str>,
}

impl Pattern {
    /// None: nothing can match.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut runs = vec![Vec::new()];
        if path.is_empty() {
            return Some(Self { runs });
        }
        for part in path.split('/') {
            let (text, star) = part.strip_suffix('*').map_or((part, false), |text| (text, true));
            if text.contains('*') {
                return None;
            }
            let parsed = match text.strip_prefix(':').filter(|name| !name.is_empty()) {
                Some(_) if star => return None,
                Some(name) => Some(Part::Name(name.to_owned())),
                None if star => (!text.is_empty()).then(|| Part::Prefix(decoded(text))),
                None => Some(Part::Literal(decoded(text))),
            };
            runs.last_mut()?.extend(parsed);
            if star {
                runs.push(Vec::new());
            }
        }
        Some(Self { runs })
    }

    /// The whole path, when it has neither names nor stars: such rules are found by one look-up.
    pub(super) fn literal(&self) -> Option<String> {
        let [run] = self.runs.as_slice() else { return None };
        let mut path = String::new();
        for part in run {
            let Part::Literal(text) = part else { return None };
            path.push('/');
            path.push_str(text);
        }
        Some(if path.is_empty() { "/".to_owned() } else { path })
    }

    /// The first part, when it is literal.
    pub(super) fn first(&self) -> Option<&str> {
        match self.runs.first()?.first()? {
            Part::Literal(text) => Some(text),
            _ => None,
        }
    }

    /// The names that it captures, the star among them.
    pub(super) fn names(&self) -> Vec<&str> {
        let names = self.runs.iter().flatten().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            _ => None,
        });
        names.chain((self.runs.len() > 1).then_some("splat")).collect()
    }

    pub(super) fn matches<'a>(&self, path: &AskedPath<'a>) -> Option<Captured<'a>> {
        let starts = self.starts(&path.segments)?;
        let mut captured = Captured::default();
        for (run, start) in self.runs.iter().zip(&starts) {
            for (part, segment) in run.iter().zip(&path.segments[*start..]) {
                if let Part::Name(name) = part
                    && captured.names.iter().all(|(other, _)| other != name)
                {
                    captured.names.push((name.clone(), segment.raw));
                }
            }
        }
        if let [first, .., last] = self.runs.as_slice() {
            let end = if starts.len() == 2 && last.is_empty() { None } else { starts.get(1).copied() };
            captured.splat = Some(splat(path, first, end));
        }
        Some(captured)
    }

    /// Where each run begins. The first star takes as much as it can, so the runs after it are looked for from the end.
    fn starts(&self, segments: &[Segment<'_>]) -> Option<Vec<usize>> {
        let fits =
            |run: &[Part], at: usize| run.iter().zip(&segments[at..]).all(|(part, segment)| part.matches(segment));
        let [first, rest @ ..] = self.runs.as_slice() else { return None };
        let floor = first.len();
        if segments.len() < floor || (rest.is_empty() && segments.len() > floor) || !fits(first, 0) {
            return None;
        }
        let mut starts = vec![0];
        let mut end = segments.len();
        for (index, run) in rest.iter().enumerate().rev() {
            let highest = end.checked_sub(run.len()).filter(|at| *at >= floor)?;
            let lowest = if index + 1 == rest.len() { highest } else { floor };
            end = (lowest..=highest).rev().find(|at| fits(run, *at))?;
            starts.insert(1, end);
        }
        Some(starts)
    }
}

/// What lies between the first run and segment `end`; to the very end of the path, its last slash included, if None.
fn splat<'a>(path: &AskedPath<'a>, first: &[Part], end: Option<usize>) -> &'a str {
    let (mut from, mut skipped) = (first.len(), None);
    if let Some(Part::Prefix(prefix)) = first.last()
        && let Some(segment) = path.segments.get(first.len() - 1)
    {
        from -= 1;
        skipped = Some(segment.start + raw_length(segment.raw, prefix.len()));
    }
    let start = skipped.or_else(|| path.segments.get(from).map(|segment| segment.start)).unwrap_or(path.raw.len());
    let end = match end {
        None => path.raw.len(),
        Some(end) => path.segments[..end].last().map_or(start, |segment| segment.end),
    };
    let splat = path.raw.get(start..end).unwrap_or_default();
    if skipped.is_some() { splat.strip_prefix('/').unwrap_or(splat) } else { splat }
}

/// How much of `raw` stands for its first `decoded` bytes.
fn raw_length(raw: &str, decoded: usize) -> usize {
    if percent::decode(raw).is_none() {
        return decoded;
    }
    let mut length = 0;
    for _ in 0..decoded {
        length += if raw.as_bytes().get(length) == Some(&b'%') { 3 } else { 1 };
    }
    length
}

fn decoded(text: &str) -> String {
    percent::decode_or_keep(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `splat|name=value`, or `-` when it does not match.
    fn matched(pattern: &str, path: &str) -> String {
        let Some(pattern) = Pattern::parse(pattern) else { return "never".to_owned() };
        let asked = AskedPath::of(path).unwrap();
        let Some(captured) = pattern.matches(&asked) else { return "-".to_owned() };
        let names = captured.names.iter().map(|(name, value)| format!("{name}={value}"));
        captured.splat.map(str::to_owned).into_iter().chain(names).collect::<Vec<_>>().join("|")
    }

    /// The expectations are what Netlify's own matcher (npm's `netlify-redirector` 0.5.0) answers, but where a comment
    /// says otherwise.
    #[test]
    fn paths_match_as_at_netlify() {
        for (pattern, path, expected) in [
            ("/a", "/a", ""),
            ("/a", "/a/", ""),
            ("/a/", "/a", ""),
            ("/a", "/a//", "-"),
            ("/a", "//a", "-"),
            ("/a", "/A", "-"),
            ("/a", "/a/index.html", "-"),
            ("/", "/", ""),
            ("/", "//", "-"),
            ("rel", "/rel", ""),
            ("/s/*", "/s", ""),
            ("/s/*", "/s/", ""),
            ("/s/*", "/s/a", "a"),
            ("/s/*", "/s/a/b/", "a/b/"),
            ("/s/*", "/s/a//b", "a//b"),
            ("/s/*", "/sa", "-"),
            ("/*", "/", ""),
            ("/*", "/a", "a"),
            ("*", "/a/b", "a/b"),
            ("/*/z", "/a/z", "a"),
            ("/*/z", "/a/b/z", "a/b"),
            ("/*/z", "/z", ""),
            ("/p*", "/p", ""),
            ("/p*", "/p/", ""),
            ("/p*", "/pq", "q"),
            ("/p*", "/p/x", "x"),
            ("/p*", "/pq/x", "q/x"),
            ("/p*", "/px/", "x/"),
            ("/p*/z", "/p/z", ""),
            ("/p*/z", "/pq/a/z", "q/a"),
            ("/m/*/n", "/m/1/n", "1"),
            ("/m/*/n", "/m/1/2/n/", "1/2"),
            ("/m/*/n", "/m/n", ""),
            ("/m/*/n", "/m/n/n", "n"),
            ("/m/*/n", "/m//n", ""),
            ("/m/*/n", "/m/1/n/x", "-"),
            ("/a/*/b/*", "/a/1/b/2", "1"),
            ("/a/*/b/*", "/a/b", ""),
            ("/a/*/b/*", "/a/1/b/2/b/3", "1/b/2"),
            ("/x/*.html", "/x/1.html", "never"),
            ("/sp*at", "/spXat", "never"),
            ("/n/:y/:m", "/n/1/2/", "y=1|m=2"),
            ("/n/:y/:m", "/n/1", "-"),
            ("/n/:y/:m", "/n/1/2/3", "-"),
            ("/n/:y/:m", "/n//2", "-"),
            ("/t/:n", "/t/a.b", "n=a.b"),
            ("/t/:n", "/t/", "-"),
            ("/u/:a.html", "/u/x", "a.html=x"),
            ("/a:b", "/a:b", ""),
            ("/img-:n.png", "/img-1.png", "-"),
            ("/:a/:a", "/1/2", "a=1"),
            ("/s/:a/*", "/s/1", "|a=1"),
            ("/s/:a/*", "/s/1/2/3", "2/3|a=1"),
            ("/s/:a/*", "/s/", "-"),
            ("/s/*/:a", "/s/1/2/3", "1/2|a=3"),
            ("/s/*/:a", "/s/1", "|a=1"),
            // Netlify's edge compares what the browser sent with what the rule says; here both are decoded first.
            ("/a%20b", "/a%20b", ""),
            ("/a b", "/a%20b", ""),
            ("/é", "/%C3%A9", ""),
            ("/é*", "/%C3%A9x%20y", "x%20y"),
            ("/q/:id", "/q/a%20b", "id=a%20b"),
        ] {
            assert_eq!(matched(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_climbs_matches_nothing() {
        for path in ["/s/..", "/s/%2e%2e/x", "/s/./x", "*"] {
            assert!(AskedPath::of(path).is_none(), "{path}");
        }
    }
}
