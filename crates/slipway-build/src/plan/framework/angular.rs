//! Angular: `angular.json` says which project is built and where to.

use super::{Found, Shape};
use crate::plan::node::Project;
use crate::plan::script::operand;
use serde_json::Value;

/// Where paths go that are rendered in the browser, when the front page is prerendered.
const FALLBACK_OF_PRERENDERED: &str = "index.csr.html";

pub(super) fn found(project: &Project<'_>) -> Found {
    let path = project.tree.path("angular.json");
    let text = project.tree.text("angular.json").unwrap_or_default();
    let Ok(workspace) = serde_json::from_str::<Value>(text) else {
        return Found::new(Shape::Unsaid).from(format!("`{path}` is not valid JSON"));
    };
    let Some((name, target)) = target(project, &workspace) else {
        return Found::new(Shape::Unsaid).from(format!("`{path}` has several applications or none"));
    };
    let build = Build::of(&name, target);
    let from = format!("the project `{name}` in `{path}`");
    match (build.output_mode, build.renders_on_server) {
        (Some("static"), _) => {
            let site = Found::site(build.browser_directory(), Some(FALLBACK_OF_PRERENDERED)).with_fallback_made();
            site.from(format!("`outputMode: \"static\"` of {from}"))
        }
        (Some("server"), _) | (None, true) => {
            Found::server(format!("node {}/server/server.mjs", build.output_path)).from(from)
        }
        _ => Found::site(build.browser_directory(), Some("index.html")).from(from),
    }
}

/// The application that is built, with its build target.
fn target<'w>(project: &Project<'_>, workspace: &'w Value) -> Option<(String, &'w Value)> {
    let build = |value: &'w Value| {
        let target = value.get("architect").or_else(|| value.get("targets"))?.get("build")?;
        (value.get("projectType")?.as_str()? == "application").then_some(target)
    };
    let projects = workspace.get("projects")?.as_object()?;
    let applications: Vec<(&String, &Value)> =
        projects.iter().filter_map(|(name, value)| Some((name, build(value)?))).collect();
    let text = project.build_text();
    let named = [
        operand(&text, "ng", "build"),
        workspace.get("defaultProject").and_then(Value::as_str),
        project.package.text(&["name"]),
    ];
    let by_name = named.into_iter().flatten().find_map(|wanted| applications.iter().find(|(name, _)| *name == wanted));
    let only = if applications.len() == 1 { applications.first() } else { None };
    by_name.or(only).map(|(name, target)| ((*name).clone(), *target))
}

/// What a build target says about its output.
struct Build<'w> {
    output_path: String,
    /// Below the output path; builders before `application` have none.
    browser: Option<&'w str>,
    output_mode: Option<&'w str>,
    renders_on_server: bool,
}

impl<'w> Build<'w> {
    fn of(name: &str, target: &'w Value) -> Self {
        let option = |key: &str| {
            let production = target.get("configurations").and_then(|all| all.get("production")?.get(key));
            production.or_else(|| target.get("options")?.get(key))
        };
        let path = option("outputPath");
        let base = path.and_then(|path| path.as_str().or_else(|| path.get("base")?.as_str()));
        let builder = target.get("builder").and_then(Value::as_str).unwrap_or_default();
        let browser = path.and_then(|path| path.get("browser")?.as_str()).unwrap_or("browser");
        Self {
            output_path: base.map_or_else(|| format!("dist/{name}"), |base| base.trim_end_matches('/').to_owned()),
            browser: builder.ends_with(":application").then_some(browser),
            output_mode: option("outputMode").and_then(Value::as_str),
            renders_on_server: option("ssr").is_some_and(|ssr| ssr.is_object() || ssr == &Value::Bool(true)),
        }
    }

    fn browser_directory(&self) -> String {
        match self.browser {
            Some(browser) if !browser.is_empty() => format!("{}/{browser}", self.output_path),
            _ => self.output_path.clone(),
        }
    }
}
