//! What pip, uv, Poetry, Django, uvicorn and gunicorn print: outputs of the real programs, shortened.

use crate::Checked;
use crate::case::{built, installed, listening, running};
use slipway_types::host::ProbeResult;

const PIP: &str = "pip install -r requirements.txt";
const UV: &str = "uv sync --locked";
const POETRY: &str = "poetry install --no-interaction";

pub(crate) fn says(checked: &mut Checked) {
    packages(checked);
    requirements(checked);
    lockfiles(checked);
    native_code(checked);
    starts(checked);
}

fn packages(checked: &mut Checked) {
    let none = "ERROR: Could not find a version that satisfies the requirement no-such-4711 (from versions: none)";
    checked.check(
        installed(PIP, &[none, "ERROR: No matching distribution found for no-such-4711"]),
        ("package-not-found", "requirements.txt", "404", "spelling"),
    );
    let other = "ERROR: Could not find a version that satisfies the requirement idna==99.0 (from versions: 0.2, 3.7)";
    checked.check(
        installed(PIP, &[other, "ERROR: No matching distribution found for idna==99.0"]),
        ("package-version-not-found", "requirements.txt", "`idna`", "pip index versions idna"),
    );
    let uv = |because: &str| installed(UV, &["error: No solution found when resolving dependencies", because]);
    checked.check(
        uv("  cause: Because no-such-4711 was not found in the package registry and your project depends on it"),
        ("package-not-found", "pyproject.toml", "404", "spelling"),
    );
    checked.check(
        uv("  cause: Because there is no version of idna==99 and your project depends on idna==99, we can conclude"),
        ("package-version-not-found", "pyproject.toml", "`idna`", "pip index versions idna"),
    );
    let poetry = |line: &str| installed(POETRY, &["Resolving dependencies...", "", line]);
    checked.check(
        poetry("Because x depends on no-such-4711 (*) which doesn't match any versions, version solving failed."),
        ("package-not-found", "pyproject.toml", "404", "spelling"),
    );
    checked.check(
        poetry("Because x depends on idna (99.0) which doesn't match any versions, version solving failed."),
        ("package-version-not-found", "pyproject.toml", "`idna`", "pip index versions idna"),
    );
}

fn requirements(checked: &mut Checked) {
    checked.check(
        installed(PIP, &[
            "ERROR: Cannot install requests==2.31.0 and urllib3==1.20 because these package versions have conflicting dependencies.",
            "The conflict is caused by:",
            "    The user requested urllib3==1.20",
            "    requests 2.31.0 depends on urllib3<3 and >=1.21.1",
            "ERROR: ResolutionImpossible: for help visit a page",
        ]),
        ("peer-conflict", "requirements.txt", "requests 2.31.0 depends on urllib3", "fit together"),
    );
    for (command, line) in [
        (PIP, "ERROR: Package 'x' requires a different Python: 3.11.7 not in '>=3.13'"),
        (
            UV,
            "error: The requested interpreter resolved to Python 3.11.7, which is incompatible with the project's Python requirement: `>=3.13` (from `project.requires-python`)",
        ),
        (POETRY, "Current Python version (3.11.7) is not allowed by the project (>=3.13)."),
    ] {
        let manifest = if command == PIP { "requirements.txt" } else { "pyproject.toml" };
        checked.check(installed(command, &[line]), ("engine-mismatch", manifest, ">=3.13", "build.python_version"));
    }
    checked.check(
        installed(PIP, &[
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, please update the hashes.",
            "    idna==3.7 from a file#sha256=82fee1fc (from -r req.txt (line 1)):",
            "        Expected sha256 0000000000",
        ]),
        ("package-damaged", "requirements.txt", "sha256", "tampered"),
    );
}

fn lockfiles(checked: &mut Checked) {
    checked.check(
        installed(UV, &["error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided."]),
        ("lockfile-out-of-step", "uv.lock", "needs to be updated", "`uv lock`"),
    );
    checked.check(
        installed(UV, &["error: Unable to find lockfile at `uv.lock`, but `--frozen` was provided. To create a lockfile, run `uv lock`"]),
        ("lockfile-missing", "`uv sync --locked` in the phase `install`", "`uv.lock`", "`uv lock`"),
    );
    checked.check(
        installed(POETRY, &["pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix the lock file."]),
        ("lockfile-out-of-step", "poetry.lock", "changed significantly", "`poetry lock`"),
    );
}

