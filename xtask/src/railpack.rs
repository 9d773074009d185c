//! Runs railpack's `examples` through Slipway: each is deployed as it is, and what its `test.json` expects is looked for.
//!
//! Of the Node.js, static and Python examples, those that `docs/railpack.md` names are left out, with the reason that
//! stands there. An example that prints and ends is no service: there, what it printed counts, not that it stays.

mod case;

use anyhow::{Context, Result, bail, ensure};
use case::{Case, Check};
use slipway_testing::{TestServer, http};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Beginnings of the names of examples in the languages that are built here.
const FAMILIES: [&str; 3] = ["node-", "static", "python-"];
/// Share of the examples that must pass.
const GOAL: f64 = 0.95;
/// Where the list of examples that are left out stands.
const LEFT_OUT: &str = include_str!("../../docs/railpack.md");

/// How an example went.
enum Outcome {
    Passed,
    Failed(String),
}

/// Deploys all examples of `checkout` whose name contains `filter`.
pub(crate) fn run(checkout: &Path, filter: &str) -> Result<()> {
    let left_out = left_out(LEFT_OUT);
    let server = TestServer::start(&crate::bench::slipway()?.to_string_lossy());
    let (mut passed, mut failed) = (0_u32, Vec::new());
    for name in names(&checkout.join("examples"))?.into_iter().filter(|name| name.contains(filter)) {
        if let Some(reason) = left_out.get(name.as_str()) {
            println!("left out  {name}: {reason}");
            continue;
        }
        match example(&server, &checkout.join("examples").join(&name), &name)? {
            Outcome::Passed => {
                passed += 1;
                println!("passed    {name}");
            }
            Outcome::Failed(why) => {
                println!("FAILED    {name}: {why}");
                failed.push(name);
            }
        }
    }
    let total = passed + u32::try_from(failed.len())?;
    ensure!(total > 0, "no example in `{}` matches", checkout.display());
    let share = f64::from(passed) / f64::from(total);
    println!("{passed} of {total} passed ({:.1} %, goal {:.0} %)", share * 100.0, GOAL * 100.0);
    if share < GOAL {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Rows of the page's table: example and reason.
fn left_out(page: &str) -> BTreeMap<&str, &str> {
    // The table below it names those that fail: they are run.
    page.lines().take_while(|line| !line.starts_with("These fail")).filter_map(row).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    let (name, reason) = line.strip_prefix("| `")?.split_once("` | ")?;
    Some((name, reason.trim_end_matches(" |")))
}

fn names(examples: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(examples).with_context(|| format!("no examples in `{}`", examples.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.retain(|name| FAMILIES.iter().any(|family| name.starts_with(family)));
    names.sort();
    Ok(names)
}

/// Deploys a copy once for each of its cases.
fn example(server: &TestServer, source: &Path, name: &str) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("app");
    let status = Command::new("cp").arg("-r").arg(source).arg(&copy).status()?;
    ensure!(status.success(), "cannot copy `{}`", source.display());
    let cases = case::read(&source.join("test.json"))?;
    let mut deployed: Option<(BTreeMap<String, String>, Deployed)> = None;
    for case in cases {
        // Cases of one configuration look at one deployment.
        let known = deployed.take().filter(|(env, _)| *env == case.env);
        let (_, at) = match known {
            Some(known) => deployed.insert(known),
            None => deployed.insert((case.env.clone(), deploy(server, &copy, name, &case)?)),
        };
        if let Err(why) = check(server, at, &case) {
            let _ = server.run_in(&copy, &["destroy", "--yes"]);
            return Ok(Outcome::Failed(format!("{why:#}")));
        }
    }
    let _ = server.run_in(&copy, &["destroy", "--yes"]);
    Ok(Outcome::Passed)
}

/// What there is to look at after a deployment.
struct Deployed {
    host: String,
    live: bool,
    /// Build log, the app's log and the diagnosis.
    output: String,
}

fn deploy(server: &TestServer, dir: &Path, name: &str, case: &Case) -> Result<Deployed> {
    // Host names take 30 characters of each part.
    let project: String = name.chars().take(24).collect();
    let project = project.trim_end_matches('-');
    std::fs::write(dir.join("slipway.toml"), case.settings(project))?;
    for (key, value) in case.variables() {
        let run = server.run_in(dir, &["env", "set", &format!("{key}={value}")]);
        ensure!(run.code == 0, "env set {key}: {}", run.stderr);
    }
    let run = server.run_in(dir, &["up", "--json"]);
    let logs = server.run_in(dir, &["logs"]);
    Ok(Deployed {
        host: format!("web-{project}.localhost"),
        live: run.code == 0,
        output: format!("{}\n{}\n{}", run.stdout, run.stderr, logs.stdout),
    })
}

fn check(server: &TestServer, deployed: &Deployed, case: &Case) -> Result<()> {
    let missing = |texts: &[String], output: &str| texts.iter().find(|text| !output.contains(text.as_str())).cloned();
    match &case.check {
        Check::Output(texts) => {
            if let Some(text) = missing(texts, &deployed.output) {
                bail!("`{text}` was not printed\n{}", last_lines(&deployed.output));
            }
        }
        Check::Live => ensure!(deployed.live, "not live\n{}", last_lines(&deployed.output)),
        Check::Http { path, status, texts } => {
            ensure!(deployed.live, "not live\n{}", last_lines(&deployed.output));
            let answer = http::get(server.edge_port(), &deployed.host, path)?;
            ensure!(answer.status == *status, "GET {path} answered {}, not {status}", answer.status);
            if let Some(text) = missing(texts, &answer.body) {
                bail!("GET {path} has no `{text}` in it");
            }
        }
    }
    Ok(())
}

/// The end of what was printed.
fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_example_that_is_left_out_has_a_reason() {
        let rows = super::left_out(super::LEFT_OUT);
        assert!(!rows.is_empty());
        for (name, reason) in rows {
            assert!(reason.len() > 10, "{name}: {reason}");
        }
    }
}
