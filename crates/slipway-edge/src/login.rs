//! Paths behind a user name and a password (`Basic-Auth` in Netlify's `_headers`; RFC 7617).

use crate::percent;
use crate::refusal::Refusal;
use crate::table::RouteEntry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// Longest path that is held against locks; none is that long by intention.
const PATH_BYTES_MAX: usize = crate::rules::HEADER_PATH_BYTES_MAX;

/// Lets a request through that needs no login or brings one, and says whether it needed one. The app behind sees the
/// header too.
pub(crate) fn check(route: &RouteEntry, path: &str, headers: &HeaderMap) -> Result<bool, Refusal> {
    if !route.rules.headers.has_logins() {
        return Ok(false);
    }
    // An app may take `/x/../admin` for `/admin`, which its lock does not know.
    if !is_plain(path) {
        return Err(Refusal::unclear_path(route));
    }
    match route.rules.headers.logins(path) {
        Some(logins) if !given(headers).is_some_and(|given| is_one_of(&given, logins)) => {
            Err(Refusal::login_wanted(route))
        }
        logins => Ok(logins.is_some()),
    }
}

/// Whether all who read `path` read the same: no `.`, `..` or empty part, also as escapes, no backslash, which some
/// take for a slash, and no escape that some keep and others drop.
fn is_plain(path: &str) -> bool {
    let Some(decoded) = percent::decode(path).filter(|_| path.len() <= PATH_BYTES_MAX) else { return false };
    let Some(rest) = decoded.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    !decoded.contains('\\') && decoded != "//" && (rest.is_empty() || rest.split('/').all(is_part))
}

/// `user:password`
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials.trim()).ok())?
}

fn is_one_of(given: &[u8], logins: &[String]) -> bool {
    // All are compared, so that the time says nothing about which one was near.
    let matches = logins.iter().map(|login| bool::from(login.as_bytes().ct_eq(given)));
    matches.fold(false, |found, matches| found | matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_not_plain() {
        for path in
            ["/", "/a", "/a/", "/a/b.c", "/...", "/.well-known/x", "/a%20b", "/caf%C3%A9", "/a%2Fb", "/a%252e%252e"]
        {
            assert!(is_plain(path), "{path}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for path in [
            "/x/../admin",
            "/x/%2e%2E/admin",
            "/x%2f..%2fadmin",
            "/./admin",
            "/%2e/admin",
            "//admin",
            "/%2fadmin",
            "//",
            "/%2f",
            "/a//",
            "/admin/.",
            "/admin/..",
            "/x/..\\admin",
            "/x%5cadmin",
            "/adm%69n%2f%zz",
            "/admin%ff",
            "*",
            "",
            &long,
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn only_a_whole_login_opens() {
        let logins = ["u:p".to_owned(), "v:a:b".to_owned()];
        for (field, expected) in [
            ("Basic dTpw", true),
            ("basic  dTpw", true),
            ("Basic djphOmI=", true),
            ("Basic dTo=", false),
            ("Basic dTpwcA==", false),
            ("Basic !", false),
            ("Bearer dTpw", false),
            ("dTpw", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(field));
            assert_eq!(given(&headers).is_some_and(|given| is_one_of(&given, &logins)), expected, "{field}");
        }
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
