//! Python apps as a person has them, with no configuration: each package manager, each framework, a real request.

use crate::{BINARY, up};
use slipway_testing::{TestServer, app::App};

const FASTAPI: &str = r#"
import os
import platform
import sys

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return {"hello": "fastapi", "python": platform.python_version(), "prefix": sys.prefix, "port": os.environ["PORT"]}
"#;

#[test]
fn fastapi_with_uv() {
    let server = TestServer::start(BINARY);
    let app = App::empty("pyfast").with("main.py", FASTAPI).with(
        "pyproject.toml",
        "[project]\nname = \"pyfast\"\nversion = \"0.1.0\"\nrequires-python = \">=3.10\"\ndependencies = [\"fastapi\", \"uvicorn\"]\n",
    );
    let outcome = up(&server, app.path());
    let page = server.get("web-pyfast.localhost", "/");
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("\"hello\":\"fastapi\"") && page.body.contains("/app/.venv"), "{}", page.body);
    println!("{}", outcome.transcript());
}
