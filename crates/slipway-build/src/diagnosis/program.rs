//! What Node.js and programs on it say when they can't run.

use super::case::Case;
use super::entry::{
    BROWSER_MISSING, CLIENT_NOT_GENERATED, EXPORT_MISSING, MODULE_FORMAT, NOT_A_GIT_REPOSITORY, OPENSSL_UNSUPPORTED,
    PATH_NOT_WRITABLE, TYPESCRIPT_NOT_COMPILED,
};
use super::module::esbuild_error;
use super::output::{first_quoted, is_place, relative};
use slipway_types::Diagnosis;

/// ES modules and CommonJS mixed up.
pub(super) fn module_format(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "SyntaxError: Cannot use import statement outside a module",
        "SyntaxError: Unexpected token 'export'",
        "is not defined in ES module scope",
        "[ERR_REQUIRE_ESM]: ",
        "[ERR_REQUIRE_ASYNC_MODULE]: ",
    ];
    let line = case.output.find(&said)?.trim();
    let required = line.contains("ERR_REQUIRE");
    let diagnosis = MODULE_FORMAT
        .diagnosis("ES modules and CommonJS are mixed up")
        .at(case.output.crash_place().unwrap_or_else(|| case.place()))
        .because(line.to_owned());
    Some(if required {
        diagnosis
            .hint("load it by `await import(\"…\")`, or make the importing file an ES module: `.mjs`, or `\"type\": \"module\"`")
            .hint("since Node.js 22.12 `require` loads ES modules too: `build.node_version = \"22\"` in `slipway.toml`")
    } else if line.contains("ES module scope") {
        diagnosis
            .hint("write the file as an ES module: `import` instead of `require`, `import.meta.dirname` instead of `__dirname`")
            .hint("or let it be CommonJS: name it `.cjs`, or remove `\"type\": \"module\"` from `package.json`")
    } else {
        diagnosis
            .hint("let the file be an ES module: set `\"type\": \"module\"` in `package.json`, or name it `.mjs`")
            .hint("or compile it to CommonJS in the build")
    })
}

/// A name that the other module does not export: Node.js, esbuild, Rollup and Turbopack.
pub(super) fn export_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let found = export_at_run(case).or_else(|| export_esbuild(case)).or_else(|| export_rollup(case));
    let (place, name, module) = found.or_else(|| export_turbopack(case))?;
    Some(
        EXPORT_MISSING
            .diagnosis(format!("`{module}` has no export `{name}`"))
            .at(if place.is_empty() { case.place() } else { place })
            .because(format!("`{name}` is imported from `{module}`, which does not export it"))
            .hint("correct the name; a module without a default export needs braces: `import { name } from …`")
            .hint("if it is a package, install the version that the code is written for, and commit the lockfile"),
    )
}

type Export = (String, String, String);

fn export_at_run(case: &Case<'_>) -> Option<Export> {
    let line =
        case.output.lines().find(|line| line.starts_with("SyntaxError: ") && line.contains("equested module '"))?;
    let module = first_quoted(line.split_once("equested module ")?.1)?;
    let name = match line.split_once("export named ") {
        Some((_, rest)) => first_quoted(rest)?,
        None => first_quoted(line.split_once("Named export ")?.1)?,
    };
    Some((case.output.crash_place().unwrap_or_default(), name.to_owned(), module.to_owned()))
}

fn export_esbuild(case: &Case<'_>) -> Option<Export> {
    let (message, place) = esbuild_error(&case.output, |message| message.starts_with("No matching export in "))?;
    let (module, name) = message.split_once(" for import ")?;
    Some((place, first_quoted(name)?.to_owned(), relative(first_quoted(module)?).to_owned()))
}

/// `main.js (1:9): "nope" is not exported by "lib.js", imported by "main.js".`
fn export_rollup(case: &Case<'_>) -> Option<Export> {
    let line = case.output.find(&["\" is not exported by \""])?;
    let (before, after) = line.split_once("\" is not exported by \"")?;
    let name = before.rsplit('"').next()?;
    let module = after.split('"').next()?;
    let at = before.split_once(" (").and_then(|(path, rest)| Some((path.rsplit(' ').next()?, rest.split(')').next()?)));
    let importer = after.split_once("imported by ").and_then(|(_, rest)| first_quoted(rest));
    let place = match (at, importer) {
        (Some((path, at)), _) if is_place(path) => format!("{}:{at}", relative(path)),
        (_, Some(importer)) => relative(importer).to_owned(),
        _ => String::new(),
    };
    Some((place, name.to_owned(), relative(module).to_owned()))
}

/// `./app/page.tsx:1:10`, `Export nope doesn't exist in target module`, and below it the module.
fn export_turbopack(case: &Case<'_>) -> Option<Export> {
    let (place, line) = case
        .output
        .pairs()
        .find(|(_, line)| line.starts_with("Export ") && line.contains("doesn't exist in target module"))?;
    let name = line.split_whitespace().nth(1)?;
    let module = case.output.after("was not found in module [project]/").and_then(|rest| rest.split(' ').next());
    Some((relative(place).to_owned(), name.to_owned(), module.unwrap_or("the module").to_owned()))
}

