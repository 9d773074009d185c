//! Which service a command is about: flags, then `SLIPWAY_PROJECT` and `SLIPWAY_SERVICE`, then `slipway.toml` of the
//! directory, then the directory's name and `web`.

use super::args::GlobalOptions;
use crate::failure::Failure;
use slipway_types::settings::Manifest;
use slipway_types::{ProjectName, ServiceName, ServiceSettings, SettingsPatch};
use std::fmt;
use std::path::Path;

const MANIFEST_NAME: &str = "slipway.toml";
/// A file of settings is a few hundred bytes; more is a mistake.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
const SERVICE_DEFAULT: &str = "web";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) project: ProjectName,
    pub(crate) service: ServiceName,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.service)
    }
}

impl Target {
    /// Resolves for the directory `dir`, whose `slipway.toml` is checked on the way: a deployment that can only fail
    /// is refused before anything is sent.
    ///
    /// # Errors
    /// When `slipway.toml` is not usable, or no project name can be made.
    pub(crate) fn of_directory(options: &GlobalOptions, dir: &Path) -> Result<Self, Failure> {
        let absolute = dir.canonicalize().map_err(|error| {
            Failure::usage(format!("cannot open the directory `{}`", dir.display())).caused_by(&error)
        })?;
        let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::resolve(options, &absolute, &name)
    }

    /// Resolves for a git repository: as for the working directory, but the last resort is the repository's name.
    ///
    /// # Errors
    /// As [`Target::of_directory`].
    pub(crate) fn of_repository(options: &GlobalOptions, url: &str) -> Result<Self, Failure> {
        let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
        Self::resolve(options, Path::new("."), last.trim_end_matches(".git"))
    }

    fn resolve(options: &GlobalOptions, dir: &Path, free_name: &str) -> Result<Self, Failure> {
        let manifest = read_manifest(&dir.join(MANIFEST_NAME))?;
        let project = options.project.clone().or(manifest.project).or_else(|| ProjectName::from_free_text(free_name));
        let project = project.ok_or_else(|| {
            Failure::usage(format!("no project name can be made of `{free_name}`"))
                .hint("name it by `--project`, or by `project = \"…\"` in slipway.toml")
        })?;
        let service = match options.service.clone().or(manifest.service) {
            Some(service) => service,
            None => ServiceName::parse(SERVICE_DEFAULT).map_err(|error| Failure::usage(error.to_string()))?,
        };
        Ok(Self { project, service })
    }
}

/// The manifest at `path`, checked; the empty one when there is no such file.
fn read_manifest(path: &Path) -> Result<Manifest, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("cannot read `{}`", path.display())).caused_by(&error);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Manifest::default()),
        Err(error) => return Err(unreadable(error)),
        Ok(facts) if facts.len() > MANIFEST_BYTES_MAX => {
            return Err(Failure::usage(format!("`{}` is larger than {MANIFEST_BYTES_MAX} bytes", path.display())));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_manifest(&text).map_err(|cause| {
        let mut failure = Failure::usage(format!("`{}` is not usable", path.display()));
        failure = failure.caused_by(cause.as_ref());
        failure
    })
}

fn parse_manifest(text: &str) -> Result<Manifest, Box<dyn std::error::Error>> {
    let table: toml::Table = text.parse()?;
    SettingsPatch::check_keys(table.keys().map(String::as_str))?;
    let manifest: Manifest = toml::from_str(text)?;
    ServiceSettings::resolve([&manifest.settings])?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(project: Option<&str>) -> GlobalOptions {
        let project = project.map(|name| ProjectName::parse(name).unwrap());
        GlobalOptions { data: None, url: None, token: None, project, service: None, json: false }
    }

    #[test]
    fn flags_then_file_then_directory() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("My Shop");
        std::fs::create_dir(&dir).unwrap();
        let resolved = |flag| Target::of_directory(&options(flag), &dir).unwrap().to_string();
        assert_eq!(resolved(None), "my-shop/web");
        std::fs::write(dir.join("slipway.toml"), "project = \"site\"\nservice = \"api\"\n").unwrap();
        assert_eq!(resolved(None), "site/api");
        assert_eq!(resolved(Some("flag")), "flag/api");
    }

    #[test]
    fn a_repository_names_the_project() {
        for url in ["https://git.example/me/shop.git", "git@git.example:me/shop", "file:///srv/shop/"] {
            assert_eq!(Target::of_repository(&options(None), url).unwrap().project.as_str(), "shop", "{url}");
        }
    }

    #[test]
    fn a_manifest_that_cannot_be_is_refused() {
        for (text, part) in [
            ("replicas = ", "TOML parse error"),
            ("replica = 2", "did you mean `replicas`"),
            ("replicas = 99", "1 to 32"),
            ("project = \"Not A Name\"", "is not a project name"),
            ("[health]\npth = \"/\"", "unknown field `pth`"),
            ("[resources]\nmemory = \"many\"", "is not a size"),
        ] {
            let refusal = parse_manifest(text).unwrap_err().to_string();
            assert!(refusal.contains(part), "{text}: {refusal}");
        }
    }
}
