//! `test.json` of an example: JSON with comments and trailing commas.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Said by the web server that railpack puts in front of static files; here the edge serves them.
const SAID_BY_THEIR_SERVER: &str = "using config from file";
/// An example that listens on nothing is known by then.
const START_TIMEOUT: &str = "20s";

/// One entry of a `test.json`.
#[derive(Debug, PartialEq)]
pub(super) struct Case {
    pub(super) env: BTreeMap<String, String>,
    pub(super) check: Check,
}

#[derive(Debug, PartialEq)]
pub(super) enum Check {
    /// The build or the app prints these.
    Output(Vec<String>),
    Live,
    Http {
        path: String,
        status: u16,
        texts: Vec<String>,
    },
}

impl Case {
    /// `slipway.toml`, with the variables of railpack's own configuration as settings.
    pub(super) fn settings(&self, project: &str) -> String {
        let mut build = String::new();
        if let Some(version) = self.env.get("RAILPACK_NODE_VERSION") {
            build.push_str(&format!("node_version = \"{version}\"\n"));
        }
        if self.env.contains_key("RAILPACK_PRUNE_DEPS") {
            build.push_str("prune = true\n");
        }
        format!("project = \"{project}\"\n[health]\nstart_timeout = \"{START_TIMEOUT}\"\n[build]\n{build}")
    }

    /// Variables of the app.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.env.iter().filter(|(name, _)| !name.starts_with("RAILPACK_"))
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let value: Value = serde_json::from_str(&plain_json(&text)).with_context(|| path.display().to_string())?;
    Ok(value.as_array().context("an array")?.iter().map(case).collect())
}

fn case(entry: &Value) -> Case {
    let pairs = entry["envs"].as_object().into_iter().flatten();
    let env = pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    let http = &entry["httpCheck"];
    let check = if http.is_object() {
        Check::Http {
            path: http["path"].as_str().unwrap_or("/").to_owned(),
            status: http["expected"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(200),
            texts: texts(&http["expectedOutput"]),
        }
    } else {
        match texts(&entry["expectedOutput"]) {
            said if said == [SAID_BY_THEIR_SERVER] => Check::Live,
            said => Check::Output(said),
        }
    };
    Case { env, check }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Without `//` comments and commas before a closing bracket, both outside of strings.
fn plain_json(text: &str) -> String {
    let (mut plain, mut in_string, mut escaped) = (String::new(), false, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '/' && characters.peek() == Some(&'/') {
            while characters.next_if(|c| *c != '\n').is_some() {}
            continue;
        } else if matches!(c, ']' | '}') {
            let kept = plain.trim_end().trim_end_matches(',').len();
            plain.truncate(kept);
        } else {
            in_string = c == '"';
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_no_hindrance() {
        let text = r#"[ { "expectedOutput": ["a // b, ]", "\"c\","], // said
            "envs": { "RAILPACK_NODE_VERSION": "22", "A": "1", }, } ]"#;
        let cases: Vec<Case> =
            serde_json::from_str::<Vec<Value>>(&plain_json(text)).unwrap().iter().map(case).collect();
        assert_eq!(cases[0].check, Check::Output(vec!["a // b, ]".into(), "\"c\",".into()]));
        assert_eq!(cases[0].variables().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A"]);
        assert!(cases[0].settings("p").contains("node_version = \"22\""));
    }
}