pub(super) fn typescript_not_compiled(case: &Case<'_>) -> Option<Diagnosis> {
    let unknown =
        |line: &&str| line.contains("ERR_UNKNOWN_FILE_EXTENSION]") && (line.contains("ts\"") || line.contains("tsx\""));
    let said = ["ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX]", "ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING]"];
    let line = case.output.lines().find(unknown).or_else(|| case.output.find(&said))?.trim();
    let file = line.rsplit_once(" for ").map(|(_, file)| relative(file.trim_start_matches("file://")));
    let place = case.output.crash_place().or_else(|| file.filter(|file| is_place(file)).map(str::to_owned));
    Some(
        TYPESCRIPT_NOT_COMPILED
            .diagnosis("this Node.js can't run the TypeScript file")
            .at(place.unwrap_or_else(|| case.place()))
            .because(line.to_owned())
            .hint("compile it in the build (`\"build\": \"tsc\"`) and start what it makes (`\"start\": \"node dist/server.js\"`)")
            .hint("or start it with a tool that compiles: `npm install tsx`, `\"start\": \"tsx server.ts\"`"),
    )
}

/// System calls that write; a file that only can't be read is another matter.
const WRITING: [&str; 8] = ["mkdir ", "open ", "unlink ", "rename ", "rmdir ", "copyfile ", "symlink ", "mkdtemp "];

/// Node.js, Python and coreutils.
pub(super) fn path_not_writable(case: &Case<'_>) -> Option<Diagnosis> {
    let node = |line: &str| {
        let rest = line
            .split_once("EACCES: permission denied, ")
            .or_else(|| line.split_once("EROFS: read-only file system, "))?
            .1;
        WRITING.iter().find_map(|call| rest.strip_prefix(call)).and_then(first_quoted).map(str::to_owned)
    };
    let python = |line: &str| {
        let rest = line.split_once("PermissionError: [Errno 13] Permission denied: ")?.1;
        first_quoted(rest).map(str::to_owned)
    };
    let coreutils = |line: &str| {
        let rest = line.split_once(": cannot create directory ")?.1;
        line.ends_with("Permission denied").then(|| rest.split(['\'', '‘', '’']).nth(1).map(str::to_owned)).flatten()
    };
    let (path, line) = case.output.lines().find_map(|line| {
        let path = node(line).or_else(|| python(line)).or_else(|| coreutils(line))?;
        path.starts_with('/').then_some((path, line))
    })?;
    Some(
        PATH_NOT_WRITABLE
            .diagnosis(format!("`{path}` can't be written"))
            .at(format!("`{path}`"))
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("write below `/app` or `/tmp`; builds and apps run without root")
            .hint("what an app writes is gone with its replica: keep data in a database or an object store"),
    )
}

pub(super) fn openssl_unsupported(case: &Case<'_>) -> Option<Diagnosis> {
    let line =
        case.output.find(&["error:0308010C:digital envelope routines::unsupported", "ERR_OSSL_EVP_UNSUPPORTED"])?;
    let build = case.build_flag();
    Some(
        OPENSSL_UNSUPPORTED
            .diagnosis("a tool uses a hash that OpenSSL 3 refuses")
            .at(case.place())
            .because(format!(
                "{}; mostly it is webpack 4, which hashes with MD4",
                line.trim().trim_matches(['\'', ','])
            ))
            .hint("update webpack to 5, or the tool that brings it: `npm ls webpack` says which")
            .hint(format!("until then: `slipway env set{build} NODE_OPTIONS=--openssl-legacy-provider`")),
    )
}

pub(super) fn browser_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "Could not find Chrome (ver.",
        "Could not find Chromium (rev.",
        "Could not find Firefox (",
        "Executable doesn't exist at ",
    ];
    let line = case.output.find(&said)?.trim();
    let playwright = line.contains("Executable doesn't exist");
    let diagnosis = BROWSER_MISSING
        .diagnosis("the headless browser is not in the image: Chromium, Chrome or Firefox")
        .at(case.place())
        .because(line.to_owned());
    Some(match playwright {
        true => diagnosis.hint("keep it in the tree: set `PLAYWRIGHT_BROWSERS_PATH=0`, with `--build` too, and append `npx playwright install chromium` to the build"),
        false => diagnosis.hint("keep it in the tree: set `PUPPETEER_CACHE_DIR=/app/.cache/puppeteer`, with `--build` too, and append `npx puppeteer browsers install chrome` to the build"),
    }
    .hint("the libraries that it needs must be in the base image: `packages` under `[base]` of the server's configuration"))
}

pub(super) fn client_not_generated(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "@prisma/client did not initialize yet",
        "could not locate the Query Engine for runtime",
        "Cannot find module '.prisma/client",
    ];
    let line = case.output.find(&said)?;
    Some(
        CLIENT_NOT_GENERATED
            .diagnosis("Prisma's client was not generated")
            .at(case.output.crash_place().unwrap_or_else(|| case.place()))
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("generate it in the build: `prisma generate` before the rest of the script `build`")
            .hint("`prisma` must be installed then: keep it in `devDependencies` at least"),
    )
}

pub(super) fn not_a_git_repository(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&["fatal: not a git repository"])?;
    // Tools ask git for a hint and go on without: only where it is the last word has it failed the command.
    let last = case.output.last_lines().pop()?;
    (last.contains("fatal: not a git repository") || case.exit_code() == Some(128)).then_some(())?;
    Some(
        NOT_A_GIT_REPOSITORY
            .diagnosis("a command asks git, but builds have no `.git`")
            .at(case.place())
            .because(line.trim().to_owned())
            .hint("let the command do without: `git rev-parse HEAD 2>/dev/null || echo unknown`")
            .hint("or set what it needs as a variable: `slipway env set --build COMMIT=$(git rev-parse HEAD)`"),
    )
}
