//! Install, build and pre-deploy commands that fail.

use crate::Checked;
use crate::case::{built, ran, running};
use slipway_types::Phase;

pub(crate) fn installs(checked: &mut Checked) {
    let install = |fixture| ran(Phase::Install, "npm ci", 1, fixture);
    checked.check(
        install("npm-lockfile-out-of-step"),
        (
            "lockfile-out-of-step",
            "package-lock.json",
            "lock file's is-odd@3.0.1 does not satisfy is-odd@3.0.0; Missing: left-pad@1.3.0 from lock file",
            "run `npm install` where you develop",
        ),
    );
    checked.check(
        install("npm-lockfile-missing"),
        (
            "lockfile-missing",
            "`npm ci` in the phase `install`",
            "the source has no such file",
            "commit `package-lock.json`",
        ),
    );
    checked.check(install("npm-package-not-found"), ("package-not-found", "package.json", "404", "spelling"));
    checked.check(
        install("npm-version-not-found"),
        ("package-version-not-found", "package.json", "none of its versions", "npm view left-pad versions"),
    );
    checked.check(
        install("npm-peer-conflict"),
        (
            "peer-conflict",
            "package.json",
            "react@\"^18.2.0\" from react-dom@18.2.0, but react@19.0.0 is installed",
            "legacy-peer-deps",
        ),
    );
    checked.check(
        install("npm-engine-mismatch"),
        ("engine-mismatch", "package.json", "{\"node\":\">=99\"}", "build.node_version"),
    );
    checked.check(
        install("npm-authentication"),
        ("registry-authentication", "`npm ci` in the phase `install`", "Unable to authenticate", "NPM_TOKEN"),
    );
    checked.check(
        install("npm-package-damaged"),
        ("package-damaged", "package-lock.json", "wanted sha512-AAAAAA", "commit the lockfile"),
    );
    checked.check(
        install("npm-registry-unreachable"),
        ("registry-unreachable", "`npm ci` in the phase `install`", "connect ECONNREFUSED 127.0.0.1:9", "deploy again"),
    );
    checked.check(
        install("npm-install-script"),
        ("install-script-failed", "`echo no compiler here >&2; exit 7`", "no compiler here", "clean checkout"),
    );
    checked.check(
        install("npm-own-install-script"),
        ("install-script-failed", "`echo no compiler here >&2; exit 7`", "no compiler here", "clean checkout"),
    );
}

pub(crate) fn installs_of_other_package_managers(checked: &mut Checked) {
    checked.check(
        ran(Phase::Install, "pnpm install --frozen-lockfile", 1, "pnpm-lockfile-out-of-step"),
        ("lockfile-out-of-step", "pnpm-lock.yaml", "left-pad (lockfile: 1.3.0, manifest: 1.2.0)", "`pnpm install`"),
    );
    checked.check(
        ran(Phase::Install, "yarn install --frozen-lockfile", 1, "yarn-lockfile-out-of-step"),
        ("lockfile-out-of-step", "yarn.lock", "Your lockfile needs to be updated", "`yarn install`"),
    );
    for fixture in ["pnpm-missing-script", "yarn-missing-script"] {
        checked.check(
            ran(Phase::Build, "run build", 1, fixture),
            ("missing-script", "package.json", "the script `build`", "\"build\""),
        );
    }
}

