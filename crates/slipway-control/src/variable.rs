//! The owner's variables of a service: checked when they come in, sealed when they are stored, never answered when secret.
//!
//! A change makes a new revision; a deployment takes the newest one and its release keeps it.

use crate::log::form::VALUE_CHARS_MIN;
use crate::log::mask::Masker;
use crate::refusal::Refusal;
use crate::seal::{MasterKey, SealError, SealedFor};
use serde::{Deserialize, Serialize};
use slipway_store::StoreError;
use slipway_types::api::{EnvParams, EnvValue, EnvView};
use slipway_types::host::Env;
use slipway_types::{Secret, ServiceId, TimestampMs};
use std::collections::BTreeMap;

/// Variables of one service.
const VARIABLES_MAX: usize = 500;
/// Longest name; well above any real one.
const NAME_BYTES_MAX: usize = 128;
/// Linux takes no string longer than 128 KiB for a new process, name included.
const VALUE_BYTES_MAX: usize = 100 * 1024;
/// All names and values together; Linux takes 2 MiB of arguments and environment by default.
const ALL_BYTES_MAX: usize = 512 * 1024;
/// Set by the host for each replica; the owner's value would be lost without a word.
const RESERVED: [&str; 3] = ["PORT", "HOST", "SLIPWAY_ENV_FILE"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    value: Secret,
    secret: bool,
    build: bool,
    /// Older revisions have no such word: theirs were given to the app.
    #[serde(default = "given")]
    run: bool,
    updated_at: TimestampMs,
}

fn given() -> bool {
    true
}

/// One revision of a service's variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Variables(BTreeMap<String, Variable>);

#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the variables of service `{service}` at revision {revision} are damaged")]
    Damaged { service: ServiceId, revision: u64 },
}

impl Variables {
    pub(crate) fn unseal(
        key: &MasterKey,
        service: &ServiceId,
        revision: u64,
        sealed: &[u8],
    ) -> Result<Self, VariablesError> {
        let plain = key.open(SealedFor::Env { service, revision }, sealed)?;
        // The parser's own message could quote a value.
        serde_json::from_slice(&plain).map_err(|_| VariablesError::Damaged { service: service.clone(), revision })
    }

    pub(crate) fn seal(&self, key: &MasterKey, service: &ServiceId, revision: u64) -> Result<Vec<u8>, VariablesError> {
        let plain =
            serde_json::to_vec(self).map_err(|_| VariablesError::Damaged { service: service.clone(), revision })?;
        Ok(key.seal(SealedFor::Env { service, revision }, &plain)?)
    }

    /// These with a change on top, or why not.
    pub(crate) fn changed(&self, now: TimestampMs, params: &EnvParams) -> Result<Self, Refusal> {
        let mut changed = self.clone();
        for name in &params.unset {
            if changed.0.remove(name).is_none() {
                let message = format!("there is no variable `{}`", shown(name));
                return Err(Refusal::unusable("env-unknown", message));
            }
        }
        for (name, value) in &params.set {
            check(name, value.value.expose())?;
            if value.secret {
                check_secret(name, value.value.expose())?;
            }
            let EnvValue { value, secret, build, run } = value.clone();
            if !build && !run {
                let message = format!("`{name}` would be given to nobody: neither to builds nor to the app");
                return Err(Refusal::unusable("env-unused", message));
            }
            let variable = Variable { value, secret, build, run, updated_at: now };
            changed.0.insert(name.clone(), variable);
        }
        let bytes: usize = changed.0.iter().map(|(name, variable)| name.len() + variable.value.expose().len()).sum();
        if changed.0.len() > VARIABLES_MAX || bytes > ALL_BYTES_MAX {
            let message = format!("a service has at most {VARIABLES_MAX} variables of {ALL_BYTES_MAX} bytes together");
            return Err(Refusal::unusable("env-too-large", message));
        }
        Ok(changed)
    }

    pub(crate) fn views(&self) -> Vec<EnvView> {
        let view = |(name, variable): (&String, &Variable)| EnvView {
            name: name.clone(),
            value: (!variable.secret).then(|| variable.value.expose().to_owned()),
            secret: variable.secret,
            build: variable.build,
            run: variable.run,
            updated_at: variable.updated_at,
        };
        self.0.iter().map(view).collect()
    }

    /// For replicas and the pre-deploy command: all but those that are of the build alone.
    pub(crate) fn for_run(&self) -> Env {
        let given = self.0.iter().filter(|(_, variable)| variable.run);
        given.map(|(name, variable)| (name.clone(), variable.value.clone())).collect()
    }

    /// Whoever they are given to.
    pub(crate) fn all(&self) -> Env {
        self.0.iter().map(|(name, variable)| (name.clone(), variable.value.clone())).collect()
    }

