//! Sources that no plan can be made for, and sites that can't be published.

use crate::case::{Case, provoke};

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "site-migrates",
        code: "pre-deploy-without-process",
        place: "pre_deploy_command",
        says: &["npm run migrate"],
        settings: "kind = \"static\"\npre_deploy_command = \"npm run migrate\"",
        files: &[("index.html", "x")],
        ..Case::EMPTY
    },
    Case {
        name: "netlify",
        code: "invalid-netlify-toml",
        place: "netlify.toml",
        says: &["command"],
        files: &[("index.html", "x"), ("netlify.toml", "[build]\ncommand = 3\n")],
        ..Case::EMPTY
    },
    Case {
        name: "root",
        code: "root-missing",
        place: "the setting `root`",
        says: &["apps/web"],
        settings: "root = \"apps/web\"",
        files: &[("package.json", "{}")],
        ..Case::EMPTY
    },
    Case {
        name: "nothing",
        code: "nothing-recognised",
        place: "",
        says: &["slipway.toml"],
        files: &[("README.md", "hello")],
        ..Case::EMPTY
    },
    Case {
        name: "no-directory",
        code: "no-site-directory",
        place: "the setting `kind`",
        says: &["[site]"],
        settings: "kind = \"static\"",
        files: &[("README.md", "hello")],
        ..Case::EMPTY
    },
    Case {
        name: "no-start",
        code: "no-start-command",
        place: "package.json",
        says: &["start"],
        files: &[("package.json", "{}")],
        ..Case::EMPTY
    },
    Case {
        name: "no-output",
        code: "site-directory-missing",
        place: "",
        says: &["out", "site.directory"],
        settings: "kind = \"static\"\n[build]\ncommand = \"true\"\n[site]\ndirectory = \"out\"",
        files: &[("package.json", "{}")],
        ..Case::EMPTY
    },
    Case {
        name: "no-fallback",
        code: "site-fallback-missing",
        place: "",
        says: &["app.html", "site.fallback"],
        settings: "kind = \"static\"\n[site]\ndirectory = \"public\"\nfallback = \"app.html\"",
        files: &[("public/index.html", "x")],
        ..Case::EMPTY
    },
    Case {
        name: "asked-for",
        code: "missing-build-variable",
        place: "build.variables",
        says: &["CMS_TOKEN"],
        settings: "start_command = \"true\"\n[build]\nvariables = [\"CMS_TOKEN\"]",
        files: &[("package.json", "{}")],
        ..Case::EMPTY
    },
];

#[test]
fn sources() {
    provoke(CASES);
}