pub(crate) fn builds(checked: &mut Checked) {
    let build = |code, fixture| ran(Phase::Build, "npm run build", code, fixture);
    let type_error = (
        "typescript-error",
        "app/page.tsx:1:7",
        "TS2322: Type 'string' is not assignable to type 'number'.",
        "tsc --noEmit",
    );
    for fixture in ["next-type-error", "tsc-plain", "tsc-pretty"] {
        checked.check(build(1, fixture), type_error);
    }
    checked.check(
        built("npm run build", 1, &["Failed to compile.", "", "./app/page.tsx:5:9", "Type error: Type 'a' is wrong."]),
        ("typescript-error", "app/page.tsx:5:9", "Type 'a' is wrong.", "tsc"),
    );
    checked.check(
        build(1, "next-module-turbopack"),
        ("module-not-found", "app/page.tsx:1:1", "imports `../lib/nope`", "git check-ignore"),
    );
    checked.check(
        build(1, "next-module-webpack"),
        ("module-not-found", "app/page.tsx", "imports `../lib/nope`", "git check-ignore"),
    );
    checked.check(
        built("npm run build", 1, &["./app/page.tsx:2:1", "Module not found: Can't resolve '@scope/x/y'"]),
        ("module-not-found", "app/page.tsx:2:1", "`@scope/x/y`", "npm install @scope/x`"),
    );
    checked.check(
        built("vite build", 1, &["[vite]: Rollup failed to resolve import \"nope\" from \"/app/src/main.ts\"."]),
        ("module-not-found", "src/main.ts", "`nope`", "npm install nope"),
    );
    checked
        .check(build(1, "node-module-cjs"), ("module-not-found", "cjs.js", "imports `express`", "npm install express"));
    checked.check(build(1, "next-syntax"), ("syntax-error", "app/page.tsx:1:46", "Unexpected token", "that place"));
    checked
        .check(build(1, "node-syntax"), ("syntax-error", "syn2.js:1", "missing ) after argument list", "that place"));
    checked.check(
        build(1, "next-prerender"),
        ("prerender-failed", "app/page.tsx:2:47", "Error: database not reachable", "force-dynamic"),
    );
    checked.check(
        build(1, "npm-missing-script"),
        ("missing-script", "package.json", "runs the script `build`", "add `\"build\"`"),
    );
    checked.check(
        build(127, "npm-command-not-found"),
        (
            "command-not-found",
            "`npm run build` in the phase `build`",
            "`no-such-tool`",
            "dependencies of `package.json`",
        ),
    );
    checked.check(
        build(126, "npm-permission-denied"),
        ("permission-denied", "`npm run build` in the phase `build`", "`./x.sh`", "chmod=+x x.sh"),
    );
    checked.check(
        build(1, "node-variable-missing"),
        (
            "missing-database-url",
            "`npm run build` in the phase `build`",
            "DATABASE_URL",
            "slipway env set --build --secret DATABASE_URL",
        ),
    );
    checked.check(
        build(3, "npm-failed"),
        (
            "command-failed",
            "`npm run build` in the phase `build`",
            "it exited with status 3; its last lines are:\n> fail\n",
            "clean checkout",
        ),
    );
}

pub(crate) fn limits(checked: &mut Checked) {
    let mut killed = ran(Phase::Build, "npm run build", 137, "npm-failed");
    killed.evidence.exit.as_mut().unwrap().out_of_memory = true;
    checked.check(
        killed,
        ("out-of-memory", "`npm run build` in the phase `build`", "its memory limit of 4 GB", "raise `build.memory`"),
    );
    let mut app = running("node server.js", Some(137), &[]);
    app.evidence.exit.as_mut().unwrap().out_of_memory = true;
    checked.check(
        app,
        ("out-of-memory", "`node server.js` in the phase `health`", "memory limit", "raise `resources.memory`"),
    );
    checked.check(
        ran(Phase::Build, "npm run build", 134, "node-heap"),
        (
            "heap-out-of-memory",
            "`npm run build` in the phase `build`",
            "Reached heap limit",
            "--max-old-space-size=3072",
        ),
    );
    let mut full = built("npm run build", 1, &[]);
    full.evidence.disk_full = true;
    checked
        .check(full, ("disk-full", "`npm run build` in the phase `build`", "its limit of 8 GB", "raise `build.disk`"));
    checked.check(
        built("npm run build", 1, &["Error: ENOSPC: no space left on device, write"]),
        ("disk-full", "`npm run build` in the phase `build`", "ENOSPC", "raise `build.disk`"),
    );
    let mut slow = built("npm run build", 143, &["still working"]);
    slow.evidence.timed_out_after = Some(1_200_000);
    checked.check(
        slow,
        (
            "timed-out",
            "`npm run build` in the phase `build`",
            "ended after 20 m; its last lines are:\nstill working",
            "build.timeout",
        ),
    );
}

pub(crate) fn pre_deploy(checked: &mut Checked) {
    checked.check(
        ran(Phase::PreDeploy, "node migrate.js", 1, "node-thrown"),
        (
            "pre-deploy-failed",
            "`node migrate.js` in the phase `pre-deploy`",
            "TypeError: Cannot read properties of undefined",
            "not made live",
        ),
    );
    checked.check(
        ran(Phase::PreDeploy, "no-such-tool --x", 127, "npm-command-not-found"),
        (
            "command-not-found",
            "`no-such-tool --x` in the phase `pre-deploy`",
            "no program `no-such-tool`",
            "not made live",
        ),
    );
}
