//! One failure with all that is known of it.

use super::output::Output;
use crate::tree::{join, resolve};
use slipway_types::host::{Evidence, ExitFacts};
use slipway_types::plan::PackageManagerName;
use slipway_types::{Phase, Plan};

#[derive(Debug)]
pub(super) struct Case<'e> {
    pub(super) evidence: &'e Evidence,
    pub(super) plan: Option<&'e Plan>,
    /// Files of the source, sorted; empty when they are not known.
    paths: &'e [String],
    pub(super) output: Output,
}

/// Endings that an import may leave out.
const ENDINGS: [&str; 16] = [
    "",
    ".ts",
    ".tsx",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".mts",
    ".cts",
    ".json",
    ".vue",
    ".svelte",
    ".css",
    "/index.ts",
    "/index.tsx",
    "/index.js",
];

impl<'e> Case<'e> {
    pub(super) fn new(evidence: &'e Evidence, plan: Option<&'e Plan>, paths: &'e [String]) -> Self {
        Self { evidence, plan, paths, output: Output::new(&evidence.tail) }
    }

    /// Whether the source has that file.
    pub(super) fn has_path(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }

    /// Directory of the service in the source; empty is the whole of it.
    pub(super) fn root(&self) -> &'e str {
        self.plan.map_or("", |plan| plan.root.as_str())
    }

    /// The file of the source that `module`, as `importer` names it, would be if upper and lower case did not count;
    /// None when the file is there as it is written. Importer and module are paths as a tool prints them: relative to
    /// the source or to the service's directory.
    pub(super) fn other_case(&self, importer: &str, module: &str) -> Option<&'e str> {
        let directory = importer.rsplit_once('/').map_or("", |(directory, _)| directory);
        let aliased = ["@/", "~/", "#/"].iter().find_map(|alias| module.strip_prefix(alias));
        if let Some(rest) = aliased {
            return self.other_case_of(|known, wanted| known == wanted || known.ends_with(&format!("/{wanted}")), rest);
        }
        let relative = match module.strip_prefix('/') {
            Some(rest) => rest.to_owned(),
            None => resolve(directory, module)?,
        };
        [relative.clone(), join(self.root(), &relative)]
            .iter()
            .find_map(|path| self.other_case_of(|known, wanted| known == wanted, path))
    }

    fn other_case_of(&self, same: impl Fn(&str, &str) -> bool, path: &str) -> Option<&'e str> {
        let candidates: Vec<String> = ENDINGS.iter().map(|ending| format!("{path}{ending}")).collect();
        if self.paths.iter().any(|known| candidates.iter().any(|candidate| same(known, candidate))) {
            return None;
        }
        let lower: Vec<String> = candidates.iter().map(|candidate| candidate.to_lowercase()).collect();
        let found = self.paths.iter().find(|known| {
            let known = known.to_lowercase();
            lower.iter().any(|candidate| same(&known, candidate))
        });
        found.map(String::as_str)
    }

    /// By plan, else by the command's first word.
    pub(super) fn package_manager(&self) -> PackageManagerName {
        let said = self.command().unwrap_or_default();
        let words = || said.split(['&', ';', '|']).filter_map(|part| part.split_whitespace().next());
        let by_command = words().find_map(|word| {
            Some(match word {
                "npm" => PackageManagerName::Npm,
                "pnpm" => PackageManagerName::Pnpm,
                "yarn" => PackageManagerName::Yarn,
                "bun" => PackageManagerName::Bun,
                "uv" => PackageManagerName::Uv,
                "poetry" => PackageManagerName::Poetry,
                "pip" | "pip3" => PackageManagerName::Pip,
                _ => return None,
            })
        });
        let planned = self.plan.and_then(|plan| plan.package_manager.as_ref()).map(|manager| manager.name);
        by_command.or(planned).unwrap_or(PackageManagerName::Npm)
    }

    /// The command as its owner knows it.
    pub(super) fn command(&self) -> Option<&'e str> {
        let planned = || match self.evidence.phase? {
            Phase::Install => self.plan?.install.as_ref().map(|install| install.command.as_str()),
            Phase::Build => self.plan?.build_command.as_deref(),
            Phase::Start | Phase::Health => self.plan?.start_command(),
            _ => None,
        };
        let command = self.evidence.command.as_deref().or_else(planned).filter(|command| !command.trim().is_empty())?;
        // What the plan puts in front, so that programs of dependencies are found.
        Some(
            command
                .strip_prefix("export PATH=")
                .and_then(|rest| rest.split_once("; exec "))
                .map_or(command, |(_, own)| own),
        )
    }

    /// Where it happened: the command and the phase, as far as they are known.
    pub(super) fn place(&self) -> String {
        match (self.command(), self.evidence.phase) {
            (Some(command), Some(phase)) => format!("`{command}` in the phase `{phase}`"),
            (Some(command), None) => format!("`{command}`"),
            (None, Some(phase)) => format!("the phase `{phase}`"),
            (None, None) => String::new(),
        }
    }

    /// The command, or words for it.
    pub(super) fn command_words(&self) -> String {
        self.command().map_or_else(|| "the command".to_owned(), |command| format!("`{command}`"))
    }

    pub(super) fn exit_code(&self) -> Option<i32> {
        self.evidence.exit.and_then(|exit| exit.code)
    }

    /// `exited with status 1`; None when the process did not end by itself.
    pub(super) fn exit_words(&self) -> Option<String> {
        self.evidence.exit.map(exit_words)
    }

    /// Path of the service's `package.json` in the source.
    pub(super) fn package_json(&self) -> String {
        match self.plan.map(|plan| plan.root.as_str()) {
            None | Some("") => "package.json".to_owned(),
            Some(root) => format!("{root}/package.json"),
        }
    }

    /// A sentence, then the last lines of the output below it.
    pub(super) fn with_last_lines(&self, sentence: &str) -> String {
        let lines = self.output.last_lines();
        if lines.is_empty() {
            return format!("{sentence}; it printed nothing");
        }
        format!("{sentence}; its last lines are:\n{}", lines.join("\n"))
    }

    /// Option of `slipway env set` for a variable that this phase sees: install and build see those for builds only.
    pub(super) fn build_flag(&self) -> &'static str {
        match self.evidence.phase {
            Some(Phase::Install | Phase::Build) => " --build",
            _ => "",
        }
    }
}

/// How it ended, as a part of a sentence.
pub fn exit_words(exit: ExitFacts) -> String {
    match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was ended by {}", signal_name(signal)),
        (Some(code), None) => match code.checked_sub(128).filter(|signal| (1..=31).contains(signal)) {
            Some(signal) => format!("exited with status {code}, which stands for {}", signal_name(signal)),
            None => format!("exited with status {code}"),
        },
        (None, None) => "ended".to_owned(),
    }
}

/// Linux numbers, the ones that end programs in practice.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
