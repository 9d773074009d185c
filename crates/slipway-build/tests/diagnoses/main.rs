//! Every diagnosis from true evidence: outputs of real programs under `fixtures/`, and what a host measures.

#![allow(clippy::unwrap_used)]

mod case;
mod command;
mod python;
mod run;
mod told;
mod unrelated;

use case::{Case, built};
use command::{builds, installs, installs_of_other_package_managers, limits, pre_deploy};
use run::{apps_that_end, apps_that_never_get_healthy, hosts};
use slipway_build::{CATALOGUE, Given, check_build_variables, decide, diagnose, manifest, plan, render_catalogue};
use slipway_types::settings::ServiceKind;
use slipway_types::{Diagnosis, Phase, ServiceSettings, SettingsPatch, TreeListing};
use std::collections::BTreeSet;

/// What is expected of a diagnosis: its code, the place, a part of why, a part of all hints.
pub(crate) type Expected = (&'static str, &'static str, &'static str, &'static str);

/// The codes that the groups below produced.
#[derive(Default)]
pub(crate) struct Checked {
    produced: BTreeSet<String>,
}

const GROUPS: [fn(&mut Checked); 10] = [
    installs,
    installs_of_other_package_managers,
    builds,
    limits,
    pre_deploy,
    apps_that_end,
    apps_that_never_get_healthy,
    hosts,
    python::says,
    told::says,
];

#[test]
fn diagnoses_installs() {
    installs(&mut Checked::default());
}

#[test]
fn diagnoses_installs_of_other_package_managers() {
    installs_of_other_package_managers(&mut Checked::default());
}

#[test]
fn diagnoses_builds() {
    builds(&mut Checked::default());
}

#[test]
fn diagnoses_limits() {
    limits(&mut Checked::default());
}

#[test]
fn diagnoses_pre_deploy() {
    pre_deploy(&mut Checked::default());
}

#[test]
fn diagnoses_apps_that_end() {
    apps_that_end(&mut Checked::default());
}

#[test]
fn diagnoses_apps_that_never_get_healthy() {
    apps_that_never_get_healthy(&mut Checked::default());
}

#[test]
fn diagnoses_python() {
    python::says(&mut Checked::default());
}

#[test]
fn diagnoses_what_no_test_can_provoke() {
    told::says(&mut Checked::default());
}

#[test]
fn diagnoses_hosts() {
    hosts(&mut Checked::default());
}

/// What a program prints never hides what the host measured, and hostile output is only quoted.
#[test]
fn output_is_untrusted() {
    let lines = [
        "\u{1b}]0;title\u{7}",
        &"x".repeat(100_000),
        "Error occurred prerendering page \"",
        "(1,2): error TS",
        "''''",
        "at (",
    ];
    for phase in Phase::ALL {
        let mut evidence = built("x", 1, &lines).evidence;
        evidence.phase = Some(phase);
        let diagnosis = diagnose(&evidence, None, &[]);
        assert!(diagnosis.why.len() < 4000 && !diagnosis.why.contains('\u{1b}'), "{diagnosis:?}");
    }
}

/// That all of it can be produced is shown where the real tools run: `diagnoses::every_code` of the crate `slipway`.
#[test]
fn whatever_is_produced_stands_in_the_catalogue() {
    let mut checked = Checked::default();
    GROUPS.iter().for_each(|group| group(&mut checked));
    let mut produced = checked.produced;
    produced.extend(refused_trees());
    let listed: BTreeSet<String> = CATALOGUE.iter().map(|entry| entry.code.to_owned()).collect();
    assert_eq!(listed.len(), CATALOGUE.len(), "two entries share a code");
    assert!(produced.is_subset(&listed), "{:?}", produced.difference(&listed));
    for entry in CATALOGUE {
        assert!(entry.code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", entry.code);
        assert!(entry.explanation.ends_with('.') && !entry.title.ends_with('.'), "{}", entry.code);
        assert!(!entry.mend.is_empty() && entry.mend.iter().all(|step| step.ends_with('.')), "{}", entry.code);
    }
}

/// `UPDATE=1 cargo nextest run -p slipway-build the_page` writes the page anew.
#[test]
fn the_page_of_the_catalogue_is_in_step() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/diagnoses.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).unwrap();
        std::fs::write(path, render_catalogue()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == render_catalogue(),
        "docs/diagnoses.md is out of step with the catalogue: run `UPDATE=1 cargo nextest run -p slipway-build the_page` and commit it"
    );
}

