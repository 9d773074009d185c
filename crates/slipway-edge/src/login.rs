//! Paths behind a user name and a password (`Basic-Auth` in Netlify's `_headers`; RFC 7617).

use crate::refusal::Refusal;
use crate::table::RouteEntry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// Lets a request through that needs no login or brings one. The app behind sees the header too.
pub(crate) fn check(route: &RouteEntry, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    match route.rules.headers.logins(path) {
        Some(logins) if !given(headers).is_some_and(|given| is_one_of(&given, logins)) => {
            Err(Refusal::login_wanted(route))
        }
        _ => Ok(()),
    }
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
