//! What a script of `package.json` does, as far as its words tell. Scripts are never run here and never understood
//! beyond that: whatever else stands in one makes it a script that only its package manager can run.

use crate::package_json::PackageJson;

/// Scripts that call other scripts are followed this far: nobody nests deeper on purpose.
pub(super) const SCRIPT_DEPTH_MAX: usize = 4;

/// Programs that show files; where the build makes a site, the site is served without them.
const FILE_SERVERS: [&str; 9] = [
    "serve",
    "http-server",
    "live-server",
    "lite-server",
    "local-web-server",
    "sirv",
    "static-server",
    "superstatic",
    "vite preview",
];

/// Words in front of a program that only say how it is found or with which variables.
const LAUNCHERS: [&[&str]; 11] = [
    &["cross-env"],
    &["cross-env-shell"],
    &["env"],
    &["exec"],
    &["npx"],
    &["bunx"],
    &["bun", "--bun"],
    &["npm", "exec"],
    &["pnpm", "exec"],
    &["pnpm", "dlx"],
    &["yarn", "exec"],
];

/// Programs that run several scripts, whose names are their arguments.
const SCRIPT_RUNNERS: [&str; 9] =
    ["npm", "pnpm", "yarn", "bun", "run-p", "run-s", "npm-run-all", "npm-run-all2", "concurrently"];

/// The script that a text calls and does nothing else: `npm run serve`, `yarn serve`, `npm start`.
pub(super) fn called<'s>(package: &PackageJson, text: &'s str) -> Option<&'s str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let script = match words[..] {
        ["npm" | "pnpm" | "yarn" | "bun", "run" | "run-script", script] => script,
        ["npm", "start"] => "start",
        ["yarn" | "pnpm", script] => script,
        _ => return None,
    };
    package.script(script).map(|_| script)
}

/// A text, and the texts of all scripts that it runs.
pub(super) fn with_called(package: &PackageJson, text: &str) -> String {
    let mut all = text.to_owned();
    let mut seen: Vec<&str> = Vec::new();
    for _ in 0..SCRIPT_DEPTH_MAX {
        let runs = |word: &&str| SCRIPT_RUNNERS.contains(word);
        let mut added = String::new();
        for command in all.split("&&").filter(|command| command.split_whitespace().next().is_some_and(|w| runs(&w))) {
            for word in command.split_whitespace().map(|word| word.trim_matches(['"', '\''])) {
                let word = word.strip_prefix("npm:").unwrap_or(word);
                let Some((name, text)) = package.scripts().find(|(name, _)| *name == word) else { continue };
                if !seen.contains(&name) {
                    seen.push(name);
                    added.push_str(" && ");
                    added.push_str(text);
                }
            }
        }
        if added.is_empty() {
            break;
        }
        all.push_str(&added);
    }
    all
}

/// The last of the commands that `&&` joins.
pub(super) fn last_command(text: &str) -> &str {
    text.rsplit("&&").next().unwrap_or_default().trim()
}

/// The words of a command from its program on: without variables, `npx` and the like.
fn program_words(command: &str) -> Vec<&str> {
    let mut words: Vec<&str> = command.split_whitespace().collect();
    loop {
        let launcher = LAUNCHERS.iter().find(|launcher| words.starts_with(launcher));
        let skipped = match (launcher, words.first()) {
            (Some(launcher), _) => launcher.len(),
            (None, Some(first)) if is_assignment(first) || first.starts_with('-') => 1,
            _ => return words,
        };
        words.drain(..skipped);
    }
}

/// Whether the last command of a script is one of `commands`. One word, such as `vite`, is meant without a
/// subcommand: options may follow, other words not.
pub(super) fn runs_one_of(text: &str, commands: &[&str]) -> bool {
    let words = program_words(last_command(text));
    commands.iter().any(|command| {
        let command: Vec<&str> = command.split(' ').collect();
        let next = words.get(command.len());
        words.starts_with(&command) && (command.len() > 1 || next.is_none_or(|word| word.starts_with('-')))
    })
}

/// Whether the last command of a script is one of `programs`, whatever follows.
pub(super) fn starts_with_one_of(text: &str, programs: &[&str]) -> bool {
    let words = program_words(last_command(text));
    programs.iter().any(|program| words.starts_with(&program.split(' ').collect::<Vec<_>>()))
}

/// Whether a script only shows files.
pub(super) fn serves_files(text: &str) -> bool {
    starts_with_one_of(text, &FILE_SERVERS)
}

/// The program that a script ends in, such as `tsx`.
pub(super) fn program(text: &str) -> Option<&str> {
    program_words(last_command(text)).first().copied()
}

/// The value of an option: `--out x` or `--out=x`.
pub(super) fn option_value<'s>(text: &'s str, names: &[&str]) -> Option<&'s str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().enumerate().find_map(|(at, word)| {
        names.iter().find_map(|name| match word.strip_prefix(name)? {
            "" => words.get(at + 1).copied(),
            rest => rest.strip_prefix('='),
        })
    });
    at.map(|value| value.trim_matches(['"', '\''])).filter(|value| !value.is_empty() && !value.starts_with('-'))
}

/// What a program's subcommand is given first: `docs` in `vitepress build docs`.
pub(super) fn operand<'s>(text: &'s str, program: &str, subcommand: &str) -> Option<&'s str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == [program, subcommand])?;
    words.get(at + 2).copied().filter(|word| word.starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '@'))
}

/// The value of a variable that a script sets for a program.
pub(super) fn assignment<'s>(text: &'s str, name: &str) -> Option<&'s str> {
    let value = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
}

pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Words, quotes, variables and `&&`: nothing whose meaning `exec` in front of the last command could change.
pub(super) fn is_plain(text: &str) -> bool {
    let quoted_and = text.split(['"', '\'']).skip(1).step_by(2).any(|quoted| quoted.contains("&&"));
    let rest = text.replace("&&", " ");
    let is_builtin =
        matches!(last_command(text).split_whitespace().next(), None | Some("cd" | "exit" | "set" | "." | "source"));
    !quoted_and && !is_builtin && !rest.contains(['&', ';', '|', '<', '>', '(', ')', '`', '\n', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_seen_behind_their_launchers() {
        let development = ["vite", "vite dev", "ng serve", "next dev"];
        for (text, is_one) in [
            ("vite", true),
            ("vite --host 0.0.0.0", true),
            ("npx vite dev", true),
            ("cross-env NODE_ENV=development vite", true),
            ("tsc -b && vite", true),
            ("ng serve shop --port 80", true),
            ("PORT=3 npx --yes next dev", true),
            ("vite build", false),
            ("node server.js", false),
            ("vite && node server.js", false),
        ] {
            assert_eq!(runs_one_of(text, &development), is_one, "{text}");
        }
        assert!(serves_files("serve -s build") && serves_files("npx serve dist") && serves_files("vite preview"));
        assert!(!serves_files("node serve.js"));
    }

    #[test]
    fn words_of_a_build_script() {
        assert_eq!(option_value("tsc && vite build --outDir=web", &["--outDir"]), Some("web"));
        assert_eq!(option_value("vite build --outDir 'a/b'", &["--outDir"]), Some("a/b"));
        assert_eq!(option_value("vite build --outDir", &["--outDir"]), None);
        assert_eq!(operand("vitepress build docs", "vitepress", "build"), Some("docs"));
        assert_eq!(operand("vitepress build && x", "vitepress", "build"), None);
        assert_eq!(assignment("BUILD_PATH='./out' react-scripts build", "BUILD_PATH"), Some("./out"));
    }
}
