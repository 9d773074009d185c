//! Credentials for git dependencies, for install and build commands alone: the variable [`VARIABLE`], lines as in git's own
//! credential store, becomes a credential helper in git's configuration of the environment. Nothing is written to a file, so
//! nothing of it is in a layer; a build that was not given the variable asks nobody.

use slipway_types::Secret;
use slipway_types::host::Env;

/// Lines of `https://user:token@host`.
const VARIABLE: &str = "GIT_CREDENTIALS";
/// Hosts of one build.
const HOSTS_MAX: usize = 20;

/// Answers git from the variable. `credential-store` matches protocol and host itself; it reads the query from its standard
/// input and the lines from another descriptor, which the shell fills without a file.
const HELPER: &str = "!f() { test \"$1\" = get || return 0
git credential-store --file=/dev/fd/3 get 3<<END
$GIT_CREDENTIALS
END
}; f";

/// Adds what git needs to use the credentials of the owner's variables.
pub(crate) fn add_to(env: &mut Env) {
    // There is no terminal: a question would be an error that does not name its reason.
    env.entry("GIT_TERMINAL_PROMPT".to_owned()).or_insert_with(|| Secret::new("0"));
    let Some(lines) = env.get(VARIABLE).map(|value| value.expose().to_owned()) else { return };
    // The owner's own configuration by variables goes first and stays.
    let present = env.get("GIT_CONFIG_COUNT").and_then(|count| count.expose().parse::<usize>().ok()).unwrap_or(0);
    let settings = settings(&lines);
    for (index, (key, value)) in (present..).zip(&settings) {
        env.insert(format!("GIT_CONFIG_KEY_{index}"), Secret::new(key.as_str()));
        env.insert(format!("GIT_CONFIG_VALUE_{index}"), Secret::new(value.as_str()));
    }
    env.insert("GIT_CONFIG_COUNT".to_owned(), Secret::new((present + settings.len()).to_string()));
}

fn settings(lines: &str) -> Vec<(String, String)> {
    // An empty helper forgets those of the system.
    let mut settings =
        vec![("credential.helper".to_owned(), String::new()), ("credential.helper".to_owned(), HELPER.to_owned())];
    let mut hosts: Vec<String> = lines.lines().filter_map(address).collect();
    hosts.sort();
    hosts.dedup();
    for address in hosts.into_iter().take(HOSTS_MAX) {
        let host = address.split("://").nth(1).unwrap_or_default().to_owned();
        // There is no key for ssh in a sandbox, and package managers write `github:user/name` as ssh.
        for ssh in [format!("ssh://git@{host}/"), format!("git@{host}:")] {
            settings.push((format!("url.{address}/.insteadOf"), ssh));
        }
    }
    settings
}

/// `https://host:port` of a line, when it is nothing but letters that a host name has: it becomes part of a key.
fn address(line: &str) -> Option<String> {
    let (scheme, rest) = line.trim().split_once("://")?;
    let host = rest.split('/').next()?.rsplit_once('@')?.1;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    (matches!(scheme, "https" | "http") && !host.is_empty() && host.chars().all(plain))
        .then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn env(pairs: &[(&str, &str)]) -> Env {
        let mut env: Env = pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        add_to(&mut env);
        env
    }

    fn git(env: &Env, args: &[&str], input: &str) -> String {
        let mut command = Command::new("git");
        command.env_clear().envs(env.iter().map(|(name, value)| (name, value.expose())));
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent").args(args);
        let mut git = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        git.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn git_itself_finds_the_credential_of_its_host_and_no_other() {
        let env = env(&[(VARIABLE, "https://me:t%40ken$HOME@git.example\nhttps://x:`id`@other.example:8443\n")]);
        let answer = |query: &str| git(&env, &["credential", "fill"], query);
        let found = answer("protocol=https\nhost=git.example\n\n");
        assert!(found.contains("username=me") && found.contains("password=t@ken$HOME"), "{found}");
        assert!(answer("protocol=https\nhost=other.example:8443\n\n").contains("password=`id`"));
        assert_eq!(answer("protocol=https\nhost=evil.example\n\n"), "");
        assert_eq!(answer("protocol=http\nhost=git.example\n\n"), "");
    }

    #[test]
    fn addresses_for_ssh_become_those_that_the_credential_is_for() {
        let env = env(&[(VARIABLE, "https://me:token@git.example")]);
        for url in ["ssh://git@git.example/a/b.git", "git@git.example:a/b.git"] {
            assert_eq!(git(&env, &["ls-remote", "--get-url", url], "").trim(), "https://git.example/a/b.git");
        }
    }

    #[test]
    fn without_credentials_git_asks_nobody_and_the_owner_s_own_settings_stay() {
        let none = env(&[("A", "1")]);
        assert_eq!(none.keys().collect::<Vec<_>>(), ["A", "GIT_TERMINAL_PROMPT"]);
        let own = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "user.name"), ("GIT_CONFIG_VALUE_0", "me")];
        let env = env(&[&own[..], &[(VARIABLE, "https://me:token@git.example")]].concat());
        assert_eq!(git(&env, &["config", "user.name"], "").trim(), "me");
        assert_eq!(env["GIT_CONFIG_COUNT"].expose(), "5");
    }

    #[test]
    fn what_is_no_line_of_the_store_is_no_setting() {
        for line in
            ["", "token", "https://host", "ssh://git@host", "https://u:p@ho st", "https://u:p@h\"]\n[x", "ftp://u:p@h"]
        {
            assert_eq!(address(line), None, "{line}");
        }
        assert_eq!(address(" https://u:p@host:8443/path "), Some("https://host:8443".to_owned()));
    }
}
