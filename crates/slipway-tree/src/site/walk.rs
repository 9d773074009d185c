//! Which files of a tree are published, and under which paths.

use super::view::{Resolved, SiteTree};
use super::{BYTES_MAX, DEPTH_MAX, HEADERS, ListError, Listing, PATHS_BYTES_MAX, REDIRECTS, SiteSpec, open_file};
use rustix::fs::FileType;
use slipway_types::site::{FILES_MAX, RULES_TEXT_BYTES_MAX};
use std::fs::DirEntry;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Directories of one site, the same one by several links counted each time.
const DIRECTORIES_MAX: usize = FILES_MAX;
/// Directories that a diagnosis names.
const CANDIDATES_MAX: usize = 8;
/// How deep below the service they are looked for: `dist/app/browser` is three.
const CANDIDATE_DEPTH_MAX: usize = 3;
/// Directories looked at for them.
const CANDIDATES_LOOKED_AT_MAX: usize = 2000;

/// Never published, wherever they stand: history and credentials.
const WITHHELD: [&str; 8] =
    [".git", ".git-credentials", ".envrc", ".npmrc", ".pypirc", ".yarnrc.yml", ".netrc", ".htpasswd"];
/// Not published when the service's own directory is: there they are its dependencies. Elsewhere a bundler made it (fonts
/// and images that packages bring).
const DEPENDENCIES: &str = "node_modules";
/// Not published from the service's own directory, where they say how it is built.
const WITHHELD_AT_THE_ROOT: [&str; 20] = [
    "slipway.toml",
    "netlify.toml",
    "Procfile",
    "Dockerfile",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
    ".slipwayignore",
    ".nvmrc",
    ".node-version",
    ".python-version",
    ".tool-versions",
];

/// The files of the published directory.
///
/// # Errors
/// When there is nothing to publish, or more than is allowed.
pub fn list(view: &SiteTree, spec: &SiteSpec) -> Result<Listing, ListError> {
    let root = spec.root.trim_matches('/');
    let relative = spec.plan.directory.trim_start_matches("./").trim_matches('/');
    let directory = format!("{root}/{relative}");
    let missing = || ListError::DirectoryMissing {
        directory: named(relative),
        place: if view.was_built() { "after the build" } else { "in the source, and there is no build command" }
            .to_owned(),
        instead: instead(view, root),
    };
    let top = view.in_source(&directory).filter(|found| found.kind == FileType::Directory).ok_or_else(missing)?;
    let is_root = view.in_source(root).is_some_and(|found| found.path == top.path);
    let mut walk = Walk { view, is_root, directories: 0, path_bytes: 0, listing: Listing::default() };
    walk.listing.directory = named(relative);
    walk.directory("", &top.path, &mut Vec::new())?;
    let mut listing = walk.listing;
    if listing.files.is_empty() {
        return Err(ListError::DirectoryEmpty { directory: named(relative), instead: instead(view, root) });
    }
    listing.fallback = fallback(&listing, spec.plan.fallback.as_deref())?;
    Ok(listing)
}

fn named(directory: &str) -> String {
    if directory.is_empty() || directory == "." { ".".to_owned() } else { directory.to_owned() }
}

fn fallback(listing: &Listing, wanted: Option<&str>) -> Result<Option<String>, ListError> {
    let wanted = wanted.map(|path| path.trim_start_matches("./").trim_start_matches('/'));
    let Some(wanted) = wanted.filter(|path| !path.is_empty()) else { return Ok(None) };
    if listing.files.contains_key(wanted) {
        return Ok(Some(wanted.to_owned()));
    }
    Err(ListError::FallbackMissing {
        fallback: wanted.to_owned(),
        directory: listing.directory.clone(),
        files: listing.files.len() as u64,
    })
}

struct Walk<'v> {
    view: &'v SiteTree,
    /// The service's own directory is published, not one that a build writes.
    is_root: bool,
    directories: usize,
    path_bytes: usize,
    listing: Listing,
}