    /// For install and build commands: those that their owner gave to builds, and those that a build bakes in anyway. A
    /// secret must be given by its owner: its prefix alone does not make it public.
    pub(crate) fn for_build(&self, public_prefixes: &[String]) -> Env {
        let public = |name: &str| public_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        self.0
            .iter()
            .filter(|(name, variable)| variable.build || (!variable.secret && public(name)))
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn add_secrets_to(&self, masker: &mut Masker) {
        masker.add(self.0.values().filter(|variable| variable.secret).map(|variable| &variable.value));
    }
}

fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.len() <= NAME_BYTES_MAX;
    if !named {
        let message = format!("`{}` is not a variable's name: use letters, digits and `_`", shown(name));
        return Err(Refusal::unusable("env-name", message));
    }
    if RESERVED.contains(&name) {
        return Err(Refusal::unusable("env-reserved", format!("`{name}` is set by Slipway for each replica"))
            .hint("the port is the setting `port`"));
    }
    if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
        let message = format!("the value of `{name}` is longer than {VALUE_BYTES_MAX} bytes or has a NUL in it");
        return Err(Refusal::unusable("env-value", message));
    }
    Ok(())
}

/// A shorter one can't be told from the words around it, so no log could leave it out. An empty one is no secret yet.
fn check_secret(name: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() || value.trim().chars().count() >= VALUE_CHARS_MIN {
        return Ok(());
    }
    let message =
        format!("the secret `{name}` has less than {VALUE_CHARS_MIN} characters: it could not be left out of logs");
    Err(Refusal::unusable("env-secret-short", message).hint("set a longer value, or set it without `--secret`"))
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str, secret: bool, build: bool) -> EnvParams {
        let value = EnvValue { value: Secret::new(value), secret, build, run: true };
        EnvParams { set: BTreeMap::from([(name.to_owned(), value)]), unset: Vec::new() }
    }

    fn refusal(params: &EnvParams) -> String {
        Variables::default().changed(1, params).unwrap_err().error.code
    }

    #[test]
    fn a_build_gets_what_it_is_given_and_no_secret_by_accident() {
        let variables = [
            set("PLAIN", "1", false, false),
            set("FOR_BUILD", "2", false, true),
            set("NEXT_PUBLIC_A", "3", false, false),
            set("NEXT_PUBLIC_KEY", "four", true, false),
            set("NPM_TOKEN", "five", true, true),
        ]
        .iter()
        .fold(Variables::default(), |variables, params| variables.changed(1, params).unwrap());
        let build: Vec<_> = variables.for_build(&["NEXT_PUBLIC_".to_owned()]).into_keys().collect();
        assert_eq!(build, ["FOR_BUILD", "NEXT_PUBLIC_A", "NPM_TOKEN"]);
        assert_eq!(variables.for_run().len(), 5);
        let shown: Vec<_> = variables.views().into_iter().filter_map(|view| view.value).collect();
        assert_eq!(shown, ["2", "3", "1"], "secrets are write-only");
    }

    #[test]
    fn what_is_of_the_build_alone_does_not_reach_the_app() {
        let mut params = set("NPM_TOKEN", "hunter2", true, true);
        params.set.values_mut().for_each(|value| value.run = false);
        let variables = Variables::default().changed(1, &params).unwrap();
        assert_eq!((variables.for_run().len(), variables.for_build(&[]).len()), (0, 1));
        params.set.values_mut().for_each(|value| value.build = false);
        assert_eq!(refusal(&params), "env-unused");
        // As revisions were stored before there was such a choice.
        let older: Variables =
            serde_json::from_str(r#"{"A": {"value": "x", "secret": false, "build": true, "updated_at": 1}}"#).unwrap();
        assert_eq!(older.for_run().len(), 1);
    }

    #[test]
    fn what_no_process_can_take_is_refused() {
        assert_eq!(refusal(&set("1A", "x", false, false)), "env-name");
        assert_eq!(refusal(&set("A=B", "x", false, false)), "env-name");
        assert_eq!(refusal(&set("", "x", false, false)), "env-name");
        assert_eq!(refusal(&set("PORT", "1", false, false)), "env-reserved");
        assert_eq!(refusal(&set("A", "a\0b", false, false)), "env-value");
        assert_eq!(refusal(&set("A", &"x".repeat(VALUE_BYTES_MAX + 1), false, false)), "env-value");
        assert_eq!(refusal(&set("A", "abc", true, false)), "env-secret-short");
        assert!(Variables::default().changed(1, &set("A", "", true, false)).is_ok());
        assert_eq!(refusal(&EnvParams { unset: vec!["GONE".into()], ..Default::default() }), "env-unknown");
    }

    #[test]
    fn sealing_and_unsealing_give_the_same() {
        let key = MasterKey::new(&[1; 32]);
        let service = ServiceId::parse("svc-a").unwrap();
        let variables = Variables::default().changed(1, &set("A", "hunter2", true, false)).unwrap();
        let sealed = variables.seal(&key, &service, 2).unwrap();
        assert_eq!(Variables::unseal(&key, &service, 2, &sealed).unwrap(), variables);
        assert!(Variables::unseal(&key, &service, 3, &sealed).is_err());
    }
}
