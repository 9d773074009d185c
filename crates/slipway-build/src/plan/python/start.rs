//! The start command: a server of the dependencies for the app that was found, else a script.

use super::app::{App, Framework};
use super::django::Django;
use super::{Project, install};
use crate::diagnosis::entry::NO_START_COMMAND;
use crate::plan::script::{is_assignment, is_plain};
use crate::plan::site;
use crate::tree::Tree;
use slipway_types::Diagnosis;
use slipway_types::plan::{Reason, Start};

/// Servers for asynchronous apps, in the order in which they are taken.
pub(super) const ASGI_SERVERS: [&str; 4] = ["uvicorn", "hypercorn", "granian", "daphne"];
/// Files that are taken for the app when nothing says how it starts.
const SCRIPTS: [&str; 7] = ["main.py", "app.py", "server.py", "run.py", "bot.py", "src/main.py", "src/app.py"];

/// Decides how the release answers.
///
/// # Errors
/// A diagnosis `no-start-command` when nothing says so.
pub(super) fn decide(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Result<Start, Diagnosis> {
    if let Some(directory) = site::directory_set(project.settings) {
        return Ok(Start::Site(site::decide(project.settings, directory, None, "", reasons)));
    }
    let (command, from) = choose(project).ok_or_else(|| none(project))?;
    reasons.push(Reason { decided: format!("start: `{command}`"), from });
    Ok(Start::Command { command })
}

fn choose(project: &Project<'_>) -> Option<(String, String)> {
    let set = project.settings.start_command.as_deref().map(str::trim).filter(|command| !command.is_empty());
    if let Some(command) = set {
        return Some((command.to_owned(), "the setting `start_command`".to_owned()));
    }
    if let Some((command, from)) = project.procfile.command(project.settings.kind) {
        return Some((in_place(command), from));
    }
    if let Some(django) = &project.django {
        return Some(of_django(project, django));
    }
    if let Some(app) = &project.app {
        return Some(of_app(project, app));
    }
    let script = script(&project.tree)?;
    let path = project.tree.path(script);
    if project.manifests.has("streamlit") {
        let command =
            format!("exec streamlit run {script} --server.port $PORT --server.address 0.0.0.0 --server.headless true");
        return Some((command, format!("the dependency `streamlit` and `{path}`")));
    }
    Some((format!("exec python3 {script}"), format!("`{path}`, the only thing here that looks like the app")))
}

/// One plain command takes the place of its shell, so that it gets the signals.
fn in_place(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_one = is_plain(command) && !command.contains("&&") && !is_assignment(first) && first != "exec";
    if is_one { format!("exec {command}") } else { command.to_owned() }
}

/// The file that is run when there is no app object.
pub(super) fn script(tree: &Tree<'_>) -> Option<&'static str> {
    SCRIPTS.into_iter().find(|name| tree.has(name))
}

fn of_django(project: &Project<'_>, django: &Django<'_>) -> (String, String) {
    let has = |server: &str| project.manifests.has(server);
    let from = |server: &str| format!("the dependency `{server}`");
    let asgi_server = ASGI_SERVERS.into_iter().find(|server| has(server));
    let prefers_asgi = has("channels") || has("daphne");
    if let (Some(server), Some(object), true) = (asgi_server, &django.asgi, prefers_asgi || !has("gunicorn")) {
        return (asgi(server, object, false), from(server));
    }
    if let (Some(server), Some(object)) = (wsgi_server(project), &django.wsgi) {
        return (wsgi(server, object), from(server));
    }
    let command = format!("exec python3 {} runserver --noreload 0.0.0.0:$PORT", django.manage);
    (command, "no server is among the dependencies: this one of Django's is for development; add `gunicorn`".to_owned())
}

fn of_app(project: &Project<'_>, app: &App<'_>) -> (String, String) {
    let object = format!("{}:{}", app.module, app.object);
    let from = |server: &str| format!("the dependency `{server}` and `{object}` in `{}`", app.path);
    if app.framework.is_asgi() {
        let named = ASGI_SERVERS.into_iter().find(|server| project.manifests.has(server));
        let server = named.or_else(|| install::added_server(project)).unwrap_or("uvicorn");
        return (asgi(server, &object, app.is_factory), from(server));
    }
    if let Some(server) = wsgi_server(project) {
        let call = match (app.is_factory, server) {
            (false, _) => object.clone(),
            (true, "gunicorn") => format!("'{object}()'"),
            (true, _) => format!("--call {object}"),
        };
        return (wsgi(server, &call), from(server));
    }
    let command = format!("exec flask --app {object} run --host 0.0.0.0 --port $PORT");
    let title = Framework::Flask.title();
    (command, format!("no server is among the dependencies: this one of {title}'s is for development; add `gunicorn`"))
}

fn wsgi_server(project: &Project<'_>) -> Option<&'static str> {
    ["gunicorn", "waitress"].into_iter().find(|server| project.manifests.has(server))
}

fn wsgi(server: &str, object: &str) -> String {
    match server {
        "waitress" => format!("exec waitress-serve --listen=0.0.0.0:$PORT {object}"),
        _ => format!("exec gunicorn --bind 0.0.0.0:$PORT {object}"),
    }
}

fn asgi(server: &str, object: &str, is_factory: bool) -> String {
    let factory = if is_factory { " --factory" } else { "" };
    match server {
        "hypercorn" if is_factory => format!("exec hypercorn --bind 0.0.0.0:$PORT '{object}()'"),
        "hypercorn" => format!("exec hypercorn --bind 0.0.0.0:$PORT {object}"),
        "granian" => format!("exec granian --interface asgi --host 0.0.0.0 --port $PORT{factory} {object}"),
        "daphne" => format!("exec daphne -b 0.0.0.0 -p $PORT {object}"),
        _ => format!("exec uvicorn {object}{factory} --host 0.0.0.0 --port $PORT"),
    }
}

fn none(project: &Project<'_>) -> Diagnosis {
    let directory = project.tree.directory();
    let place = if directory.is_empty() { "top of the source".to_owned() } else { format!("`{directory}`") };
    NO_START_COMMAND
        .diagnosis("nothing says how the app is started")
        .at(place)
        .because(
            "there is no `manage.py` of Django, no object such as `app = FastAPI()` or `app = Flask(__name__)` at the beginning of a line in a file such as `main.py` or `app.py`, and no such file",
        )
        .hint("set `start_command = \"…\"` in `slipway.toml`, such as `uvicorn shop.web:app --host 0.0.0.0 --port $PORT`")
        .hint("or add a `Procfile` with a line `web: …`")
}
