//! The variables that every process in a sandbox finds, and those of the three kinds of work.

use crate::git_credential;
use slipway_types::Secret;
use slipway_types::agent::VALUES_PATH;
use slipway_types::host::{Env, ReplicaSpec};
use slipway_types::settings::ReloadMode;
use std::collections::BTreeMap;

/// Behind the directories of the toolchain.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Of every Python: what is printed is seen at once, and no tool fetches another Python by itself.
const PYTHON: [(&str, &str); 3] =
    [("PYTHONUNBUFFERED", "1"), ("UV_PYTHON_DOWNLOADS", "never"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")];

/// Of Python's package managers: caches stay out of what is published, modules are compiled once and not at each start.
const PYTHON_BUILD: [(&str, &str); 9] = [
    ("PIP_CACHE_DIR", "/tmp/pip"),
    ("PIP_NO_INPUT", "1"),
    ("UV_CACHE_DIR", "/tmp/uv"),
    ("UV_LINK_MODE", "copy"),
    ("UV_COMPILE_BYTECODE", "1"),
    ("UV_NO_PROGRESS", "1"),
    ("POETRY_CACHE_DIR", "/tmp/poetry"),
    ("POETRY_NO_INTERACTION", "1"),
    ("POETRY_VIRTUALENVS_IN_PROJECT", "true"),
];

/// What each process gets: who and where it is, and the certificates that it trusts.
fn common(path: &[String], ca: BTreeMap<String, String>) -> Env {
    let mut directories: Vec<&str> = path.iter().map(String::as_str).collect();
    directories.push(SYSTEM_PATH);
    let fixed = [
        ("HOME", "/home/app"),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "app"),
        ("SHELL", "/bin/sh"),
        ("TMPDIR", "/tmp"),
        ("USER", "app"),
    ];
    let mut env: Env = fixed.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    env.insert("PATH".to_owned(), Secret::new(directories.join(":")));
    env.extend(ca.into_iter().map(|(name, value)| (name, Secret::new(value))));
    env
}

fn set(env: &mut Env, pairs: &[(&str, &str)]) {
    env.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))));
}

/// Of an install or build command.
pub(crate) fn of_build(path: &[String], ca: BTreeMap<String, String>, owner: &Env) -> Env {
    let mut env = common(path, ca);
    set(
        &mut env,
        &[
            ("CI", "true"),
            // Caches stay out of what is published.
            ("npm_config_cache", "/tmp/npm"),
            ("npm_config_update_notifier", "false"),
            ("npm_config_fund", "false"),
            ("npm_config_audit", "false"),
            // Yarn's later versions run packages right out of their cache: it must be part of the tree.
            ("YARN_ENABLE_GLOBAL_CACHE", "false"),
        ],
    );
    set(&mut env, &PYTHON);
    set(&mut env, &PYTHON_BUILD);
    env.extend(owner.clone());
    activate(&mut env);
    git_credential::add_to(&mut env);
    env
}

/// Of the pre-deploy command: the app's own, without a port.
pub(crate) fn of_release(
    path: &[String],
    ca: BTreeMap<String, String>,
    plan: &BTreeMap<String, String>,
    owner: &Env,
) -> Env {
    let mut env = common(path, ca);
    set(
        &mut env,
        &[("NODE_ENV", "production"), ("npm_config_cache", "/tmp/npm"), ("npm_config_update_notifier", "false")],
    );
    set(&mut env, &PYTHON);
    env.extend(plan.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))));
    env.extend(owner.clone());
    activate(&mut env);
    env
}

/// What activating a virtual environment of Python does: its programs come first.
fn activate(env: &mut Env) {
    if let (Some(venv), Some(path)) = (env.get("VIRTUAL_ENV"), env.get("PATH")) {
        let path = format!("{}/bin:{}", venv.expose(), path.expose());
        env.insert("PATH".to_owned(), Secret::new(path));
    }
}

/// Of a replica. Where it listens is the host's word, over everybody's.
pub(crate) fn of_replica(ca: BTreeMap<String, String>, spec: &ReplicaSpec) -> Env {
    let start = spec.image.process().cloned().unwrap_or_default();
    let mut env = of_release(&start.path, ca, &start.env, &spec.env);
    // Next.js' standalone server reads its address from HOSTNAME.
    set(&mut env, &[("PORT", &spec.port.to_string()), ("HOST", "0.0.0.0"), ("HOSTNAME", "0.0.0.0")]);
    if spec.reload == ReloadMode::Signal {
        set(&mut env, &[("SLIPWAY_ENV_FILE", VALUES_PATH)]);
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_environment_is_active() {
        let plan = [("VIRTUAL_ENV".to_owned(), "/app/.venv".to_owned())].into();
        let env = of_release(&["/opt/slipway/uv-0.9.0/bin".into()], BTreeMap::new(), &plan, &Env::new());
        assert!(env["PATH"].expose().starts_with("/app/.venv/bin:/opt/slipway/uv-0.9.0/bin:/usr"));
        let owner: Env = plan.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        assert!(of_build(&[], BTreeMap::new(), &owner)["PATH"].expose().starts_with("/app/.venv/bin:/usr"));
    }

    #[test]
    fn the_owner_wins_over_the_plan_and_the_plan_over_the_host() {
        let plan = [("NODE_ENV".to_owned(), "plan".to_owned()), ("A".to_owned(), "plan".to_owned())].into();
        let owner: Env = [("A".to_owned(), Secret::new("owner"))].into();
        let env = of_release(&["/opt/slipway/node-24.1.0/bin".into()], BTreeMap::new(), &plan, &owner);
        assert_eq!(env["NODE_ENV"].expose(), "plan");
        assert_eq!(env["A"].expose(), "owner");
        assert!(env["PATH"].expose().starts_with("/opt/slipway/node-24.1.0/bin:/usr/local/sbin"));
    }
}
