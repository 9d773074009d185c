//! Finding `netlify.toml`, and resolving it.
//!
//! The file at the top of the tree may name a base directory. A `netlify.toml` in there takes the place of the first one
//! as a whole; what it says about a base itself is not looked at.

use super::context::{DeployContext, merge_contexts};
use super::{Netlify, Problem, part};
use crate::diagnosis::entry::INVALID_NETLIFY_TOML;
use crate::manifest::offset_of_key;
use crate::place::{line_and_column, quoted_line};
use crate::tree::{Tree, resolve as resolve_path};
use slipway_types::{Diagnosis, TreeListing};
use toml::Table;

pub const NETLIFY_FILE: &str = "netlify.toml";

/// What the source says to Netlify; None when it says nothing. `root` is the directory that the owner chose for the
/// service; it takes the place of the file's base.
///
/// # Errors
/// A diagnosis `invalid-netlify-toml` for what Netlify refuses too.
pub fn resolve(
    listing: &TreeListing,
    root: Option<&str>,
    context: &DeployContext,
) -> Result<Option<Netlify>, Diagnosis> {
    let owners = root.and_then(|root| resolve_path("", root));
    let Some(path) = find(listing, owners.as_deref()) else { return Ok(None) };
    let first = read(listing, &path, owners.as_deref(), context)?;
    let Some(base) = first.base.as_deref().filter(|_| owners.is_none()) else { return Ok(Some(first)) };
    match find(listing, Some(base)) {
        Some(nearer) => read(listing, &nearer, Some(base), context).map(Some),
        None => Ok(Some(first)),
    }
}

/// The file in the base, else the one at the top.
fn find(listing: &TreeListing, base: Option<&str>) -> Option<String> {
    let in_base = base.map(|base| Tree::new(listing, base)).filter(|base| base.has(NETLIFY_FILE));
    let tree = in_base.unwrap_or(Tree::new(listing, ""));
    tree.has(NETLIFY_FILE).then(|| tree.path(NETLIFY_FILE))
}

fn read(listing: &TreeListing, path: &str, base: Option<&str>, context: &DeployContext) -> Result<Netlify, Diagnosis> {
    let Some(text) = listing.texts.get(path) else { return Err(unreadable(path)) };
    let table: Table = toml::from_str(text).map_err(|error| not_toml(path, text, &error))?;
    let refused = |problem: Problem| refused(path, text, &problem);
    let merged = merge_contexts(&table, context).map_err(refused)?;
    let mut netlify = part::typed(&merged, base, listing).map_err(refused)?;
    netlify.file = path.to_owned();
    Ok(netlify)
}

fn unreadable(path: &str) -> Diagnosis {
    INVALID_NETLIFY_TOML
        .diagnosis(format!("`{path}` can't be read"))
        .at(path)
        .because("it is not text, or larger than 8 MB")
        .hint("a `netlify.toml` is some lines of TOML in UTF-8")
}

fn not_toml(path: &str, text: &str, error: &toml::de::Error) -> Diagnosis {
    let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
    let quoted = quoted_line(text, line);
    let message = error.message().trim().replace('\n', ", ");
    INVALID_NETLIFY_TOML
        .diagnosis(format!("`{path}` is not valid"))
        .at(format!("{path}:{line}:{column}"))
        .because(if quoted.is_empty() { message } else { format!("{message}, in `{quoted}`") })
        .hint("correct the line; Netlify refuses such a file too")
}

fn refused(path: &str, text: &str, problem: &Problem) -> Diagnosis {
    let (line, column) = line_and_column(text, offset_of_key(text, &problem.key));
    INVALID_NETLIFY_TOML
        .diagnosis(format!("`{path}` is not valid"))
        .at(format!("{path}:{line}:{column}"))
        .because(format!("`{}` {}", problem.key, problem.what))
        .hint("correct the line; Netlify refuses such a file too")
}
