//! The resolved configuration is the one that Netlify's own packages give: for every fixture in `cases`, and for
//! configurations that are made systematically, `netlify.toml`, `_redirects` and `_headers` are resolved by both.
//!
//! The packages come from npm, pinned by the lockfile beside this file, into the directory of the build. Without npm or
//! a network the test fails: silence would be no answer.
#![allow(clippy::unwrap_used)]

mod answer;
mod case;
mod difference;
mod made;
mod packages;

use case::Case;
use difference::{DIFFERENCES, Difference};
use serde_json::Value;
use std::collections::BTreeSet;

/// Fewer would not cover what the files can say.
const FIXTURES_MIN: usize = 100;

#[test]
fn configurations_resolve_as_on_netlify() {
    let fixtures = case::fixtures();
    assert!(fixtures.len() >= FIXTURES_MIN, "only {} fixtures", fixtures.len());
    let cases: Vec<Case> = fixtures.into_iter().chain(made::cases()).collect();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases share a name");

    let answers = packages::ask(&cases);
    assert_eq!(answers.len(), cases.len());
    let mut unexpected = Vec::new();
    let mut agreed = BTreeSet::new();
    for (case, theirs) in cases.iter().zip(&answers) {
        let ours = answer::of(case);
        let Some(differs) = difference(&ours, theirs) else {
            agreed.insert(case.name.as_str());
            continue;
        };
        if !DIFFERENCES.iter().any(|known| known.covers(&case.name)) {
            unexpected.push(format!("{}\n{differs}", case.name));
        }
    }
    assert!(unexpected.is_empty(), "{} of {} differ:\n{}", unexpected.len(), cases.len(), unexpected.join("\n\n"));
    for Difference { case, why } in DIFFERENCES {
        assert!(names.contains(case), "`{case}` is listed as a difference and is no case");
        assert!(!agreed.contains(case), "`{case}` differs no more ({why}): take it off the list and out of the docs");
    }
}

/// What is not alike; None when nothing is.
fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    if let (Some(_), Some(_)) = (ours.get("error"), theirs.get("error")) {
        return None;
    }
    if ours.get("error").is_some() || theirs.get("error").is_some() {
        return Some(format!("  ours:   {ours}\n  theirs: {theirs}"));
    }
    let keys = theirs["config"].as_object().unwrap().keys();
    let mut differing: Vec<String> = keys
        .filter(|key| ours["config"][key.as_str()] != theirs["config"][key.as_str()])
        .map(|key| format!("  {key}: ours {}, theirs {}", ours["config"][key], theirs["config"][key]))
        .collect();
    // Every line that Netlify complains about has a warning here; some have one here that it passes over in silence.
    for lines in ["redirect_lines", "header_lines"] {
        let known: BTreeSet<u64> = numbers(&ours[lines]);
        let silent: Vec<u64> = numbers(&theirs[lines]).difference(&known).copied().collect();
        if !silent.is_empty() {
            differing.push(format!("  {lines} {silent:?} have no warning"));
        }
    }
    if ours["left_out"].as_u64() < theirs["errors"].as_u64() {
        differing.push(format!("  {} warnings for {} errors", ours["left_out"], theirs["errors"]));
    }
    (!differing.is_empty()).then(|| differing.join("\n"))
}

fn numbers(list: &Value) -> BTreeSet<u64> {
    list.as_array().unwrap().iter().filter_map(Value::as_u64).collect()
}
