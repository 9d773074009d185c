//! The catalogue: every code that a deployment can end in, as data. Codes are stable: they may be added, never
//! renamed or reused.

mod build;
mod install;
mod native;
mod network;
mod platform;
mod resource;
mod run;
mod source;

pub(crate) use build::*;
pub(crate) use install::*;
pub(crate) use native::*;
pub(crate) use network::*;
pub(crate) use platform::*;
pub(crate) use resource::*;
pub(crate) use run::*;
pub(crate) use source::*;

use slipway_types::{Blame, Diagnosis};

/// One code of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub code: &'static str,
    /// A headline of a few words.
    pub title: &'static str,
    pub blame: Blame,
    /// What it means, for somebody who looks the code up.
    pub explanation: &'static str,
    /// How to mend it, most promising first; each is a sentence, with the commands in it.
    pub mend: &'static [&'static str],
}

impl Entry {
    /// A diagnosis of this code.
    pub(crate) fn diagnosis(&self, what: impl Into<String>) -> Diagnosis {
        Diagnosis::new(self.code, self.blame, what)
    }
}

/// Constants for the entries of a group, and the list of them: one can't be there without the other.
macro_rules! catalogue {
    ($group:ident: $($name:ident = $blame:ident, $code:literal, $title:literal, $explanation:literal,
        [$($mend:literal),* $(,)?];)*) => {
        $(pub(crate) const $name: $crate::diagnosis::entry::Entry = $crate::diagnosis::entry::Entry {
            code: $code,
            title: $title,
            blame: slipway_types::Blame::$blame,
            explanation: $explanation,
            mend: &[$($mend),*],
        };)*

        pub(super) const $group: &[$crate::diagnosis::entry::Entry] = &[$($name),*];
    };
}
use catalogue;

/// In the order of the phases.
const GROUPS: [&[Entry]; 8] = [
    source::SOURCE,
    install::INSTALL,
    native::NATIVE,
    build::BUILD,
    resource::RESOURCE,
    network::NETWORK,
    run::RUN,
    platform::PLATFORM,
];

/// Every diagnosis there is.
pub const CATALOGUE: &[Entry] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
}

const fn joined<const N: usize>() -> [Entry; N] {
    let mut all = [GROUPS[0][0]; N];
    let (mut next, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut at = 0;
        while at < GROUPS[group].len() {
            all[next] = GROUPS[group][at];
            next += 1;
            at += 1;
        }
        group += 1;
    }
    all
}
