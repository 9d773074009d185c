//! `env`: variables and secrets of a service. A secret can be written, never read.

use super::args::{ApplyOptions, EnvCommand, FollowOptions, GlobalOptions};
use super::{Session, deploy, env_apply, pairs};
use crate::failure::Failure;
use crate::output::{self, Palette};
use crate::render::{Table, age};
use slipway_types::Secret;
use slipway_types::api::{EnvParams, EnvValue, RedeployView};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

/// All variables of a service together are passed to a process, whose arguments and environment have 2 MB.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// As messages name it.
const STDIN: &str = "standard input";

pub(super) async fn run(global: &GlobalOptions, command: EnvCommand) -> Result<ExitCode, Failure> {
    match command {
        EnvCommand::Set { pairs, secret, build, build_only, stdin, file, apply } => {
            let values = match (&file, stdin) {
                (Some(path), _) => {
                    let whence = format!("`{}`", path.display());
                    let file = std::fs::File::open(path)
                        .map_err(|error| Failure::usage(format!("cannot open {whence}")).caused_by(&error))?;
                    from_text(&pairs, &read(file, &whence)?, &whence)?
                }
                (None, true) => from_text(&pairs, &read(std::io::stdin().lock(), STDIN)?, STDIN)?,
                (None, false) => from_arguments(&pairs)?,
            };
            let value =
                |value| EnvValue { value: Secret::new(value), secret, build: build || build_only, run: !build_only };
            let set = values.into_iter().map(|(name, text)| (name, value(text))).collect();
            change(global, EnvParams { set, unset: Vec::new() }, apply).await
        }
        EnvCommand::Unset { names, apply } => {
            names.iter().try_for_each(|name| check_name(name))?;
            change(global, EnvParams { set: BTreeMap::new(), unset: names }, apply).await
        }
        EnvCommand::Apply { wait } => env_apply::run(&Session::here(global)?, global, None, wait.detach).await,
        EnvCommand::Ls => list(global).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn change(global: &GlobalOptions, params: EnvParams, apply: ApplyOptions) -> Result<ExitCode, Failure> {
    let session = Session::here(global)?;
    let variables = session.client.change_variables(session.path(), &params).await?;
    if apply.deploy {
        return deploy::redeploy(global, false, FollowOptions { detach: apply.detach }).await;
    }
    if !apply.stage {
        return env_apply::run(&session, global, Some(variables), apply.detach).await;
    }
    if global.json {
        output::json(&variables)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(&format!("the variables of {} are changed from its next deployment on", session.target));
    if let Some(next) = next(&session).await {
        output::say(&next);
    }
    Ok(ExitCode::SUCCESS)
}

/// What it takes, when that is a build. None: nothing was ever deployed, or the server can't say; the change is made in any case.
async fn next(session: &Session) -> Option<String> {
    let RedeployView { rebuilds, because } = session.client.redeploy_view(session.path()).await.ok()?;
    Some(match rebuilds {
        false => "`slipway env apply` brings them to what is live, without a build".to_owned(),
        true => format!("`slipway redeploy` applies them and builds again: {}", output::printable(&because)),
    })
}

async fn list(global: &GlobalOptions) -> Result<(), Failure> {
    let session = Session::here(global)?;
    let variables = session.client.variables(session.path()).await?;
    if global.json {
        return output::json(&variables);
    }
    if variables.is_empty() {
        output::say(&format!("{} has no variables", session.target));
        return Ok(());
    }
    let now = super::listing::now();
    let mut table = Table::new(&["NAME", "VALUE", "GIVEN TO", "CHANGED"]);
    for variable in variables {
        let value = if variable.secret { "(secret)".to_owned() } else { variable.value.unwrap_or_default() };
        let given = match (variable.build, variable.run) {
            (true, true) => "build, run",
            (true, false) => "build",
            (false, _) => "run",
        };
        table.row(vec![variable.name, value, given.to_owned(), age(variable.updated_at, now)]);
    }
    output::data(&table.render(Palette::of_stdout()))
}

type Values = BTreeMap<String, String>;

fn from_arguments(arguments: &[String]) -> Result<Values, Failure> {
    let mut values = Values::new();
    for argument in arguments {
        let (name, value) = pairs::split(argument)?;
        put(&mut values, name, value.to_owned())?;
    }
    Ok(values)
}

/// With one name: the whole text without its last line end. Without: `NAME=VALUE` lines as in an `.env` file.
fn from_text(arguments: &[String], text: &str, whence: &str) -> Result<Values, Failure> {
    let mut values = Values::new();
    match arguments {
        [] => {
            for (number, line) in text.lines().enumerate() {
                if let Some((name, value)) = dotenv_line(line).map_err(|what| at_line(number, whence, what))? {
                    put(&mut values, name, value)?;
                }
            }
            if values.is_empty() {
                return Err(Failure::usage(format!("there is no `KEY=VALUE` line in {whence}")));
            }
        }
        [name] if !name.contains('=') => {
            let value = text.strip_suffix('\n').unwrap_or(text);
            put(&mut values, name, value.strip_suffix('\r').unwrap_or(value).to_owned())?;
        }
        _ => return Err(Failure::usage("`--stdin` and `--file` go with one NAME without a value, or with none")),
    }
    Ok(values)
}

fn at_line(index: usize, whence: &str, what: &str) -> Failure {
    Failure::usage(format!("line {} of {whence} {what}", index + 1))
}

fn put(values: &mut Values, name: &str, value: String) -> Result<(), Failure> {
    check_name(name)?;
    if value.contains('\0') {
        return Err(Failure::usage(format!("the value of `{name}` has a zero byte, which no variable can hold")));
    }
    values.insert(name.to_owned(), value).map_or(Ok(()), |_| Err(Failure::usage(format!("`{name}` is given twice"))))
}

fn check_name(name: &str) -> Result<(), Failure> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(Failure::usage(format!("`{}` is not a variable's name", output::printable(name)))
        .hint("a name has letters, digits and `_`, and does not start with a digit"))
}

/// One line of an `.env` file: a comment, or `NAME=VALUE` with `export`, quotes and spaces around as shells allow.
fn dotenv_line(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("is not `KEY=VALUE`")?;
    Ok(Some((name.trim(), unquoted(value.trim())?)))
}

fn unquoted(value: &str) -> Result<String, &'static str> {
    match value.chars().next() {
        Some('\'') => {
            let inner = value[1..].strip_suffix('\'').ok_or("has a quote without an end")?;
            Ok(inner.to_owned())
        }
        Some('"') => {
            let inner = value[1..].strip_suffix('"').ok_or("has a quote without an end")?;
            Ok(unescaped(inner))
        }
        _ => Ok(value.split(" #").next().unwrap_or(value).trim_end().to_owned()),
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (other, false) => plain.push(other),
        }
    }
    plain
}