fn native_code(checked: &mut Checked) {
    checked.check(
        installed(
            PIP,
            &[
                "Building wheels for collected packages: psycopg2",
                "  error: subprocess-exited-with-error",
                "      Error: pg_config executable not found.",
                "  ERROR: Failed building wheel for psycopg2",
            ],
        ),
        (
            "native-build-failed",
            "`pip install -r requirements.txt` in the phase `install`",
            "pg_config",
            "psycopg[binary]",
        ),
    );
    checked.check(
        installed(
            PIP,
            &[
                "      x.c:1:10: fatal error: no/such.h: No such file or directory",
                "  ERROR: Failed building wheel for x",
            ],
        ),
        ("native-build-failed", "`pip install -r requirements.txt` in the phase `install`", "no/such.h", "libpq-dev"),
    );
    checked.check(
        installed(
            PIP,
            &[
                "      Run-time dependency cairo found: NO  (tried pkg-config)",
                "      ../cairo/meson.build:31:12: ERROR: Dependency \"cairo\" not found (tried pkg-config)",
                "error: metadata-generation-failed",
                "× Encountered error while generating package metadata.",
            ],
        ),
        (
            "native-build-failed",
            "`pip install -r requirements.txt` in the phase `install`",
            "\"cairo\" not found",
            "libcairo2-dev",
        ),
    );
}

fn starts(checked: &mut Checked) {
    let uvicorn = "uvicorn main:app --host 0.0.0.0";
    let place = "`uvicorn main:app --host 0.0.0.0` in the phase `health`";
    for line in [
        "ERROR:    Error loading ASGI app. Could not import module \"main\".",
        "ERROR:    Error loading ASGI app. Attribute \"app\" not found in module \"main\".",
    ] {
        checked.check(running(uvicorn, Some(1), &[line]), ("app-import-failed", place, "main", "start_command"));
    }
    let gunicorn = "gunicorn wrong.wsgi:application";
    let lines = ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'wrong'"];
    checked.check(
        running(gunicorn, Some(3), &lines),
        ("app-import-failed", "`gunicorn wrong.wsgi:application` in the phase `health`", "'wrong'", "app.main:api"),
    );
    let trace = [
        "  File \"/app/main.py\", line 3, in <module>",
        "    import flask",
        "ModuleNotFoundError: No module named 'flask'",
    ];
    checked
        .check(running(uvicorn, Some(1), &trace), ("app-module-not-found", "main.py:3", "`flask`", "requirements.txt"));
    checked.check(
        built("python manage.py collectstatic --noinput", 1, &trace),
        ("module-not-found", "main.py:3", "`flask`", "requirements.txt"),
    );
    let secret = "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.";
    checked.check(
        running("gunicorn shop.wsgi", Some(3), &[secret]),
        ("django-settings", "`gunicorn shop.wsgi` in the phase `health`", "SECRET_KEY", "env set --secret SECRET_KEY"),
    );
    let mut refused = listening(Some(ProbeResult::Status { status: 400 }), &["0.0.0.0:3000"]);
    refused.evidence.tail =
        vec!["Invalid HTTP_HOST header: '10.201.0.2:3000'. You may need to add '10.201.0.2' to ALLOWED_HOSTS.".into()];
    checked.check(refused, ("django-allowed-hosts", "`GET /up` on port 3000", "Invalid HTTP_HOST", "ALLOWED_HOSTS"));
    let key =
        ["  File \"/app/main.py\", line 2, in <module>", "    os.environ[\"STRIPE_KEY\"]", "KeyError: 'STRIPE_KEY'"];
    checked.check(running(uvicorn, Some(1), &key), ("missing-variable", place, "STRIPE_KEY", "env set STRIPE_KEY"));
    let syntax = ["  File \"/app/main.py\", line 2", "    def f(:", "          ^", "SyntaxError: invalid syntax"];
    checked.check(running(uvicorn, Some(1), &syntax), ("syntax-error", "main.py:2", "invalid syntax", "that place"));
    let database = "psycopg.OperationalError: connection failed: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused";
    checked.check(
        running(uvicorn, Some(1), &[database]),
        ("database-unreachable", "127.0.0.1:5432", "loopback", "DATABASE_URL"),
    );
}
