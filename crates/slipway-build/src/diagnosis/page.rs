//! The catalogue as a page of the documentation.

use super::entry::{CATALOGUE, Entry};
use slipway_types::Blame;
use std::fmt::Write as _;

const HEAD: &str = "# Diagnoses

A deployment that fails ends in one diagnosis: a stable code, what happened, where, why and what to do. It looks alike
in the CLI, the dashboard and the API. What was live before stays live. `blame` says who can mend it: `user` (the
source, its configuration or a value), `host` (the machine: disk, memory, network) or `platform` (Slipway itself).

";

/// The text of `docs/diagnoses.md`.
pub fn render_catalogue() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| code | blame | |\n|---|---|---|\n");
    for entry in CATALOGUE {
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {2} |", entry.code, blame(entry), entry.title);
    }
    for entry in CATALOGUE {
        let _ = write!(page, "\n## `{}`\n\n**{}.** {}\n\n", entry.code, entry.title, entry.explanation);
        for step in entry.mend {
            let _ = writeln!(page, "- {step}");
        }
    }
    page
}

fn blame(entry: &Entry) -> &'static str {
    match entry.blame {
        Blame::User => "user",
        Blame::Platform => "platform",
        Blame::Host => "host",
    }
}
