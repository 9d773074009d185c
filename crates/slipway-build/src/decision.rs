//! All that is decided about a source before anything of it runs: what its owner wants, and the plan for that.
//!
//! The server and `slipway plan` ask here, so that both give the same answer for the same tree.

use crate::diagnosis::entry::{PRE_DEPLOY_WITHOUT_PROCESS, SETTINGS_INVALID};
use crate::manifest::{MANIFEST_FILE, manifest};
use crate::netlify::{self, DeployContext};
use crate::plan::plan;
use slipway_types::plan::Reason;
use slipway_types::settings::{ServiceKind, SettingsError};
use slipway_types::{Diagnosis, Plan, ServiceSettings, SettingsPatch, TreeListing};

/// A plan and the settings that hold with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub plan: Plan,
    /// What the plan decided for want of a word of the owner's is in them.
    pub settings: ServiceSettings,
    /// What the owner said alone, in `slipway.toml` or to the server.
    pub said: ServiceSettings,
    /// Of it, what `slipway.toml` says.
    pub source_settings: SettingsPatch,
}

/// As [`decide_in`], for what its owner deploys by hand or from the default branch.
///
/// # Errors
/// The diagnosis of whatever keeps the tree from having a plan.
pub fn decide(tree: &TreeListing, stored: &SettingsPatch) -> Result<Decision, Diagnosis> {
    decide_in(tree, stored, &DeployContext::production())
}

/// `slipway.toml` over what is stored over `netlify.toml` over the defaults, then what detection makes of the tree with
/// that.
///
/// # Errors
/// The diagnosis of whatever keeps the tree from having a plan.
pub fn decide_in(tree: &TreeListing, stored: &SettingsPatch, context: &DeployContext) -> Result<Decision, Diagnosis> {
    let manifest = manifest(tree)?;
    let owners = stored.merged_with(&manifest.settings);
    let said = ServiceSettings::resolve([&owners]).map_err(|error| invalid(&error))?;
    let netlify = netlify::resolve(tree, owners.root.as_deref(), context)?;
    let (wanted, mut plan) = match &netlify {
        None => (said.clone(), plan(tree, &said)?),
        Some(netlify) => {
            let resolved = ServiceSettings::resolve([&netlify.settings(), &owners]);
            let settings = resolved.map_err(|error| invalid(&error))?;
            let plan = netlify.plan(tree, &said, &settings, context)?;
            (settings, plan)
        }
    };
    netlify::add_rules_of_assets(tree, &mut plan);
    netlify::leave_out_hiding_rules(&mut plan);
    plan.reasons.extend(ignore_reason(&wanted, &said));
    if plan.kind == ServiceKind::Static {
        plan.pre_deploy_command = None;
    }
    let settings = settings_with(&plan, &wanted)?;
    Ok(Decision { plan, settings, said, source_settings: manifest.settings })
}

fn ignore_reason(settings: &ServiceSettings, said: &ServiceSettings) -> Option<Reason> {
    let command = settings.ignore_command.as_deref().filter(|command| !command.trim().is_empty())?;
    let from =
        if said.ignore_command.is_some() { "the setting `build.ignore`" } else { "`build.ignore` in `netlify.toml`" };
    let decided = format!("a commit for which `{command}` ends with 0 is not deployed");
    Some(Reason { decided, from: from.to_owned() })
}

/// The settings that hold with a plan: also of a plan that was made earlier, with what its owner says now of the rest.
///
/// # Errors
/// When what was said does not go with the plan.
pub fn settings_with(plan: &Plan, said: &ServiceSettings) -> Result<ServiceSettings, Diagnosis> {
    // Detection has the last word on what answers: a process or files.
    let mut settings = ServiceSettings { kind: plan.kind, ..said.clone() };
    if plan.kind == ServiceKind::Static {
        refuse_pre_deploy(&settings)?;
    }
    settings.pre_deploy_command = settings.pre_deploy_command.or_else(|| plan.pre_deploy_command.clone());
    Ok(settings)
}

fn invalid(error: &SettingsError) -> Diagnosis {
    SETTINGS_INVALID
        .diagnosis(error.to_string())
        .at(MANIFEST_FILE)
        .because("the value comes from `slipway.toml` or from `slipway service set`")
        .hint("correct it where it was set; `slipway service show` prints what is stored")
}

/// A site has no image in which a command could run.
fn refuse_pre_deploy(settings: &ServiceSettings) -> Result<(), Diagnosis> {
    let Some(command) = settings.pre_deploy_command.as_deref().filter(|command| !command.trim().is_empty()) else {
        return Ok(());
    };
    Err(PRE_DEPLOY_WITHOUT_PROCESS
        .diagnosis("a site without a process has no pre-deploy command")
        .at("the setting `pre_deploy_command`")
        .because(format!("`{command}` would need an image to run in, and what is published is files alone"))
        .hint("run it at the end of the build: `build.command`")
        .hint("if an app should answer instead, set `start_command`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    #[test]
    fn the_file_wins_over_what_is_stored() {
        let tree = listing(&[
            ("package.json", "{\"scripts\":{\"start\":\"node server.js\"}}"),
            ("slipway.toml", "port = 8080\n"),
        ]);
        let stored = SettingsPatch { port: Some(9090), replicas: Some(2), ..SettingsPatch::default() };
        let decision = decide(&tree, &stored).unwrap();
        assert_eq!((decision.settings.port, decision.settings.replicas), (8080, 2));
        assert_eq!(decision.settings.kind, decision.plan.kind);
    }

    #[test]
    fn a_stored_value_out_of_its_range_has_a_code() {
        let tree = listing(&[("package.json", "{\"scripts\":{\"start\":\"node server.js\"}}")]);
        let stored = SettingsPatch { replicas: Some(0), ..SettingsPatch::default() };
        let diagnosis = decide(&tree, &stored).unwrap_err();
        assert_eq!(diagnosis.code, "settings-invalid");
        assert_eq!(diagnosis.what, "`replicas = 0` is out of range: 1 to 32");
    }

    #[test]
    fn a_site_refuses_a_pre_deploy_command() {
        let mut settings = ServiceSettings::default();
        assert_eq!(refuse_pre_deploy(&settings), Ok(()));
        settings.pre_deploy_command = Some(String::new());
        assert_eq!(refuse_pre_deploy(&settings), Ok(()), "an empty command means none");
        settings.pre_deploy_command = Some("npm run migrate".to_owned());
        assert_eq!(refuse_pre_deploy(&settings).unwrap_err().code, "pre-deploy-without-process");
    }
}
