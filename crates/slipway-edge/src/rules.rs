//! Redirects and headers of a service, in Netlify's semantics, compiled once.
//!
//! Matching is pure: it sees a request and says what to do. The first redirect that matches decides; of the headers
//! all that match add theirs. A rewrite is applied once, so that rules cannot go in circles.

mod condition;
mod destination;
mod header;
mod path;
mod pattern;
mod redirect;

pub(crate) use destination::Target;
pub(crate) use header::HeaderRules;
pub(crate) use redirect::{Action, Decision, Question};

use redirect::Redirects;
use slipway_types::site::SiteRules;

/// What the rules of one service are compiled to.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    redirects: Redirects,
    pub(crate) headers: HeaderRules,
}

impl Rules {
    /// A rule that cannot be understood is left out, with a line in the log.
    pub(crate) fn compile(rules: &SiteRules) -> Self {
        Self { redirects: Redirects::compile(&rules.redirects), headers: HeaderRules::compile(&rules.headers) }
    }

    pub(crate) fn decide(&self, question: &Question<'_>) -> Option<Decision<'_>> {
        self.redirects.decide(question)
    }
}
