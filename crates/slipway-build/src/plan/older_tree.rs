//! Whether an install may go on from the tree of an earlier one, and with which command.
//!
//! Only the plan's own commands with a lockfile: of a command that its owner set nothing is known. The table says what each
//! package manager does on a tree that it finds; the tests of the host run each of them and compare with a fresh install.

use slipway_types::host::OnOlderTree;
use slipway_types::plan::{PackageManagerName, Plan};
use slipway_types::settings::ServiceSettings;

/// `version`: the exact one that was found for the plan.
pub fn on_older_tree(plan: &Plan, settings: &ServiceSettings, version: Option<&str>) -> OnOlderTree {
    let never = |why: &str| OnOlderTree::Never { why: why.to_owned() };
    let (Some(install), Some(manager)) = (&plan.install, &plan.package_manager) else { return never("") };
    if settings.install_command.is_some() {
        return never("an install command that is set may expect an empty tree");
    }
    let major = version.and_then(|version| version.split('.').next()?.parse().ok()).unwrap_or(0);
    match rewritten(&install.command, manager.name, major) {
        Ok(command) => OnOlderTree::Run { command },
        Err(why) => never(why),
    }
}

/// The command on an older tree, or why there is none.
fn rewritten(command: &str, manager: PackageManagerName, major: u32) -> Result<String, &'static str> {
    use PackageManagerName::{Bun, Npm, Pip, Pnpm, Poetry, Uv, Yarn};
    let own = command.rsplit("&& ").next().unwrap_or(command);
    let is_locked = |words: &str| own.starts_with(words).then_some(()).ok_or(UNLOCKED);
    match (manager, major) {
        (Npm, 0..=6) => Err("npm 6 and older write other trees than `npm ci` does"),
        (Npm, _) => {
            is_locked("npm ci ")?;
            // `npm ci` would remove the tree first. It is asked whether the lockfile fits the manifests, which `npm install`
            // would rather mend; without `--save` it then leaves the lockfile alone.
            let checked = own.replacen("npm ci ", "npm ci --dry-run --ignore-scripts --silent ", 1);
            let installed = own.replacen("npm ci ", "npm install --no-save ", 1);
            Ok(format!("{}{checked} && {installed}", &command[..command.len() - own.len()]))
        }
        (Pnpm, 0..=7) => Err("pnpm 7 and older are not known to keep a tree that they find"),
        (Pnpm, _) => {
            is_locked("pnpm install --frozen-lockfile")?;
            // By itself it removes what is not asked for any more a week later.
            Ok(format!("{command} --config.modules-cache-max-age=0"))
        }
        (Yarn, 0..=1) => Err("yarn 1 fetches every package again whatever it finds"),
        (Yarn, 2) => Err("yarn 2 is not known to keep a tree that it finds"),
        (Yarn, _) => is_locked("yarn install --immutable").map(|()| command.to_owned()),
        (Bun, _) => Err("bun leaves packages in place that are not asked for any more"),
        (Uv, _) => Err("not known to be the same"),
        (Pip | Poetry, _) => Err("it leaves packages in place that are not asked for any more"),
    }
}

const UNLOCKED: &str = "there is no lockfile, so what is found would decide what is installed";

#[cfg(test)]
mod tests {
    use super::*;
    use PackageManagerName::{Bun, Npm, Pip, Pnpm, Uv, Yarn};

    #[test]
    fn the_command_on_an_older_tree() {
        for (command, manager, major, expected) in [
            (
                "npm ci --include=dev --no-audit --no-fund",
                Npm,
                11,
                "npm ci --dry-run --ignore-scripts --silent --include=dev --no-audit --no-fund && npm install --no-save --include=dev --no-audit --no-fund",
            ),
            (
                "cd web && npm ci --no-fund",
                Npm,
                7,
                "cd web && npm ci --dry-run --ignore-scripts --silent --no-fund && npm install --no-save --no-fund",
            ),
            (
                "pnpm install --frozen-lockfile --prod=false",
                Pnpm,
                12,
                "pnpm install --frozen-lockfile --prod=false --config.modules-cache-max-age=0",
            ),
            ("cd a && yarn install --immutable", Yarn, 4, "cd a && yarn install --immutable"),
        ] {
            assert_eq!(rewritten(command, manager, major).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_begins_from_nothing() {
        for (command, manager, major) in [
            ("npm ci --no-fund", Npm, 6),
            ("npm install --no-fund", Npm, 11),
            ("pnpm install --no-frozen-lockfile", Pnpm, 10),
            ("pnpm install --frozen-lockfile", Pnpm, 7),
            ("yarn install --frozen-lockfile", Yarn, 1),
            ("yarn install --no-immutable", Yarn, 4),
            ("bun install --frozen-lockfile", Bun, 1),
            ("uv sync --locked", Uv, 0),
            ("pip install -r requirements.txt", Pip, 0),
            // Nothing is known of the version.
            ("npm ci --no-fund", Npm, 0),
        ] {
            assert!(rewritten(command, manager, major).is_err(), "{command} {major}");
        }
    }
}
