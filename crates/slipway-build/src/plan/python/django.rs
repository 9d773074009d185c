//! Django projects: which settings, which application object, and what a person should know before the first request.

use super::manifest::Manifests;
use crate::tree::Tree;
use slipway_types::plan::Reason;

/// A project, found by its `manage.py`.
#[derive(Debug)]
pub(super) struct Django<'t> {
    /// Relative to the service's directory.
    pub(super) manage: String,
    /// Where its modules are found, relative to the service's directory.
    pub(super) directory: &'t str,
    pub(super) settings_module: Option<String>,
    /// `shop.wsgi:application`
    pub(super) wsgi: Option<String>,
    pub(super) asgi: Option<String>,
    settings: Vec<&'t str>,
}

/// In the directory itself or, when there is exactly one, in a directory right below it.
pub(super) fn find<'t>(tree: &Tree<'t>) -> Option<Django<'t>> {
    let is_django = |text: &str| text.contains("DJANGO_SETTINGS_MODULE") || text.contains("django");
    let mut below = tree.files().filter_map(|path| {
        let inside = tree.relative(path)?;
        let directory = inside.strip_suffix("/manage.py")?;
        (!directory.contains('/') && is_django(tree.text(inside)?)).then_some(directory)
    });
    let directory = if tree.text("manage.py").is_some_and(is_django) {
        ""
    } else {
        below.next().filter(|_| below.next().is_none())?
    };
    let inside = |name: &str| if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
    let manage = inside("manage.py");
    let (wsgi_file, asgi_file) = (nearest(tree, directory, "wsgi.py"), nearest(tree, directory, "asgi.py"));
    // What serves names the settings of production, where those are others.
    let named = [wsgi_file, asgi_file].into_iter().flatten().find_map(|file| settings_module(tree.text(file)?));
    let settings_module = named.or_else(|| settings_module(tree.text(&manage)?));
    let settings = settings_module.as_deref().map(|module| texts(tree, directory, module)).unwrap_or_default();
    let said = |name: &str| settings.iter().find_map(|text| text_value(text, name)).and_then(|path| with_colon(&path));
    let object = |file: Option<&str>| file.map(|file| format!("{}:application", module_of(file, directory)));
    let wsgi = said("WSGI_APPLICATION").or_else(|| object(wsgi_file));
    let asgi = said("ASGI_APPLICATION").or_else(|| object(asgi_file));
    Some(Django { manage, directory, settings_module, wsgi, asgi, settings })
}

impl Django<'_> {
    /// The command that gathers static files, when the settings say where to, and why.
    pub(super) fn collectstatic(&self) -> Option<(String, String)> {
        self.sets("STATIC_ROOT").then(|| {
            let command = format!("python {} collectstatic --noinput", self.manage);
            (command, "the settings have `STATIC_ROOT`".to_owned())
        })
    }

    /// What does not stop a deployment and would surprise afterwards.
    pub(super) fn warnings(&self, manifests: &Manifests<'_>, migrates: bool) -> Vec<Reason> {
        let mut warnings = Vec::new();
        let mut warn = |decided: &str, from: String| warnings.push(Reason { decided: decided.to_owned(), from });
        if !migrates {
            let command = format!("python {} migrate --noinput", self.manage);
            warn(
                "migrations are not run",
                format!("set `pre_deploy_command = \"{command}\"` to run them before each release"),
            );
        }
        if self.settings.iter().any(|text| has_empty_hosts(text)) {
            let from = "`ALLOWED_HOSTS = []` in the settings: add the service's host name, and `localhost` where `health.path` is set";
            warn("Django answers 400 to every host name but localhost", from.to_owned());
        }
        if !["whitenoise", "servestatic"].iter().any(|server| manifests.has(server)) {
            let from =
                "no dependency does it while `DEBUG` is off: add `whitenoise`, and `STATIC_ROOT` to the settings";
            warn("static files are not served", from.to_owned());
        }
        let uses_sqlite = self.settings.iter().any(|text| text.contains("django.db.backends.sqlite3"));
        if uses_sqlite
            && !self.settings.iter().any(|text| text.contains("DATABASE_URL") || text.contains("dj_database_url"))
        {
            warn(
                "what SQLite stores is lost with each release",
                "the settings name `django.db.backends.sqlite3`: use a database server".to_owned(),
            );
        }
        warnings
    }

    fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|text| text.lines().any(|line| value_of(line, name).is_some()))
    }
}

