//! What `netlify.toml` makes of a service. How the file itself is read is held against Netlify's own packages in
//! `tests/oracle`.

use crate::netlify::{DeployContext, published_rules};
use crate::tree::tests::listing;
use crate::{Decision, decide, decide_in};
use slipway_types::plan::{Start, ToolchainName};
use slipway_types::site::{SiteFacts, SitePlan};
use slipway_types::{Plan, ServiceKind, SettingsPatch};

fn planned(files: &[(&str, &str)]) -> Plan {
    decide(&listing(files), &SettingsPatch::default()).unwrap().plan
}

fn said(plan: &Plan) -> String {
    crate::explain(plan).join("\n")
}

fn site(directory: &str, fallback: Option<&str>) -> Start {
    Start::Site(SitePlan { directory: directory.to_owned(), fallback: fallback.map(str::to_owned) })
}

#[test]
fn what_is_published_makes_a_site_unless_the_framework_has_a_server() {
    let publish = |directory: &str| format!("[build]\npublish = \"{directory}\"\n");
    let package = |dependency: &str| {
        format!(
            "{{\"dependencies\":{{\"{dependency}\":\"*\"}},\"scripts\":{{\"build\":\"x\",\"start\":\"node s.js\"}}}}"
        )
    };
    for (dependency, directory, expected) in [
        ("gatsby", "public", Some("public")),
        ("@11ty/eleventy", "_site", Some("_site")),
        ("express", "public", Some("public")),
        ("vite", "dist", Some("dist")),
        ("next", ".next", None),
        ("next", "out", Some("out")),
        ("nuxt", "dist", None),
        ("@sveltejs/kit", "build", None),
    ] {
        let plan = planned(&[("netlify.toml", &publish(directory)), ("package.json", &package(dependency))]);
        match expected {
            Some(directory) => assert_eq!(plan.start, site(directory, None), "{dependency}: {}", said(&plan)),
            None => {
                assert!(plan.start_command().is_some(), "{dependency}: {}", said(&plan));
                assert!(said(&plan).contains(&format!("`{directory}` is not published by itself")), "{}", said(&plan));
            }
        }
    }
    let spa = planned(&[("netlify.toml", "spa_fallback = true\n[build]\npublish = \"web\"\n"), ("web/index.html", "")]);
    assert_eq!(spa.start, site("web", Some("index.html")));
}

#[test]
fn what_is_made_for_netlifys_servers_is_refused_rather_than_published_in_part() {
    let files = [
        ("netlify.toml", "[build]\npublish = \"dist\"\n"),
        ("package.json", "{\"dependencies\":{\"astro\":\"5.0.0\",\"@astrojs/netlify\":\"6.0.0\"}}"),
        ("astro.config.mjs", "import netlify from '@astrojs/netlify'\nexport default { adapter: netlify() }\n"),
    ];
    let diagnosis = decide(&listing(&files), &SettingsPatch::default()).unwrap_err();
    assert!(diagnosis.why.contains("@astrojs/netlify"), "{diagnosis:?}");
}

#[test]
fn base_and_publish_are_seen_from_the_services_root() {
    let files = [
        ("netlify.toml", "[build]\nbase = \"apps/web\"\npublish = \"../../dist/web\"\ncommand = \"make\"\n"),
        ("apps/web/index.html", ""),
    ];
    let plan = planned(&files);
    assert_eq!((plan.root.as_str(), &plan.start), ("apps/web", &site("../../dist/web", None)));
    assert_eq!(plan.build_command.as_deref(), Some("make"));
    let owners = SettingsPatch { root: Some("apps".to_owned()), ..SettingsPatch::default() };
    let files = [files[0], ("apps/netlify.toml", "[build]\nbase = \"lost\"\npublish = \"out\"\n"), ("apps/x.html", "")];
    let plan = decide(&listing(&files), &owners).unwrap().plan;
    assert_eq!((plan.root.as_str(), &plan.start), ("apps", &site("out", None)));
}

#[test]
fn the_owner_has_the_last_word() {
    let files = [
        ("netlify.toml", "[build]\npublish = \"dist\"\ncommand = \"theirs\"\nignore = \"true\"\n"),
        ("package.json", "{\"scripts\":{\"start\":\"node server.js\"}}"),
        ("slipway.toml", "start_command = \"node mine.js\"\n[build]\ncommand = \"mine\"\nignore = \"\"\n"),
    ];
    let Decision { plan, settings, said, .. } = decide(&listing(&files), &SettingsPatch::default()).unwrap();
    assert_eq!(plan.start_command(), Some("node mine.js"));
    assert!(plan.build_command.as_deref().is_some_and(|command| command.ends_with("mine")), "{plan:?}");
    assert_eq!(settings.ignore_command.as_deref(), Some(""));
    assert_eq!((said.build_command.as_deref(), plan.kind), (Some("mine"), ServiceKind::Web));
    let worker = SettingsPatch { kind: Some(ServiceKind::Worker), ..SettingsPatch::default() };
    assert_eq!(decide(&listing(&files[..2]), &worker).unwrap().plan.kind, ServiceKind::Worker);
}

