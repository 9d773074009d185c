//! `Procfile`: the processes of an app, one a line, as Heroku reads them.

use crate::tree::Tree;
use slipway_types::plan::Reason;
use slipway_types::settings::ServiceKind;

pub(crate) const PROCFILE: &str = "Procfile";

/// Process types that are no service: what runs before a release goes live, and what Heroku's tests need.
const RELEASE: &str = "release";

/// The processes that a `Procfile` names.
#[derive(Debug, Default)]
pub(super) struct Procfile<'t> {
    path: String,
    processes: Vec<(&'t str, &'t str)>,
}

impl<'t> Procfile<'t> {
    /// The one in the service's directory; without one there are no processes.
    pub(super) fn read(tree: &Tree<'t>) -> Self {
        let text = tree.text(PROCFILE).unwrap_or_default();
        Self { path: tree.path(PROCFILE), processes: text.lines().filter_map(process).collect() }
    }

    /// The command of this kind of service, and where it is said.
    pub(super) fn command(&self, kind: ServiceKind) -> Option<(&'t str, String)> {
        let name = match kind {
            ServiceKind::Web => "web",
            ServiceKind::Worker => "worker",
            ServiceKind::Static => return None,
        };
        self.named(name)
    }

    /// What runs before a release goes live.
    pub(super) fn release(&self) -> Option<(&'t str, String)> {
        self.named(RELEASE)
    }

    /// Process types that this service does not run.
    pub(super) fn left_out(&self, kind: ServiceKind) -> Option<Reason> {
        let taken = if kind == ServiceKind::Worker { "worker" } else { "web" };
        let others: Vec<String> = self
            .processes
            .iter()
            .filter(|(name, _)| *name != taken && *name != RELEASE)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if others.is_empty() {
            return None;
        }
        let from = format!(
            "`{}`: each process is a service of its own, with `kind = \"worker\"` or a `start_command`",
            self.path
        );
        Some(Reason { decided: format!("{} not run here", others.join(" and ")), from })
    }

    fn named(&self, wanted: &str) -> Option<(&'t str, String)> {
        let (_, command) = self.processes.iter().find(|(name, _)| *name == wanted)?;
        Some((command, format!("`{wanted}` in `{}`", self.path)))
    }
}

/// `web: npm start`
fn process(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let (name, command) = (name.trim(), command.trim());
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    (is_name && !command.is_empty()).then_some((name, command))
}
