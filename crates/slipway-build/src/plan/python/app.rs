//! The object that answers: `app = FastAPI()` and its likes, found in the text of well-known files.

use crate::tree::Tree;

/// Files that are looked at, the likeliest first.
const FILES: [&str; 9] =
    ["main.py", "app.py", "asgi.py", "wsgi.py", "application.py", "server.py", "api.py", "run.py", "__init__.py"];
/// Directories that hold no app that is served.
const LEFT_OUT: [&str; 9] =
    ["test", "tests", "example", "examples", "docs", "scripts", "migrations", "site-packages", "node_modules"];
/// An app lies at most this many directories deep: `src/shop/web/main.py`.
const DEPTH_MAX: usize = 3;
/// Functions that make an app.
const FACTORIES: [&str; 4] = ["create_app", "make_app", "get_app", "build_app"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framework {
    FastApi,
    FastHtml,
    Flask,
    Quart,
    Litestar,
    Starlette,
}

impl Framework {
    const ALL: [Framework; 6] = [
        Framework::FastApi,
        Framework::FastHtml,
        Framework::Flask,
        Framework::Quart,
        Framework::Litestar,
        Framework::Starlette,
    ];

    /// As people write it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Framework::FastApi => "FastAPI",
            other => other.class(),
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Framework::FastApi => "FastAPI",
            Framework::FastHtml => "FastHTML",
            Framework::Flask => "Flask",
            Framework::Quart => "Quart",
            Framework::Litestar => "Litestar",
            Framework::Starlette => "Starlette",
        }
    }

    pub(super) fn is_asgi(self) -> bool {
        self != Framework::Flask
    }
}

/// An app, and how it is imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct App<'t> {
    pub(super) framework: Framework,
    /// Relative to the top.
    pub(super) path: &'t str,
    /// `shop.main`
    pub(super) module: String,
    /// Name of the object, or of the function that makes it.
    pub(super) object: String,
    pub(super) is_factory: bool,
    /// Relative to the service's directory: where `module` is found. Empty is that directory.
    pub(super) import_directory: &'t str,
}

/// The app that is served: the one nearest to the top.
pub(super) fn find<'t>(tree: &Tree<'t>) -> Option<App<'t>> {
    let files = candidates(tree);
    let objects = files.iter().find_map(|(path, text)| {
        let (framework, object) = Framework::ALL.into_iter().find_map(|f| Some((f, assigned(text, f.class())?)))?;
        Some(found(tree, path, text, framework, object, false))
    });
    objects.or_else(|| by_factory(tree, &files))
}

/// An app that a function makes: what calls it in a well-known file, else the function.
fn by_factory<'t>(tree: &Tree<'t>, files: &[(&'t str, &'t str)]) -> Option<App<'t>> {
    let (path, text, framework, factory) = files.iter().find_map(|(path, text)| {
        let factory = FACTORIES.into_iter().find(|name| text.contains(&format!("def {name}(")))?;
        let framework = Framework::ALL.into_iter().find(|f| text.contains(&format!("{}(", f.class())))?;
        Some((*path, *text, framework, factory))
    })?;
    let called = files.iter().find_map(|(path, text)| Some((*path, *text, assigned(text, factory)?)));
    Some(match called {
        Some((path, text, object)) => found(tree, path, text, framework, object, false),
        None => found(tree, path, text, framework, factory, true),
    })
}

fn found<'t>(
    tree: &Tree<'t>,
    path: &'t str,
    text: &str,
    framework: Framework,
    object: &str,
    is_factory: bool,
) -> App<'t> {
    let inside = tree.relative(path).unwrap_or(path);
    let (import_directory, file) = import_directory(tree, inside, text);
    let module = file.trim_end_matches(".py").trim_end_matches("/__init__").replace('/', ".");
    App { framework, path, module, object: object.to_owned(), is_factory, import_directory }
}

