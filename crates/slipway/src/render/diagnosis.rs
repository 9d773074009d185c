//! How a deployment ended, for people: the address, or what went wrong, where, why and what to do.

use super::quantity::duration;
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use slipway_types::api::{DeploymentEvent, DeploymentView};
use slipway_types::{DeploymentStatus, Diagnosis};

/// The address goes to standard output, all else to standard error.
///
/// # Errors
/// When standard output is closed.
pub(super) fn outcome(event: &DeploymentEvent, palette: Palette) -> Result<(), Failure> {
    match event {
        DeploymentEvent::Deployed { deployment, .. } => {
            output::say(&format!("{} {}", palette.green("✓"), live_line(deployment)));
            deployment.url.as_deref().map_or(Ok(()), output::data)
        }
        DeploymentEvent::Deploying { deployment, .. } => {
            let id = &deployment.deployment;
            output::say(&format!("{id} is {}; watch it by `slipway logs --build --follow`", deployment.status));
            deployment.url.as_deref().map_or(Ok(()), output::data)
        }
        DeploymentEvent::Failed { deployment, .. } => {
            failed_lines(deployment, palette).iter().for_each(|line| output::say(line));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn live_line(deployment: &DeploymentView) -> String {
    let release = deployment.release.map(|number| format!(" v{number}")).unwrap_or_default();
    let took = deployment.finished_at.map(|end| end.saturating_sub(deployment.created_at));
    let took = took.and_then(|ms| u64::try_from(ms).ok()).map(|ms| format!(" after {}", duration(ms)));
    let service = format!("{}/{}", deployment.project, deployment.service);
    format!("{service}{release} is live{}", took.unwrap_or_default())
}

fn failed_lines(deployment: &DeploymentView, palette: Palette) -> Vec<String> {
    let error = palette.red("error:");
    if let Some(diagnosis) = &deployment.diagnosis {
        return diagnosis_lines(diagnosis, palette);
    }
    let id = &deployment.deployment;
    match deployment.status {
        DeploymentStatus::Superseded => vec![format!("{error} {id} was superseded by a newer deployment")],
        DeploymentStatus::Canceled => vec![format!("{error} {id} was canceled; what was live still is")],
        status => vec![format!("{error} {id} is {status}")],
    }
}

/// What happened, where, why and what to do.
pub(crate) fn diagnosis_lines(diagnosis: &Diagnosis, palette: Palette) -> Vec<String> {
    let code = palette.dim(&format!("[{}]", printable(&diagnosis.code)));
    let mut lines = vec![format!("{} {} {code}", palette.red("error:"), printable(&diagnosis.what))];
    for (title, text) in [("where:", &diagnosis.r#where), ("why:", &diagnosis.why)] {
        if !text.is_empty() {
            lines.extend(titled(&palette.bold(title), title.len(), text));
        }
    }
    for hint in &diagnosis.hints {
        lines.extend(titled(&palette.cyan("hint:"), 5, hint));
    }
    lines
}

/// A text of several lines hangs below its title.
fn titled(title: &str, title_columns: usize, text: &str) -> Vec<String> {
    let indent = " ".repeat(title_columns);
    let lines = text.lines().enumerate();
    lines.map(|(index, line)| format!("{} {}", if index == 0 { title } else { &indent }, printable(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::Blame;

    #[test]
    fn a_diagnosis_reads_from_what_to_hint() {
        let diagnosis = Diagnosis::new("build-failed", Blame::User, "the build command failed")
            .at("npm run build")
            .because("exit code 1\nType error")
            .hint("run it on your own machine");
        let expected = [
            "error: the build command failed [build-failed]",
            "where: npm run build",
            "why: exit code 1",
            "     Type error",
            "hint: run it on your own machine",
        ];
        assert_eq!(diagnosis_lines(&diagnosis, Palette::of_nothing()), expected);
    }

    #[test]
    fn what_is_unknown_has_no_line() {
        let diagnosis = Diagnosis::new("x", Blame::Host, "\x1b[31mred");
        assert_eq!(diagnosis_lines(&diagnosis, Palette::of_nothing()), ["error: red [x]"]);
    }
}
