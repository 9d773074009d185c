//! Machine code that can't be compiled, found or loaded.

use super::case::Case;
use super::entry::{
    CRASHED, GLIBC_TOO_OLD, NATIVE_BUILD_FAILED, NATIVE_MODULE_VERSION, OPTIONAL_NATIVE_PACKAGE_MISSING,
    SHARED_LIBRARY_MISSING, WRONG_ARCHITECTURE,
};
use super::output::{first_quoted, relative};
use super::python;
use slipway_types::Diagnosis;

/// What node-gyp says, in the order in which it would help.
pub(super) fn build_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let why = gyp(case).or_else(|| python::wheel_failed(case))?;
    let missing_library = why.contains("fatal error: ") || python::is_missing_library(&why);
    let diagnosis = NATIVE_BUILD_FAILED
        .diagnosis("native code of a package could not be compiled")
        .at(case.place())
        .because(why)
        .hint(match python::is_of(case) {
            true => "use a version of the package that brings wheels, such as `psycopg[binary]` instead of `psycopg2`, or a Python for which there are some: `build.python_version`",
            false => "use a version of the package that brings a binary for this Node.js: `npm install NAME@latest`, or a Node.js for which there is one: `build.node_version`",
        });
    Some(if missing_library {
        diagnosis.hint("a library of the system and its headers come from a Debian package, such as `libcairo2-dev` or `libpq-dev`: add it to `packages` under `[base]` of the server's configuration")
    } else {
        diagnosis
    })
}

fn gyp(case: &Case<'_>) -> Option<String> {
    case.output.find(&["gyp ERR!"])?;
    let compiler = || case.output.lines().find(|line| line.contains(": fatal error: ") || line.contains(": error: "));
    let python =
        || case.output.find(&["gyp ERR! find Python Could not", "Could not find any Python installation to use"]);
    let tool =
        || case.output.lines().find(|line| line.contains("not found: make") || line.ends_with("make: not found"));
    let offline = ["gyp ERR! stack is related to network connectivity", "gyp ERR! stack FetchError"];
    if compiler().is_none() && case.output.find(&offline).is_some() {
        let why =
            "node-gyp could not download the headers of Node.js: the place that they come from does not answer builds";
        return Some(why.to_owned());
    }
    let stack = || case.output.lines().find(|line| line.contains("gyp ERR! stack") && line.contains("Error"));
    let line = compiler().or_else(python).or_else(tool).or_else(stack);
    let said = line.map(|line| line.trim().trim_start_matches("gyp ERR! ").trim_start_matches("stack ").trim());
    Some(said.map_or_else(|| case.with_last_lines("node-gyp failed"), |said| format!("node-gyp: {said}")))
}

/// Optional packages with the machine code of one system each.
pub(super) fn optional_package_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let (package, line) = named_binary(case).or_else(|| unnamed_binary(case))?;
    Some(
        OPTIONAL_NATIVE_PACKAGE_MISSING
            .diagnosis(format!("`{package}` for Linux was not installed"))
            .at(case.package_json())
            .because(line.trim().trim_start_matches("[cause]: ").trim_start_matches("Error: ").to_owned())
            .hint("write the lockfile anew where you develop and commit it: `rm -rf node_modules package-lock.json && npm install`")
            .hint("don't leave optional packages out: no `--omit=optional`, no `optional=false` in `.npmrc`; and never send `node_modules`"),
    )
}

/// The text names the package or file: `@rollup/rollup-linux-x64-gnu`, `../lightningcss.linux-x64-gnu.node`.
fn named_binary<'c>(case: &'c Case<'_>) -> Option<(String, &'c str)> {
    let says = ["Cannot find module ", "Cannot find package ", "The package \""];
    case.output.lines().find_map(|line| {
        let text = says.iter().find_map(|text| Some((text, line.split_once(text)?.1)))?;
        let name = match *text.0 {
            "The package \"" => text.1.split('"').next()?,
            _ => first_quoted(text.1)
                .or_else(|| text.1.split_whitespace().next())
                .map(|name| name.trim_end_matches('.'))?,
        };
        let is_binary = name.contains("linux-x64") || name.contains("linux-arm64");
        is_binary.then(|| (name.trim_start_matches("../").trim_start_matches("./").to_owned(), line))
    })
}

fn unnamed_binary<'c>(case: &'c Case<'_>) -> Option<(String, &'c str)> {
    let known = [
        ("Could not load the \"sharp\" module using the", "sharp"),
        ("Something went wrong installing the \"sharp\" module", "sharp"),
        ("Failed to load SWC binary for linux", "@next/swc"),
        ("You installed esbuild for another platform", "esbuild"),
        ("Cannot find native binding. npm has a bug related to optional dependencies", "the native binding"),
    ];
    known.iter().find_map(|(text, name)| Some(((*name).to_owned(), case.output.find(&[text])?)))
}

