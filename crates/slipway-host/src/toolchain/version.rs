//! Which version a range means. Pure.

use nodejs_semver::{Range, Version};

/// Of the majors that a refusal names, so that the list stays one line.
const NEAR_MAX: usize = 6;

/// Names of long-term lines, as `.nvmrc` files have them.
const LINES: [(&str, u64); 8] = [
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// The exact version, when the text is one: `24.1.0`, `v24.1.0`, `9.15.0+sha512.…`.
pub(crate) fn exact(range: &str) -> Option<String> {
    let text = range.trim().trim_start_matches(['v', '=']);
    let text = text.split_once('+').map_or(text, |(version, _digest)| version);
    Version::parse(text).ok().map(|version| version.to_string())
}

/// The newest version of the range. For Node.js (`even`), one of a long-term line (even major) where the range has one.
pub(crate) fn newest<'v>(range: &str, versions: impl Iterator<Item = &'v str>, even: bool) -> Option<String> {
    let range = parse_range(range)?;
    let matching = versions.filter_map(|text| Version::parse(text).ok()).filter(|version| version.satisfies(&range));
    let rank = |version: &Version| (even && version.major().is_multiple_of(2), version.clone());
    matching.max_by_key(rank).map(|version| version.to_string())
}

fn parse_range(text: &str) -> Option<Range> {
    let text = text.trim();
    let text = match text.to_ascii_lowercase().as_str() {
        "" | "latest" | "current" | "node" | "stable" | "lts" | "lts/*" => "*".to_owned(),
        name => match name.strip_prefix("lts/") {
            Some(line) => LINES.iter().find(|(name, _)| *name == line)?.1.to_string(),
            None => text.trim_start_matches('v').to_owned(),
        },
    };
    Range::parse(text).ok()
}

/// The newest version of each of the newest majors, newest first: what a refusal offers.
pub(crate) fn near<'v>(versions: impl Iterator<Item = &'v str>) -> Vec<String> {
    let mut parsed: Vec<Version> =
        versions.filter_map(|text| Version::parse(text).ok()).filter(|v| v.pre_release().is_empty()).collect();
    parsed.sort_by(|a, b| b.cmp(a));
    parsed.dedup_by_key(|version| version.major());
    parsed.iter().take(NEAR_MAX).map(Version::to_string).collect()
}

/// The newest version of each of the newest minors, newest first: for tools whose major says nothing.
pub(crate) fn near_minor<'v>(versions: impl Iterator<Item = &'v str>) -> Vec<String> {
    let mut parsed: Vec<Version> =
        versions.filter_map(|text| Version::parse(text).ok()).filter(|v| v.pre_release().is_empty()).collect();
    parsed.sort_by(|a, b| b.cmp(a));
    parsed.dedup_by_key(|version| (version.major(), version.minor()));
    parsed.iter().take(NEAR_MAX).map(Version::to_string).collect()
}

/// The first two numbers of a version: `3.11.2` → `3.11`.
pub(crate) fn minor(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The leading number of a version or range: `^4.1` → 4.
pub(crate) fn leading_number(range: &str) -> Option<u64> {
    let digits: String =
        range.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).take(9).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: [&str; 9] =
        ["18.20.8", "20.19.0", "22.11.0", "22.12.0", "24.1.0", "25.9.0", "26.0.0", "27.0.0-rc.1", "24.21.0"];

    #[test]
    fn ranges_choose_the_newest_long_term_version() {
        for (range, expected) in [
            ("22", Some("22.12.0")),
            ("v22", Some("22.12.0")),
            (">=20 <25", Some("24.21.0")),
            (">=18", Some("26.0.0")),
            ("25", Some("25.9.0")),
            ("22.11.0", Some("22.11.0")),
            ("lts/*", Some("26.0.0")),
            ("lts/jod", Some("22.12.0")),
            ("lts/nothing", None),
            ("latest", Some("26.0.0")),
            ("^18 || ^20", Some("20.19.0")),
            (">=99", None),
            ("99", None),
            ("not a range", None),
        ] {
            assert_eq!(newest(range, NODE.into_iter(), true).as_deref(), expected, "{range}");
        }
    }

    #[test]
    fn other_tools_have_odd_majors() {
        assert_eq!(newest("<12", ["10.1.0", "11.2.0", "12.0.0"].into_iter(), false).as_deref(), Some("11.2.0"));
    }

    #[test]
    fn exact_versions_are_recognised() {
        for (text, expected) in [
            ("24.1.0", Some("24.1.0")),
            ("v24.1.0", Some("24.1.0")),
            ("9.15.0+sha512.76e2379", Some("9.15.0")),
            ("24", None),
            ("^24.1.0", None),
        ] {
            assert_eq!(exact(text).as_deref(), expected, "{text}");
        }
        assert_eq!(leading_number("^4.1"), Some(4));
        assert_eq!(leading_number("latest"), None);
    }

    #[test]
    fn a_refusal_offers_one_version_per_major() {
        assert_eq!(near(NODE.into_iter()), ["26.0.0", "25.9.0", "24.21.0", "22.12.0", "20.19.0", "18.20.8"]);
        assert_eq!(near_minor(["3.11.2", "3.12.4", "3.12.16", "3.16.0a2"].into_iter()), ["3.12.16", "3.11.2"]);
        assert_eq!(minor("3.11.2"), "3.11");
    }
}
