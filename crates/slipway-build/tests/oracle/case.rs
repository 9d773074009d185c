//! Cases, and fixtures as cases: a file that holds several, each after a line `-- path --`, and before them one line for
//! each deployment that they are resolved for: `context branch [base=directory]`.

use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) context: String,
    pub(crate) branch: String,
    /// The owner's own, over the file's.
    pub(crate) base: Option<String>,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, files: &[(&str, &str)]) -> Self {
        Self {
            name: name.into(),
            files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
            context: "production".to_owned(),
            branch: "main".to_owned(),
            base: None,
        }
    }

    pub(crate) fn of(mut self, context: &str, branch: &str) -> Self {
        (self.context, self.branch) = (context.to_owned(), branch.to_owned());
        self
    }
}

pub(crate) fn fixtures() -> Vec<Case> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/cases");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            parse(name, &std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn parse(name: &str, text: &str) -> Vec<Case> {
    let mut files: Vec<(&str, String)> = Vec::new();
    let mut deployments = Vec::new();
    for line in text.split_inclusive('\n') {
        let marker = line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
        match (marker, files.last_mut()) {
            (Some(path), _) => files.push((path, String::new())),
            (None, Some((_, text))) => text.push_str(line),
            (None, None) if line.starts_with('#') || line.trim().is_empty() => {}
            (None, None) => deployments.push(line.trim()),
        }
    }
    assert!(!files.is_empty(), "{name} has no files");
    if deployments.is_empty() {
        deployments.push("production main");
    }
    let case = |deployment: &str| {
        let mut words = deployment.split(' ');
        let mut case = Case::new(format!("{name} @ {deployment}"), &[]);
        case = case.of(words.next().unwrap(), words.next().unwrap());
        case.base = words.next().map(|word| word.strip_prefix("base=").unwrap().to_owned());
        case.files = files.iter().map(|(path, text)| ((*path).to_owned(), text.clone())).collect();
        case
    };
    deployments.into_iter().map(case).collect()
}
