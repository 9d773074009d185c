//! Which branch was asked for, and which one the remote calls its own. Only a hint for what to begin from: trouble with it is
//! no trouble of the deployment.

use super::Git;
use crate::process::{LineSink, RunBounds, run_captured};
use std::time::Duration;

/// The fetch beside it takes longer; a remote that does not answer this in time has no say.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// Three lines of a name of at most 64 digits and a reference of at most 250 bytes.
const LIST_BYTES_MAX: usize = 4096;
const HEADS: &str = "refs/heads/";

/// Names of branches, as the remote says them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branches {
    /// None: a tag, a commit, or nothing was asked for.
    pub(crate) asked: Option<String>,
    pub(crate) default: Option<String>,
}

impl<S: LineSink> Git<'_, S> {
    pub(super) async fn branches(&self) -> Branches {
        let asked =
            self.source.reference.as_deref().map(|reference| reference.strip_prefix(HEADS).unwrap_or(reference));
        let wanted = asked.map(|name| format!("{HEADS}{name}"));
        let mut command = self.command();
        command.args(["ls-remote", "--symref", "--", &self.source.url, "HEAD"]).args(&wanted);
        let bounds = RunBounds { timeout: LIST_TIMEOUT, cancel: self.cancel };
        match run_captured(command, bounds, LIST_BYTES_MAX).await {
            Ok(listed) => parse(&String::from_utf8_lossy(&listed), wanted.as_deref()),
            Err(error) => {
                tracing::debug!(%error, "the remote did not say its branches");
                Branches::default()
            }
        }
    }
}

/// Lines such as `ref: refs/heads/main<TAB>HEAD` and `<commit><TAB>refs/heads/next`.
fn parse(listed: &str, wanted: Option<&str>) -> Branches {
    let mut branches = Branches::default();
    for (value, name) in listed.lines().filter_map(|line| line.split_once('\t')) {
        if name == "HEAD" {
            let target = value.strip_prefix("ref: ").and_then(|target| target.strip_prefix(HEADS));
            branches.default = branches.default.or(target.map(str::to_owned));
        } else if Some(name) == wanted {
            // A pattern of `ls-remote` also matches the end of longer names.
            branches.asked = name.strip_prefix(HEADS).map(str::to_owned);
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_branch_is_the_one_that_was_asked_for() {
        let listed = "ref: refs/heads/main\tHEAD\n1234\tHEAD\n5678\trefs/heads/x/refs/heads/next\n";
        let default = Some("main".to_owned());
        assert_eq!(parse(listed, Some("refs/heads/next")), Branches { asked: None, default: default.clone() });
        let listed = format!("{listed}9abc\trefs/heads/next\n");
        let asked = Some("next".to_owned());
        assert_eq!(parse(&listed, Some("refs/heads/next")), Branches { asked, default });
        assert_eq!(parse("1234\tHEAD\n", None), Branches::default());
        assert_eq!(parse("", None), Branches::default());
    }
}