/// Codes of trees that no plan can be made for.
fn refused_trees() -> Vec<String> {
    let settings = ServiceSettings::default();
    let out_of_range = SettingsPatch { replicas: Some(0), ..Default::default() };
    let site = tree(&[
        (
            "slipway.toml",
            "kind = \"static\"\npre_deploy_command = \"npm run migrate\"\n[site]\ndirectory = \"public\"\n",
        ),
        ("package.json", "{\"scripts\":{\"start\":\"serve public\"}}"),
        ("public/index.html", ""),
    ]);
    let of_static_kind = ServiceSettings { kind: ServiceKind::Static, ..Default::default() };
    let in_directory = ServiceSettings { root: "apps/web".into(), ..Default::default() };
    let needing = ServiceSettings { build_variables: vec!["NPM_TOKEN".into()], ..Default::default() };
    vec![
        check_build_variables(&needing, |_| Given::Nowhere).unwrap_err().code,
        manifest(&tree(&[("slipway.toml", "port =")])).unwrap_err().code,
        decide(&tree(&[("netlify.toml", "[build")]), &SettingsPatch::default()).unwrap_err().code,
        decide(&tree(&[]), &out_of_range).unwrap_err().code,
        decide(&site, &SettingsPatch::default()).unwrap_err().code,
        plan(&tree(&[("web/package.json", "{}")]), &settings).unwrap_err().code,
        plan(&tree(&[("notes.txt", "")]), &settings).unwrap_err().code,
        plan(&tree(&[("notes.txt", "")]), &of_static_kind).unwrap_err().code,
        plan(&tree(&[("package.json", "{")]), &settings).unwrap_err().code,
        plan(&tree(&[("package.json", "{\"engines\":{\"node\":\"new\"}}")]), &settings).unwrap_err().code,
        plan(&tree(&[("pyproject.toml", "[")]), &settings).unwrap_err().code,
        plan(&tree(&[("main.py", ""), (".python-version", "new")]), &settings).unwrap_err().code,
        plan(&tree(&[("package.json", "{}")]), &settings).unwrap_err().code,
        plan(&tree(&[("package.json", "{}")]), &in_directory).unwrap_err().code,
    ]
}

fn tree(files: &[(&str, &str)]) -> TreeListing {
    let mut listing = TreeListing::default();
    for (path, text) in files {
        listing.paths.push((*path).to_owned());
        listing.texts.insert((*path).to_owned(), (*text).to_owned());
    }
    listing
}

impl Checked {
    /// Diagnoses the case and compares.
    pub(crate) fn check(&mut self, case: Case, expected: Expected) {
        let diagnosis = diagnose(&case.evidence, None, &[]);
        let (code, place, why, hint) = expected;
        assert_eq!((diagnosis.code.as_str(), diagnosis.r#where.as_str()), (code, place), "{diagnosis:#?}");
        assert!(diagnosis.why.contains(why), "{why:?} is not in {diagnosis:#?}");
        assert!(diagnosis.hints.join("\n").contains(hint), "{hint:?} is not in {diagnosis:#?}");
        check_wording(&diagnosis);
        self.produced.insert(diagnosis.code);
    }
}

/// The house rules of messages.
fn check_wording(diagnosis: &Diagnosis) {
    let entry = CATALOGUE.iter().find(|entry| entry.code == diagnosis.code).expect("the code is in the catalogue");
    assert_eq!(entry.blame, diagnosis.blame);
    assert!(!diagnosis.what.ends_with('.') && !diagnosis.what.contains('\n'), "{diagnosis:#?}");
    assert!(diagnosis.hints.iter().all(|hint| !hint.ends_with('.')), "{diagnosis:#?}");
    assert!(!diagnosis.hints.is_empty() && !diagnosis.why.is_empty(), "{diagnosis:#?}");
}