impl Walk<'_> {
    /// `prefix` is empty or ends with a slash; `above` are the real directories that lead here.
    fn directory(&mut self, prefix: &str, real: &Path, above: &mut Vec<PathBuf>) -> Result<(), ListError> {
        self.directories += 1;
        if self.directories > DIRECTORIES_MAX {
            return Err(ListError::TooManyFiles);
        }
        if above.len() >= DEPTH_MAX || above.iter().any(|directory| directory == real) {
            self.listing.notes.add(format!("`{prefix}` is left out: it contains itself, or is too deep"));
            return Ok(());
        }
        above.push(real.to_owned());
        for entry in std::fs::read_dir(real).map_err(ListError::io("list", real))? {
            self.entry(prefix, &entry.map_err(ListError::io("list", real))?, above)?;
        }
        above.pop();
        Ok(())
    }

    fn entry(&mut self, prefix: &str, entry: &DirEntry, above: &mut Vec<PathBuf>) -> Result<(), ListError> {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            self.listing.notes.add(format!("a file in `{prefix}` is left out: its name is not UTF-8"));
            return Ok(());
        };
        let of_dependencies = self.is_root && name == DEPENDENCIES;
        if is_withheld(&name)
            || of_dependencies
            || (prefix.is_empty() && self.is_root && WITHHELD_AT_THE_ROOT.contains(&name.as_str()))
        {
            return Ok(());
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(ListError::io("inspect", &path))?;
        let published = format!("{prefix}{name}");
        let found = if kind.is_symlink() {
            let Some(found) = self.followed(&published, &path) else { return Ok(()) };
            found
        } else {
            let kind = if kind.is_dir() {
                FileType::Directory
            } else if kind.is_file() {
                FileType::RegularFile
            } else {
                FileType::Unknown
            };
            Resolved { path, kind }
        };
        match found.kind {
            FileType::Directory => self.directory(&format!("{published}/"), &found.path, above),
            FileType::RegularFile => self.file(published, found.path),
            _ => {
                self.listing.notes.add(format!("`{published}` is left out: it is neither a file nor a directory"));
                Ok(())
            }
        }
    }

    /// What a link leads to, when that may be published.
    fn followed(&mut self, published: &str, link: &Path) -> Option<Resolved> {
        let Some(found) = self.view.real(link) else {
            self.listing.notes.add(format!(
                "`{published}` is left out: the link leads to nothing in the source or the build's output"
            ));
            return None;
        };
        let inside = self.view.inside(&found.path);
        // Dependencies may be linked on purpose; history and credentials never are.
        if inside.iter().filter_map(|part| part.to_str()).any(is_withheld) {
            self.listing.notes.add(format!("`{published}` is left out: the link leads to what is never published"));
            return None;
        }
        Some(found)
    }

    fn file(&mut self, published: String, real: PathBuf) -> Result<(), ListError> {
        match published.as_str() {
            REDIRECTS => return rules_text(REDIRECTS, &real).map(|text| self.listing.redirects_text = Some(text)),
            HEADERS => return rules_text(HEADERS, &real).map(|text| self.listing.headers_text = Some(text)),
            _ => {}
        }
        let metadata = std::fs::symlink_metadata(&real).map_err(ListError::io("inspect", &real))?;
        self.listing.bytes += metadata.len();
        self.path_bytes += published.len();
        if self.listing.files.len() >= FILES_MAX {
            return Err(ListError::TooManyFiles);
        }
        if self.listing.bytes > BYTES_MAX {
            return Err(ListError::TooManyBytes);
        }
        if self.path_bytes > PATHS_BYTES_MAX {
            return Err(ListError::PathsTooLong);
        }
        self.listing.files.insert(published, real);
        Ok(())
    }
}

fn is_withheld(name: &str) -> bool {
    WITHHELD.contains(&name) || name == ".env" || name.starts_with(".env.")
}

fn rules_text(file: &'static str, path: &Path) -> Result<String, ListError> {
    let mut bytes = Vec::new();
    let opened = open_file(path).map_err(ListError::io("open", path))?;
    opened.take(RULES_TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ListError::io("read", path))?;
    if bytes.len() as u64 > RULES_TEXT_BYTES_MAX {
        return Err(ListError::RulesTooLarge { file, bytes_max: RULES_TEXT_BYTES_MAX });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the build did write: the directory that was meant is usually among it.
fn instead(view: &SiteTree, root: &str) -> String {
    let (top, who) = match view.written(root) {
        Some(top) => (Some(top), "the build"),
        None => (view.in_source(root).map(|found| found.path), "the source"),
    };
    let mut found = top.map(|top| directories(&top)).unwrap_or_default();
    // Where a page lies is where a site begins.
    found.sort_by_key(|(path, has_index)| (!has_index, path.matches('/').count(), path.clone()));
    found.truncate(CANDIDATES_MAX);
    let names: Vec<String> = found
        .into_iter()
        .map(|(path, has_index)| format!("`{path}`{}", if has_index { " (with an `index.html`)" } else { "" }))
        .collect();
    let verb = if who == "the build" { "wrote" } else { "has" };
    if names.is_empty() { format!("{who} {verb} no directory") } else { format!("{who} {verb} {}", names.join(", ")) }
}

/// Directories with a file in them, and whether that is an `index.html`. Links are not followed.
fn directories(top: &Path) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), top.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((name, path, depth)) = waiting.pop() {
        looked_at += 1;
        if looked_at > CANDIDATES_LOOKED_AT_MAX {
            break;
        }
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        let (mut has_file, mut has_index) = (false, false);
        for entry in entries.flatten() {
            let (Ok(kind), Some(child)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned)) else {
                continue;
            };
            has_file |= kind.is_file();
            has_index |= kind.is_file() && child == "index.html";
            if kind.is_dir() && depth < CANDIDATE_DEPTH_MAX && !is_withheld(&child) && child != DEPENDENCIES {
                let name = if name.is_empty() { child } else { format!("{name}/{child}") };
                waiting.push((name, entry.path(), depth + 1));
            }
        }
        if has_file && !name.is_empty() {
            found.push((name, has_index));
        }
    }
    found
}
