//! Rules that would hide an app with a process.
//!
//! On Netlify a rewrite that is not forced applies where there is no file, and functions answer under `/.netlify/`. The
//! edge does not know which pages an app has, so every rule comes before it, and there are no functions. Rules that were
//! written for that and would take the whole app's place are left out, with a reason in the plan.

use slipway_types::plan::{Plan, Reason};
use slipway_types::site::Redirect;

/// Where Netlify's functions answer.
const FUNCTIONS: [&str; 2] = ["/.netlify/functions/", "/.netlify/builders/"];
/// Reasons for single rules; the rest is a number.
const REASONS_MAX: usize = 20;

/// For a plan without a process it does nothing: there the files come first.
pub(crate) fn leave_out_hiding_rules(plan: &mut Plan) {
    if plan.site().is_some() {
        return;
    }
    let mut left_out = Vec::new();
    plan.rules.redirects.retain(|rule| match hides(rule) {
        Some(why) => {
            let Redirect { from, to, status, .. } = rule;
            left_out.push(format!(
                "the rule `{}` is left out: {why}",
                super::text::quoted(&format!("{from} {to} {status}"))
            ));
            false
        }
        None => true,
    });
    let more = left_out.len().saturating_sub(REASONS_MAX);
    left_out.truncate(REASONS_MAX);
    left_out.extend((more > 0).then(|| format!("{more} more rules are left out")));
    let from = || "redirects for an app with a process".to_owned();
    plan.reasons.extend(left_out.into_iter().map(|decided| Reason { decided, from: from() }));
}

fn hides(rule: &Redirect) -> Option<&'static str> {
    if (300..400).contains(&rule.status) {
        return None;
    }
    if FUNCTIONS.iter().any(|start| rule.to.starts_with(start)) {
        return Some("functions are not run here, and the app may have the page");
    }
    let is_one_page = rule.to.starts_with('/') && !rule.to.starts_with("//") && !rule.to.contains(':');
    (!rule.force && is_one_page && rule.query.is_empty() && is_catch_all(&rule.from))
        .then_some("one page would take the place of all pages of the app")
}

/// `/*`, also of one host.
fn is_catch_all(from: &str) -> bool {
    let path = match from.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => from,
    };
    path.trim_matches('/') == "*"
}
