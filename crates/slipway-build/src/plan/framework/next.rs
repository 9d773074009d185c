//! Next.js: a server, a server in one directory (`output: "standalone"`), or a site (`output: "export"`).

use super::Found;
use crate::plan::config::{Config, Value};
use crate::plan::node::Project;

/// By default `next start` needs the whole directory; what `output` says may ask for less.
pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("next.config");
    match config.value(&["output"]) {
        Value::Literal("export") => {
            let directory = config.value(&["distDir"]).literal().unwrap_or("out");
            Found::site(directory, None).from(format!("`output: \"export\"` in `{}`", config.path))
        }
        Value::Literal("standalone") => standalone(project, &config).unwrap_or_else(|| Found::server("next start")),
        _ if project.build_text().contains("next export") => {
            Found::site("out", None).from("`next export` in the build script")
        }
        Value::Computed => {
            let from = format!("`output` in `{}` is computed: taken for a server", config.path);
            Found::server("next start").from(from)
        }
        Value::Literal(_) | Value::Absent => Found::server("next start"),
    }
}

/// The standalone server, and its files put where it serves them from. None where the place of its directory is
/// computed, and where nothing is known of the build: `next start` works there too.
fn standalone(project: &Project<'_>, config: &Config<'_>) -> Option<Found> {
    let built = match config.value(&["distDir"]) {
        Value::Absent => ".next",
        Value::Literal(directory) if is_plain(directory) => directory,
        _ => return None,
    };
    if !project.is_built_as_known() {
        return None;
    }
    // The build traces files from the directory of the lockfile on, and its output has the same shape: in a workspace
    // the server lies deeper, and is called from the place where it else would be.
    let at = format!("{built}/standalone");
    let deeper = match project.packages.directory.relative(project.tree.directory())? {
        "" => String::new(),
        deeper if is_plain(deeper) => {
            format!(
                "[ -f $d/server.js ] || {{ echo \"import('./{deeper}/server.js')\" > $d/server.js; d=$d/{deeper}; }}; "
            )
        }
        _ => return None,
    };
    // `next build` leaves these out, because a CDN could serve them; here the server does.
    let copy = format!(
        "{{ d={at}; {deeper}mkdir -p $d/{built} && cp -R {built}/static $d/{built}/ && {{ [ ! -d public ] || cp -R public $d/; }}; }}"
    );
    let from = format!("`output: \"standalone\"` in `{}`", config.path);
    let mut found = Found::server(format!("node {at}/server.js")).from(from);
    found.after_build = Some(copy);
    // The server takes its address from here, and a shell may have set it to the machine's name.
    found.run_env = &[("HOSTNAME", "0.0.0.0")];
    Some(found)
}

/// Whether a path needs no quotes in a shell, nor in JavaScript.
fn is_plain(path: &str) -> bool {
    path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@'))
}