fn read(from: impl Read, whence: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("cannot read {whence} as text")).caused_by(&error))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(Failure::usage(format!("{whence} is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], text: &str) -> Result<Vec<(String, String)>, String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        from_text(&arguments, text, STDIN).map(|v| v.into_iter().collect()).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn an_env_file_on_standard_input() {
        let text = "# comment\n\nA=1\nexport B = 'x # y'\nC=\"a\\nb\"\nD=v # note\nE=a=b\n";
        let values = read(&[], text).unwrap();
        let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(values, [("A", "1"), ("B", "x # y"), ("C", "a\nb"), ("D", "v"), ("E", "a=b")]);
        assert!(read(&[], "A=1\nnonsense").unwrap_err().contains("line 2"));
        assert!(read(&[], "A='x").unwrap_err().contains("quote"));
        assert!(read(&[], "# nothing").is_err());
    }

    #[test]
    fn one_value_on_standard_input() {
        assert_eq!(read(&["KEY"], "line 1\nline 2\n").unwrap(), [("KEY".into(), "line 1\nline 2".into())]);
        assert!(read(&["KEY=1"], "x").is_err());
        assert!(read(&["A", "B"], "x").is_err());
    }

    #[test]
    fn names_are_those_of_a_shell() {
        for bad in ["", "1A", "A-B", "A B", "ü"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("_A1").is_ok());
    }
}