pub(super) fn wrong_architecture(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [": invalid ELF header", ": wrong ELF class", ": Exec format error", "cannot execute binary file"];
    let line = case.output.find(&said)?.trim();
    let before = said.iter().find_map(|text| line.split_once(text)).map_or(line, |(before, _)| before);
    let file = relative(before.rsplit(": ").next().unwrap_or(before)).to_owned();
    let diagnosis = WRONG_ARCHITECTURE
        .diagnosis(format!("`{file}` is for another operating system or processor"))
        .at(file.clone())
        .because(line.trim_start_matches("Error: ").to_owned());
    Some(if file.starts_with("node_modules") || case.has_path(&file) {
        diagnosis
            .hint(format!("take it out of the source, so that it is made here: `git rm -r --cached {}`", top(&file)))
            .hint("name `node_modules` in `.gitignore`: what it holds is for the machine that installed it")
    } else {
        diagnosis
            .hint("if it was copied from another machine, make it in the build instead; `node_modules` must never be sent")
            .hint("a binary for Linux on this processor is what is needed; `file PATH` says what it is for")
    })
}

fn top(path: &str) -> &str {
    if path.starts_with("node_modules/") { "node_modules" } else { path }
}

/// ``version `GLIBC_2.38' not found (required by /app/x.node)``
pub(super) fn glibc_too_old(case: &Case<'_>) -> Option<Diagnosis> {
    let is_it = |line: &&str| {
        (line.contains("version `GLIBC") || line.contains("version 'GLIBC")) && line.contains("not found")
    };
    let line = case.output.lines().find(is_it)?;
    let version = first_quoted_version(line).unwrap_or("a newer one");
    let file = line.split_once("(required by ").map(|(_, file)| file.trim_end_matches(')'));
    Some(
        GLIBC_TOO_OLD
            .diagnosis(format!("a binary needs {version}, which the base image does not have"))
            .at(file.map_or_else(|| case.place(), |file| relative(file).to_owned()))
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("use an older version of the package, or compile it here: `npm rebuild NAME --build-from-source`")
            .hint("or choose a newer base: `suite` under `[base]` of the server's configuration"),
    )
}

fn first_quoted_version(line: &str) -> Option<&str> {
    let at = line.find("GLIBC")?;
    line[at..].split(['\'', '`', ' ']).next()
}

pub(super) fn shared_library_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&[": cannot open shared object file"])?;
    let before = line.split_once(": cannot open shared object file")?.0;
    let library = before.rsplit([' ', ':']).next()?;
    let program =
        before.split_once(": error while loading shared libraries").map(|(program, _)| relative(program.trim()));
    let place = program.map(str::to_owned).or_else(|| case.output.crash_place()).unwrap_or_else(|| case.place());
    Some(
        SHARED_LIBRARY_MISSING
            .diagnosis(format!("the system library `{library}` is not there"))
            .at(place)
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("use a package that brings the library with it")
            .hint(format!("or add the Debian package that has it (`apt-file search {library}`) to `packages` under `[base]` of the server's configuration")),
    )
}

/// `The module '/app/addon.node' was compiled against a different Node.js version using NODE_MODULE_VERSION 64.`
pub(super) fn module_version(case: &Case<'_>) -> Option<Diagnosis> {
    case.output.find(&["was compiled against a different Node.js version"])?;
    let file = case.output.after("The module ").and_then(first_quoted).map(|file| relative(file).to_owned());
    let mut versions = case.output.lines().filter_map(|line| {
        let rest = line.split_once("NODE_MODULE_VERSION ")?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next().filter(|number| !number.is_empty())
    });
    let why = match (versions.next(), versions.next()) {
        (Some(built), Some(here)) => {
            format!("it was compiled for NODE_MODULE_VERSION {built}, this Node.js has NODE_MODULE_VERSION {here}")
        }
        _ => "its NODE_MODULE_VERSION is not that of this Node.js".to_owned(),
    };
    Some(
        NATIVE_MODULE_VERSION
            .diagnosis("a native module was compiled for another version of Node.js")
            .at(file.unwrap_or_else(|| case.place()))
            .because(why)
            .hint("if `node_modules` is in the source, take it out, so that it is installed here: `git rm -r --cached node_modules`")
            .hint("else compile it with the Node.js that runs it: `npm rebuild` in the build command, and one `build.node_version` for both"),
    )
}

/// Ended by a signal that stands for a fault in machine code.
pub(super) fn crashed(case: &Case<'_>) -> Option<Diagnosis> {
    const FAULTS: [i32; 6] = [4, 6, 7, 8, 11, 31];
    let exit = case.evidence.exit?;
    let signal = exit.signal.or_else(|| exit.code?.checked_sub(128))?;
    if !FAULTS.contains(&signal) {
        return None;
    }
    let exit = case.exit_words()?;
    let diagnosis = CRASHED
        .diagnosis(format!("{} crashed", case.command_words()))
        .at(case.place())
        .because(case.with_last_lines(&format!("it {exit}")));
    Some(match signal {
        4 => diagnosis.hint("SIGILL is a processor instruction that this machine lacks: use a build of the package for older processors"),
        31 => diagnosis.hint("SIGSYS is a system call that sandboxes may not make"),
        _ => diagnosis.hint("the fault is in machine code: update packages with native parts first"),
    })
}
