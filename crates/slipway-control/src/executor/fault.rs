//! What can go wrong on our own side while a decision is carried out.

use super::work::MissingInput;
use crate::source::CredentialError;
use crate::variable::VariablesError;
use slipway_store::StoreError;
use slipway_types::id::IdError;
use slipway_types::{Blame, DeploymentId, Diagnosis, Phase};

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the variables of a service can't be used")]
    Variables(#[from] VariablesError),
    #[error("the git credential of a service can't be used")]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Missing(#[from] MissingInput),
    #[error("a derived id is not an id")]
    Id(#[source] IdError),
    #[error("could not open the log of deployment `{deployment}`")]
    Log { deployment: DeploymentId, source: std::io::Error },
}

impl Fault {
    pub(super) fn diagnosis(&self, phase: Phase) -> Diagnosis {
        Diagnosis::new("internal", Blame::Platform, "the server could not do its part")
            .at(format!("phase {phase}"))
            .because(self.to_string())
            .hint("see the server's log for the cause")
            .hint("run `slipway redeploy`")
    }
}
