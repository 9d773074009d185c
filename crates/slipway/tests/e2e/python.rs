//! Python apps as a person has them, made afresh by their own tools, with no configuration: each package manager, each
//! framework, a real request.

use crate::{BINARY, up, up_fails};
use slipway_testing::{Outcome, Postgres, TestServer, app, app::App};
use std::path::Path;
use std::process::Command;

/// Programs of the Python package index for the author of an app, in a directory of their own.
struct Tools(tempfile::TempDir);

impl Tools {
    fn with(packages: &[&str]) -> Tools {
        let tools = Tools(tempfile::tempdir().unwrap());
        let mut pip = Command::new("pip3");
        pip.args(["install", "--quiet", "--target"]).arg(tools.0.path()).args(packages);
        run(pip.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1"));
        tools
    }

    /// `python3 -m MODULE ARGS…` in `dir`.
    fn run(&self, dir: &Path, args: &[&str]) {
        let mut python = Command::new("python3");
        python.arg("-m").args(args).current_dir(dir).env("PYTHONPATH", self.0.path());
        run(python.env("POETRY_VIRTUALENVS_CREATE", "false"));
    }
}

/// Where pip looks by itself.
fn index_url() -> String {
    let script = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";
    let output = Command::new("python3").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// Milliseconds that a phase took, and whether it had nothing to do.
fn phase(run: &slipway_testing::Run, name: &str) -> (u64, bool) {
    let events = run.events();
    let finished = |e: &&serde_json::Value| e["event"] == "phase_finished" && e["phase"] == name;
    let event = events.iter().find(finished).unwrap();
    (event["duration_ms"].as_u64().unwrap(), event["result"] == "skipped")
}

#[test]
fn fastapi_with_uv() {
    const MAIN: &str = r#"
import os
import sys

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"hello": "fastapi", "prefix": sys.prefix, "development": "ruff" in os.listdir(sys.prefix + "/bin")}
"#;
    let server = TestServer::start(BINARY);
    let app = App::empty("fastapi").with("main.py", MAIN).with(
        "pyproject.toml",
        "[project]\nname = \"fastapi-app\"\nversion = \"0.1.0\"\nrequires-python = \">=3.10\"\ndependencies = []\n",
    );
    let tools = Tools::with(&["uv"]);
    tools.run(app.path(), &["uv", "add", "--no-sync", "--quiet", "fastapi[standard]"]);
    tools.run(app.path(), &["uv", "add", "--no-sync", "--quiet", "--dev", "ruff"]);

    let first = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    let page = server.get("web-fastapi.localhost", "/");
    assert_eq!(page.body, r#"{"hello":"fastapi","prefix":"/app/.venv","development":false}"#);
    assert_eq!(server.get("web-fastapi.localhost", "/docs").status, 200);

    app.write("main.py", &MAIN.replace("\"fastapi\",", "\"again\","));
    let second = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    assert!(phase(&second, "install").1, "an unchanged lockfile installs nothing");
    assert!(server.get("web-fastapi.localhost", "/").body.contains("again"));
    println!("install {} ms, again {} ms", phase(&first, "install").0, phase(&second, "install").0);

    // The lockfile does not know what is asked for.
    let pyproject = std::fs::read_to_string(app.path().join("pyproject.toml")).unwrap();
    app.write("pyproject.toml", &pyproject.replace("dependencies = [", "dependencies = [\"httpx\","));
    let refused = server.run_in(app.path(), &["up", "--json"]).expect_code(1).outcome();
    assert!(refused.transcript().contains("uv.lock"), "{}", refused.transcript());
}

#[test]
fn flask_with_pip() {
    const APP: &str = "import os\n\nfrom flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get(\"/\")\ndef index():\n    return f\"hello flask {os.environ['GREETING']}\"\n";
    let server = TestServer::start(BINARY);
    let app = App::empty("flask").with("app.py", APP).with("requirements.txt", "-r base.txt\ngunicorn\n");
    app.write("base.txt", "# the framework\nflask>=3\n");
    drop(server.run_in(app.path(), &["env", "set", "GREETING=from the environment"]).expect_code(0));
    let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    assert_eq!(server.get("web-flask.localhost", "/").body, "hello flask from the environment");
    println!("install {} ms", phase(&run, "install").0);

    // Without a server of its own: that of the framework.
    app.write("requirements.txt", "-r base.txt\n");
    let outcome = up(&server, app.path());
    assert!(outcome.transcript().contains("add `gunicorn`"), "{}", outcome.transcript());
    assert_eq!(server.get("web-flask.localhost", "/").body, "hello flask from the environment");
}

#[test]
fn django_with_poetry() {
    let server = TestServer::start(BINARY);
    let app = App::empty("django").with(
        "pyproject.toml",
        "[project]\nname = \"django-app\"\nversion = \"0.1.0\"\nrequires-python = \">=3.10,<4\"\ndependencies = [\"django\", \"gunicorn\"]\n\n[tool.poetry]\npackage-mode = false\n",
    );
    // Poetry reads the default index by another interface than pip does, which not every mirror of it has.
    let source = format!("\n[[tool.poetry.source]]\nname = \"index\"\nurl = \"{}\"\n", index_url());
    let pyproject = std::fs::read_to_string(app.path().join("pyproject.toml")).unwrap();
    app.write("pyproject.toml", &(pyproject + &source));
    let tools = Tools::with(&["django", "poetry"]);
    tools.run(app.path(), &["django", "startproject", "shop", "."]);
    tools.run(app.path(), &["poetry", "lock", "--no-interaction"]);

    let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    let said = |outcome: &Outcome, words: &str| assert!(outcome.transcript().contains(words), "{words}");
    said(&run.outcome(), "ALLOWED_HOSTS");
    said(&run.outcome(), "migrations are not run");
    let page = server.get("web-django.localhost", "/");
    assert!(page.status == 200 && page.body.contains("The install worked successfully"), "{}", page.body);
    println!("install {} ms", phase(&run, "install").0);

    // Settings for production as a person writes them first.
    let settings = std::fs::read_to_string(app.path().join("shop/settings.py")).unwrap();
    let settings = settings
        .replace("DEBUG = True", "DEBUG = False")
        .replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS = ['.localhost']\nSTATIC_ROOT = BASE_DIR / 'staticfiles'");
    app.write("shop/settings.py", &settings);
    let outcome = up(&server, app.path());
    said(&outcome, "python manage.py collectstatic --noinput");
    let page = server.get("web-django.localhost", "/");
    assert!(page.status == 404 && page.body.contains("Not Found"), "{} {}", page.status, page.body);
}

#[test]
fn the_python_example_migrates_before_it_goes_live() {
    let database = Postgres::start();
    let server = TestServer::start_with(BINARY, &database.allow());
    let example = app::example("python");
    let app = App::empty("python");
    run(Command::new("cp").arg("-R").arg(example.join(".")).arg(app.path()));

    // Without a database the migration fails, and says why.
    let missing = up_fails(&server, app.path(), "django-settings");
    assert!(missing.transcript().contains("ENGINE"), "{}", missing.transcript());

    let url = format!("DATABASE_URL={}", database.url());
    drop(server.run_in(app.path(), &["env", "set", "--secret", &url]).expect_code(0));
    up(&server, app.path());
    let page = server.get("web-python.localhost", "/");
    assert!(page.status == 200 && page.body.contains("Nothing is written yet"), "{}", page.body);
    assert!(page.body.contains("/static/notes/style."), "{}", page.body);
    assert_eq!(database.query("SELECT app || '/' || name FROM django_migrations"), "notes/0001_initial");
    database.query("INSERT INTO notes_note (text, written_at) VALUES ('of release 1', now())");
    assert!(server.get("web-python.localhost", "/").body.contains("of release 1"));

    // A migration that fails stops the deployment: the old release still serves its schema.
    app.write(
        "notes/migrations/0002_broken.py",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [(\"notes\", \"0001_initial\")]\n    operations = [migrations.RunSQL(\"ALTER TABLE notes_nothing ADD COLUMN x int\")]\n",
    );
    let failed = up_fails(&server, app.path(), "pre-deploy-failed");
    assert!(failed.transcript().contains("notes_nothing"), "{}", failed.transcript());
    assert!(server.get("web-python.localhost", "/").body.contains("of release 1"));
    assert_eq!(database.query("SELECT count(*) FROM django_migrations"), "1");
}
