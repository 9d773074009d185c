//! The answer of this crate, in the words of the script's.

use crate::case::Case;
use serde_json::{Map, Value, json};
use slipway_build::netlify::{self, DeployContext, Netlify, RulePlace, RuleWarning};
use slipway_types::TreeListing;
use slipway_types::site::{HeaderRule, Redirect, SiteFacts};

pub(crate) fn of(case: &Case) -> Value {
    let listing =
        TreeListing { paths: case.files.keys().cloned().collect(), texts: case.files.clone(), truncated: false };
    let context = DeployContext { name: case.context.clone(), branch: Some(case.branch.clone()) };
    match netlify::resolve(&listing, case.base.as_deref(), &context) {
        Ok(netlify) => resolved(case, netlify.unwrap_or_default()),
        Err(diagnosis) => {
            assert_eq!(diagnosis.code, "invalid-netlify-toml");
            json!({ "error": diagnosis.why })
        }
    }
}

fn resolved(case: &Case, netlify: Netlify) -> Value {
    let base = netlify.base.clone().or_else(|| case.base.clone().filter(|base| !base.is_empty()));
    let directory = netlify.publish.trim_end_matches('/');
    let published = |name: &str| {
        let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
        case.files.get(&path).cloned()
    };
    let facts = SiteFacts {
        redirects_text: published("_redirects"),
        headers_text: published("_headers"),
        ..SiteFacts::default()
    };
    let (rules, _) = netlify::published_rules(&facts, &netlify.rules);
    let of_file = facts.redirects_text.as_deref().map(netlify::redirects).unwrap_or_default().1;
    let of_headers = facts.headers_text.as_deref().map(netlify::headers).unwrap_or_default().1;
    let all: Vec<RuleWarning> = of_file.into_iter().chain(of_headers).chain(netlify.warnings).collect();
    let plugins = netlify.plugins.iter().map(|plugin| json!({ "package": plugin.package, "inputs": plugin.inputs }));
    json!({
        "config": {
            "base": base,
            "command": netlify.command,
            "publish": netlify.publish,
            "publish_is_set": netlify.publish_is_set,
            "ignore": netlify.ignore,
            "environment": netlify.environment,
            "functions_directory": netlify.functions_directory,
            "edge_functions_directory": netlify.edge_functions_directory,
            "edge_functions": netlify.edge_functions,
            "plugins": plugins.collect::<Vec<_>>(),
            "spa_fallback": netlify.spa_fallback,
            "redirects": rules.redirects.iter().map(redirect).collect::<Vec<_>>(),
            "headers": rules.headers.iter().map(header).collect::<Vec<_>>(),
        },
        "left_out": all.iter().filter(|warning| warning.left_out).count(),
        "redirect_lines": lines(&all, "_redirects"),
        "header_lines": lines(&all, "_headers"),
    })
}

fn redirect(rule: &Redirect) -> Value {
    let Redirect { from, query, to, status, force, conditions, headers } = rule;
    json!({
        "from": from, "query": query, "to": to, "status": status, "force": force, "conditions": conditions,
        "headers": headers,
    })
}

/// Netlify's packages have one text for a header; so do the rules that are made of it.
fn header(rule: &HeaderRule) -> Value {
    let values: Map<String, Value> = rule
        .values
        .iter()
        .map(|(name, values)| {
            assert_eq!(values.len(), 1, "{rule:?}");
            (name.clone(), json!(values[0]))
        })
        .collect();
    json!({ "for": rule.path, "values": values })
}

fn lines(warnings: &[RuleWarning], of: &str) -> Vec<usize> {
    let line = |warning: &RuleWarning| match warning.place {
        RulePlace::Line { file, line } if file == of => Some(line),
        _ => None,
    };
    warnings.iter().filter_map(line).collect()
}
