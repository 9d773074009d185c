//! `[run]`: how what runs learns of changed variables.

use serde::{Deserialize, Serialize};

/// How a changed variable of the app reaches the replicas that run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadMode {
    /// Replicas are replaced one by one.
    #[default]
    Restart,
    /// The app finds the new values in a file, and its process gets SIGUSR1.
    Signal,
}

impl std::fmt::Display for ReloadMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ReloadMode::Restart => "restart",
            ReloadMode::Signal => "signal",
        })
    }
}

/// `[run]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadMode>,
}