#[test]
fn variables_choose_versions_and_flags() {
    let toml = "[build]\ncommand = \"hugo && npm run build\"\n[build.environment]\nNODE_VERSION = \"22.1.0\"\n\
         HUGO_VERSION = \"0.148.0\"\nNPM_FLAGS = \"--legacy-peer-deps\"\nNPM_VERSION = 11\nCI = \"\"\n\
         [context.branch-deploy.environment]\nNODE_VERSION = 20\n";
    let files = [
        ("netlify.toml", toml),
        ("package.json", "{\"dependencies\":{\"left-pad\":\"1\"},\"scripts\":{\"start\":\"node s.js\"}}"),
        ("package-lock.json", "{}"),
    ];
    let plan = planned(&files);
    let tools: Vec<_> = plan.toolchains.iter().map(|tool| (tool.name, tool.version_range.as_str())).collect();
    assert_eq!(tools, [(ToolchainName::Node, "22.1.0"), (ToolchainName::Hugo, "0.148.0")]);
    assert!(plan.install.unwrap().command.ends_with(" --legacy-peer-deps"));
    assert_eq!(plan.package_manager.unwrap().version.as_deref(), Some("11"));
    let env = |name: &str| plan.build_env.get(name).map(String::as_str);
    assert_eq!((env("CI"), env("CONTEXT"), env("BRANCH"), env("NETLIFY")), (Some(""), Some("production"), None, None));

    let branch = decide_in(&listing(&files), &SettingsPatch::default(), &DeployContext::of_reference("feat/x"));
    let plan = branch.unwrap().plan;
    assert_eq!((plan.toolchains[0].version_range.as_str(), plan.build_env["BRANCH"].as_str()), ("20", "feat/x"));
    assert_eq!(plan.build_env["CONTEXT"], "branch-deploy");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (reference, context) in [
        ("main", "production main"),
        ("master", "production master"),
        (commit, "production"),
        ("20240101", "branch-deploy 20240101"),
    ] {
        assert_eq!(DeployContext::of_reference(reference).to_string(), context);
    }
}

#[test]
fn rules_among_the_assets_of_a_server_hold_too() {
    let files = [
        ("package.json", "{\"dependencies\":{\"next\":\"16\"},\"scripts\":{\"build\":\"next build\"}}"),
        ("public/_redirects", "/old /new\n/bad\n"),
        ("netlify.toml", "[build]\npublish = \".next\"\n[[redirects]]\nfrom = \"/last\"\nto = \"/x\"\n"),
    ];
    let plan = planned(&files);
    let from: Vec<&str> = plan.rules.redirects.iter().map(|rule| rule.from.as_str()).collect();
    assert_eq!(from, ["/old", "/last"]);
    assert!(said(&plan).contains("line 2 of `_redirects` is left out"), "{}", said(&plan));
    let without_file = planned(&files[..2]);
    assert_eq!(without_file.rules.redirects.len(), 1);
}

#[test]
fn what_is_not_run_is_said() {
    let files = [
        (
            "netlify.toml",
            "[[plugins]]\npackage = \"@netlify/plugin-nextjs\"\n[[edge_functions]]\npath = \"/\"\nfunction = \"auth\"\n\
             [[redirects]]\nfrom = \"/a\"\n[[redirects]]\nfrom = \"/api/*\"\nto = \"/.netlify/functions/:splat\"\nstatus = 200\n",
        ),
        ("netlify/functions/hello.js", ""),
        ("package.json", "{\"scripts\":{\"start\":\"node server.js\"}}"),
    ];
    let plan = planned(&files);
    let said = said(&plan);
    for line in [
        "functions are not run (the directory `netlify/functions`)",
        "`auth` is not run (`edge_functions` in `netlify.toml`)",
        "`@netlify/plugin-nextjs` is not run (`plugins` in `netlify.toml`)",
        "entry 1 of `[[redirects]]` in `netlify.toml` is left out: it does not say where to: `to` is missing, in `/a`",
        "entry 2 of `[[redirects]]` in `netlify.toml`: functions are not run here, so nothing answers there, in `/api/*`",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(plan.rules.redirects.len(), 1);
}

#[test]
fn a_bad_file_is_refused_at_its_place() {
    for (text, place, why) in [
        ("[build]\npublish = 5\n", "netlify.toml:2:1", "`build.publish` must be a string"),
        ("a = 1\n[build]\nbase = \"gone\"\n", "netlify.toml:3:1", "names a directory that does not exist: `gone`"),
        ("[build\n", "netlify.toml:1:7", "in `[build`"),
    ] {
        let diagnosis = decide(&listing(&[("netlify.toml", text)]), &SettingsPatch::default()).unwrap_err();
        assert_eq!((diagnosis.code.as_str(), diagnosis.r#where.as_str()), ("invalid-netlify-toml", place), "{text}");
        assert!(diagnosis.why.contains(why), "{diagnosis:?}");
    }
}

#[test]
fn rules_and_warnings_are_bounded() {
    let facts = SiteFacts {
        redirects_text: Some((0..30_000).map(|number| format!("/{number} /x\nbad\n")).collect()),
        ..SiteFacts::default()
    };
    let (rules, warnings) = published_rules(&facts, &slipway_types::site::SiteRules::default());
    assert_eq!((rules.redirects.len(), warnings.len()), (20_000, 52));
    assert_eq!(warnings[50], "and 29950 more");
}
