//! pip, uv, Poetry, uvicorn, gunicorn and Django refuse.

use crate::case::{Case, provoke};

/// One set of packages for all that start: one dependency layer.
const SERVERS: &str = "django==5.2.4\ngunicorn==23.0.0\nuvicorn==0.35.0\n";
const PYPROJECT: &str =
    "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"idna==3.6\"]\n";
const DJANGO: &str = "import os\nfrom django.core.wsgi import get_wsgi_application\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\napplication = get_wsgi_application()\n";

/// Signs something at once, as sessions do later.
const SIGNING: &str =
    "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\nfrom django.core.signing import Signer\nSigner()\n";

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "pyproject",
        code: "invalid-pyproject",
        place: "pyproject.toml:2",
        says: &["TOML"],
        files: &[("pyproject.toml", "[project]\nname = \n")],
        ..Case::EMPTY
    },
    Case {
        name: "version",
        code: "invalid-python-version",
        place: ".python-version",
        says: &["newest"],
        files: &[("requirements.txt", ""), ("main.py", ""), (".python-version", "the newest\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pip-none",
        code: "package-not-found",
        place: "requirements.txt",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[("requirements.txt", "slipway-no-such-package-4711\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pip-version",
        code: "package-version-not-found",
        place: "requirements.txt",
        says: &["idna==99.0", "pip index versions idna"],
        settings: "start_command = \"true\"",
        files: &[("requirements.txt", "idna==99.0\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pip-conflict",
        code: "peer-conflict",
        place: "requirements.txt",
        says: &["urllib3"],
        settings: "start_command = \"true\"",
        files: &[("requirements.txt", "requests==2.31.0\nurllib3==1.20\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pip-hash",
        code: "package-damaged",
        place: "requirements.txt",
        says: &["sha256"],
        settings: "start_command = \"true\"",
        files: &[(
            "requirements.txt",
            "idna==3.7 --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        )],
        ..Case::EMPTY
    },
    Case {
        name: "pip-python",
        code: "engine-mismatch",
        place: "requirements.txt",
        says: &["3.12", "build.python_version"],
        settings: "start_command = \"true\"\n[build]\npython_version = \"3.11\"",
        files: &[("requirements.txt", "django==6.0\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pip-compile",
        code: "native-build-failed",
        place: "pip",
        says: &["no/such/library.h"],
        settings: "start_command = \"true\"",
        files: &[
            ("requirements.txt", "./c\n"),
            (
                "c/setup.py",
                "from setuptools import setup, Extension\nsetup(name='x', version='1', ext_modules=[Extension('x', ['x.c'])])\n",
            ),
            ("c/x.c", "#include <no/such/library.h>\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pip-library",
        code: "native-build-failed",
        place: "pip",
        says: &["\"cairo\" not found", "libcairo2-dev"],
        settings: "start_command = \"true\"",
        files: &[("requirements.txt", "pycairo==1.28.0\n")],
        ..Case::EMPTY
    },
    Case {
        name: "uv-stale",
        code: "lockfile-out-of-step",
        place: "uv.lock",
        says: &["uv lock"],
        settings: "start_command = \"true\"",
        files: &[
            ("pyproject.toml", PYPROJECT),
            (
                "uv.lock",
                "version = 1\nrevision = 3\nrequires-python = \">=3.10\"\n\n[[package]]\nname = \"x\"\nversion = \"1\"\nsource = { virtual = \".\" }\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "uv-garbled",
        code: "lockfile-invalid",
        place: "uv.lock",
        says: &["uv lock"],
        settings: "start_command = \"true\"",
        files: &[("pyproject.toml", PYPROJECT), ("uv.lock", "<<<<<<< HEAD\nversion = 1\n")],
        ..Case::EMPTY
    },
    Case {
        name: "uv-none",
        code: "package-not-found",
        place: "pyproject.toml",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"uv sync\"",
        files: &[
            (
                "pyproject.toml",
                "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"slipway-no-such-package-4711\"]\n",
            ),
            ("uv.lock", "version = 1\nrequires-python = \">=3.10\"\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "poetry-stale",
        code: "lockfile-out-of-step",
        place: "poetry.lock",
        says: &["poetry lock"],
        settings: "start_command = \"true\"",
        files: &[
            (
                "pyproject.toml",
                "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"idna==3.6\"]\n[tool.poetry]\npackage-mode = false\n",
            ),
            (
                "poetry.lock",
                "package = []\n\n[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.10\"\ncontent-hash = \"0\"\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "asgi-module",
        code: "app-import-failed",
        place: "uvicorn wrong:app",
        says: &["wrong", "start_command"],
        settings: "start_command = \"uvicorn wrong:app --port $PORT\"",
        files: &[("requirements.txt", SERVERS), ("main.py", "")],
        ..Case::EMPTY
    },
    Case {
        name: "asgi-name",
        code: "app-import-failed",
        place: "uvicorn main:nope",
        says: &["nope"],
        settings: "start_command = \"uvicorn main:nope --port $PORT\"",
        files: &[("requirements.txt", SERVERS), ("main.py", "")],
        ..Case::EMPTY
    },
    Case {
        name: "wsgi-module",
        code: "app-import-failed",
        place: "gunicorn wrong:app",
        says: &["wrong"],
        settings: "start_command = \"gunicorn wrong:app\"",
        files: &[("requirements.txt", SERVERS), ("main.py", "")],
        ..Case::EMPTY
    },
    Case {
        name: "wsgi-import",
        code: "app-module-not-found",
        place: "main.py:1",
        says: &["no_such_module", "requirements.txt"],
        settings: "start_command = \"gunicorn main:app\"",
        files: &[("requirements.txt", SERVERS), ("main.py", "import no_such_module\n")],
        ..Case::EMPTY
    },
    Case {
        name: "django-secret",
        code: "django-settings",
        place: "gunicorn wsgi",
        says: &["SECRET_KEY", "slipway env set --secret SECRET_KEY"],
        settings: "start_command = \"gunicorn wsgi\"",
        files: &[("requirements.txt", SERVERS), ("wsgi.py", SIGNING), ("settings.py", "SECRET_KEY = ''\n")],
        ..Case::EMPTY
    },
    Case {
        name: "django-hosts",
        code: "django-allowed-hosts",
        place: "GET /up",
        says: &["ALLOWED_HOSTS"],
        settings: "start_command = \"gunicorn --bind 0.0.0.0:$PORT wsgi\"\n[health]\npath = \"/up\"\nstart_timeout = \"15s\"",
        files: &[
            ("requirements.txt", SERVERS),
            ("wsgi.py", DJANGO),
            (
                "settings.py",
                "DEBUG = True\nSECRET_KEY = 'x'\nALLOWED_HOSTS = ['shop.example.com']\nROOT_URLCONF = 'urls'\nMIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n",
            ),
            ("urls.py", "urlpatterns = []\n"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn python() {
    provoke(CASES);
}
