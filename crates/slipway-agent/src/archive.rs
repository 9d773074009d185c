//! What the host asks of a written tree: an archive on standard output, one line about it on standard error.
//!
//! Runs in a child of the agent's, as the user that wrote the tree.

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use slipway_tree::archive::Writer;
use slipway_tree::site::{HEADERS, REDIRECTS, SiteSpec, SiteTree, list, open_file};
use slipway_types::agent::{ArchiveOf, ArchiveReport, ArchiveTrouble};
use slipway_types::site::SitePlan;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Where the source stands in every sandbox.
const APP_DIR: &str = "/app";
/// One write of this much fills a pipe.
const BUFFER_BYTES: usize = 64 * 1024;
/// For what has no code of its own.
const FAILED: &str = "layer-failed";

/// Answers whether the archive is whole. `written`: the tree of what the build alone wrote, where that is known.
pub(crate) fn write(of: &ArchiveOf, written: Option<&Path>) -> bool {
    let mut report = ArchiveReport::default();
    let done = match of {
        ArchiveOf::Files { paths } => files(paths),
        ArchiveOf::Site { root, plan } => site(root, plan, written, &mut report),
    };
    report.trouble = done.err();
    let mut line = serde_json::to_vec(&report).unwrap_or_default();
    line.push(b'\n');
    io::stderr().write_all(&line).is_ok() && report.trouble.is_none()
}

fn trouble(what: &str, error: &dyn std::error::Error) -> ArchiveTrouble {
    ArchiveTrouble { code: FAILED.to_owned(), message: format!("cannot {what}: {}", with_causes(error)) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

fn output() -> Result<Writer<BufWriter<io::Stdout>>, ArchiveTrouble> {
    Writer::begin(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())).map_err(|e| trouble("write the archive", &e))
}

fn files(paths: &[String]) -> Result<(), ArchiveTrouble> {
    let mut archive = output()?;
    let app = open(APP_DIR, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let app = app.map_err(|errno| trouble("open the source", &io::Error::from(errno)))?;
    for path in paths {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let Ok(file) = openat2(&app, path.as_str(), flags, Mode::empty(), inside).map(File::from) else { continue };
        let failed = |error: io::Error| trouble(&format!("read `{path}`"), &error);
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            archive.file(path, metadata.len(), file).map_err(failed)?;
        }
    }
    archive.end().map_err(|error| trouble("write the archive", &error))
}

fn site(root: &str, plan: &SitePlan, written: Option<&Path>, report: &mut ArchiveReport) -> Result<(), ArchiveTrouble> {
    // Without a layer of its own what was written is not told apart from what was there before.
    let written = written.unwrap_or(Path::new("/"));
    let tree = SiteTree::open(Path::new("/"), Some(written.to_owned())).map_err(|e| trouble("open the root", &e))?;
    let listing = list(&tree, &SiteSpec { root: root.to_owned(), plan: plan.clone() })
        .map_err(|error| ArchiveTrouble { code: error.code().to_owned(), message: with_causes(&error) })?;
    report.notes = listing.notes.into_lines();
    let mut archive = output()?;
    for (path, real) in &listing.files {
        let failed = |error: io::Error| trouble(&format!("read `{path}`"), &error);
        let file = open_file(real).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        archive.file(path, bytes, file).map_err(failed)?;
    }
    for (path, text) in [(REDIRECTS, listing.redirects_text), (HEADERS, listing.headers_text)] {
        let Some(text) = text else { continue };
        archive.file(path, text.len() as u64, text.as_bytes()).map_err(|e| trouble("write the archive", &e))?;
    }
    archive.end().map_err(|error| trouble("write the archive", &error))
}