/// The file of that name nearest to the top of `directory`, relative to the service's directory.
fn nearest<'t>(tree: &Tree<'t>, directory: &str, name: &str) -> Option<&'t str> {
    let is_inside =
        |path: &&str| directory.is_empty() || path.strip_prefix(directory).is_some_and(|r| r.starts_with('/'));
    let inside = tree.files().filter_map(|path| tree.relative(path)).filter(is_inside);
    let named = inside.filter(|path| path.rsplit('/').next() == Some(name));
    named.min_by_key(|path| (path.matches('/').count(), *path))
}

fn module_of(file: &str, directory: &str) -> String {
    file.strip_prefix(directory).unwrap_or(file).trim_start_matches('/').trim_end_matches(".py").replace('/', ".")
}

/// From `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")`.
fn settings_module(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("DJANGO_SETTINGS_MODULE") && line.contains("setdefault"))?;
    let value = line.split(['"', '\'']).filter(|part| !part.trim().is_empty()).nth(3)?;
    is_module(value).then(|| value.to_owned())
}

fn is_module(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The file of the settings and those that it usually imports from.
fn texts<'t>(tree: &Tree<'t>, directory: &str, module: &str) -> Vec<&'t str> {
    let path = module.replace('.', "/");
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    let names = [
        format!("{path}.py"),
        format!("{path}/__init__.py"),
        format!("{path}/base.py"),
        format!("{path}/production.py"),
        format!("{parent}/base.py"),
    ];
    let inside = |name: &str| if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
    names.iter().filter_map(|name| tree.text(&inside(name))).collect()
}

/// What is assigned to a name at the beginning of a line.
fn value_of<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let rest = line.strip_prefix(name)?.trim_start();
    let rest = if rest.starts_with(':') { rest.split_once('=')?.1 } else { rest.strip_prefix('=')? };
    Some(rest.trim())
}

fn text_value(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| value_of(line, name))?;
    let value = value.trim_matches(['"', '\'']);
    is_module(value).then(|| value.to_owned())
}

/// `shop.wsgi.application` → `shop.wsgi:application`.
fn with_colon(path: &str) -> Option<String> {
    path.rsplit_once('.').map(|(module, object)| format!("{module}:{object}"))
}

fn has_empty_hosts(text: &str) -> bool {
    text.lines()
        .filter_map(|line| value_of(line, "ALLOWED_HOSTS"))
        .any(|value| value.replace(' ', "").starts_with("[]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    const MANAGE: &str = "def main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n";

    #[test]
    fn a_project_of_startproject() {
        let settings = "DEBUG = True\nALLOWED_HOSTS = []\nWSGI_APPLICATION = 'shop.wsgi.application'\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3'}}\nSTATIC_URL = 'static/'\n";
        let tree = listing(&[
            ("manage.py", MANAGE),
            ("shop/settings.py", settings),
            ("shop/wsgi.py", ""),
            ("shop/asgi.py", ""),
        ]);
        let django = find(&Tree::new(&tree, "")).unwrap();
        assert_eq!((django.manage.as_str(), django.directory), ("manage.py", ""));
        assert_eq!(django.settings_module.as_deref(), Some("shop.settings"));
        assert_eq!(django.wsgi.as_deref(), Some("shop.wsgi:application"));
        assert_eq!(django.asgi.as_deref(), Some("shop.asgi:application"));
        assert_eq!(django.collectstatic(), None);
        let manifests = Manifests::read(&Tree::new(&tree, "")).unwrap();
        assert_eq!(django.warnings(&manifests, false).len(), 4);
    }

    #[test]
    fn a_project_with_settings_of_its_own_for_production() {
        let wsgi = "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"config.settings.production\")\n";
        let tree = listing(&[
            ("backend/manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.local')"),
            ("backend/config/wsgi.py", wsgi),
            ("backend/config/settings/base.py", "STATIC_ROOT = BASE_DIR / 'static'\n"),
        ]);
        let django = find(&Tree::new(&tree, "")).unwrap();
        assert_eq!((django.manage.as_str(), django.directory), ("backend/manage.py", "backend"));
        assert_eq!(django.settings_module.as_deref(), Some("config.settings.production"));
        assert_eq!(django.wsgi.as_deref(), Some("config.wsgi:application"));
        assert_eq!(django.collectstatic().unwrap().0, "python backend/manage.py collectstatic --noinput");
    }

    #[test]
    fn other_manage_files_are_none() {
        assert!(find(&Tree::new(&listing(&[("manage.py", "print(1)")]), "")).is_none());
        assert!(find(&Tree::new(&listing(&[("a/manage.py", MANAGE), ("b/manage.py", MANAGE)]), "")).is_none());
    }
}