/// The well-known files with their texts, nearest to the top first.
fn candidates<'t>(tree: &Tree<'t>) -> Vec<(&'t str, &'t str)> {
    let rank = |path: &str| FILES.iter().position(|name| path.rsplit('/').next() == Some(name));
    let mut paths: Vec<(usize, usize, &'t str)> = tree
        .files()
        .filter_map(|path| {
            let inside = tree.relative(path)?;
            let depth = inside.matches('/').count();
            let is_left_out = inside.split('/').any(|part| LEFT_OUT.contains(&part) || part.starts_with('.'));
            (depth <= DEPTH_MAX && !is_left_out).then_some(())?;
            Some((depth, rank(path)?, path))
        })
        .collect();
    paths.sort_unstable();
    paths.into_iter().filter_map(|(_, _, path)| Some((path, tree.top().text(path)?))).collect()
}

/// The name on the left of `name = Class(` at the beginning of a line, with or without an annotation.
fn assigned<'t>(text: &'t str, class: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once('=')?;
        let (called, _) = right.split_once('(')?;
        (called.trim().rsplit('.').next() == Some(class) && !called.trim().contains(' ')).then_some(())?;
        let name = left.split(':').next().unwrap_or_default().trim_end();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name.then_some(name)
    })
}

/// Where a file is imported from: `src` is no package; another directory is one when it says so or when the file imports
/// from it, and none when the file imports its neighbours by their bare names.
fn import_directory<'t>(tree: &Tree<'t>, inside: &'t str, text: &str) -> (&'t str, &'t str) {
    let Some((directory, file)) = inside.split_once('/') else { return ("", inside) };
    if directory == "src" && !tree.has("src/__init__.py") && !imports(text, "src") {
        return (directory, file);
    }
    let is_package =
        tree.has(&format!("{directory}/__init__.py")) || imports(text, directory) || text.contains("from .");
    let neighbours = tree.files().filter_map(|path| {
        let name = tree.relative(path)?.strip_prefix(directory)?.strip_prefix('/')?;
        name.split('/').next().map(|name| name.trim_end_matches(".py"))
    });
    let imports_neighbours = || neighbours.into_iter().any(|name| imports(text, name));
    if !is_package && imports_neighbours() { (directory, file) } else { ("", inside) }
}

/// Whether a text imports a module or something of it.
fn imports(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix("from ").or_else(|| line.strip_prefix("import "));
        let named = rest.and_then(|rest| rest.trim_start().strip_prefix(module));
        named.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ', ',']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    #[test]
    fn apps_are_found_with_their_modules() {
        for (files, expect) in [
            (
                &[("main.py", "from fastapi import FastAPI\napp = FastAPI(title='x')\n")][..],
                Some(("main", "app", "", false)),
            ),
            (&[("main.py", "api: FastAPI = FastAPI()\n")], Some(("main", "api", "", false))),
            (&[("main.py", "app = fastapi.FastAPI()\n")], Some(("main", "app", "", false))),
            (&[("app/__init__.py", ""), ("app/main.py", "app = FastAPI(\n)\n")], Some(("app.main", "app", "", false))),
            (
                &[("app/main.py", "from app.db import x\napp = FastAPI()\n"), ("app/db.py", "")],
                Some(("app.main", "app", "", false)),
            ),
            (
                &[("backend/main.py", "from db import x\napp = FastAPI()\n"), ("backend/db.py", "")],
                Some(("main", "app", "backend", false)),
            ),
            (&[("src/shop/main.py", "app = FastAPI()\n")], Some(("shop.main", "app", "src", false))),
            (&[("src/main.py", "app = FastAPI()\n")], Some(("main", "app", "src", false))),
            (&[("shop/__init__.py", "app = Flask(__name__)\n")], Some(("shop", "app", "", false))),
            (
                &[("shop/__init__.py", "def create_app():\n    app = Flask(__name__)\n    return app\n")],
                Some(("shop", "create_app", "", true)),
            ),
            (
                &[
                    ("shop/__init__.py", "def create_app():\n    app = Flask(__name__)\n"),
                    ("wsgi.py", "from shop import create_app\napplication = create_app()\n"),
                ],
                Some(("wsgi", "application", "", false)),
            ),
            (&[("tests/main.py", "app = FastAPI()\n")], None),
            (&[("main.py", "print('app = FastAPI()')\n")], None),
            (&[("main.py", "    app = FastAPI()\n")], None),
        ] {
            let listing = listing(files);
            let app = find(&Tree::new(&listing, ""));
            let found = app.as_ref().map(|a| (a.module.as_str(), a.object.as_str(), a.import_directory, a.is_factory));
            assert_eq!(found, expect, "{files:?}");
        }
    }
}
