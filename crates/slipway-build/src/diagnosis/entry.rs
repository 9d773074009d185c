//! The catalogue: every code that a deployment can end in, as data. Codes are stable: they may be added, never
//! renamed or reused.

use slipway_types::{Blame, Diagnosis};

/// One code of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub code: &'static str,
    /// A headline of a few words.
    pub title: &'static str,
    pub blame: Blame,
    /// What it means and what usually helps, for somebody who looks the code up.
    pub explanation: &'static str,
}

impl Entry {
    /// A diagnosis of this code.
    pub(crate) fn diagnosis(&self, what: impl Into<String>) -> Diagnosis {
        Diagnosis::new(self.code, self.blame, what)
    }
}

/// Constants for the entries, and the list of all of them: one can't be there without the other.
macro_rules! catalogue {
    ($($name:ident = $blame:ident, $code:literal, $title:literal, $explanation:literal;)*) => {
        $(pub(crate) const $name: Entry =
            Entry { code: $code, title: $title, blame: Blame::$blame, explanation: $explanation };)*

        /// Every diagnosis there is, in the order of the phases.
        pub const CATALOGUE: &[Entry] = &[$($name),*];
    };
}

catalogue! {
    GIT_UNREACHABLE = User, "git-unreachable", "The git server does not answer",
        "The host of the git URL has no address, refuses the connection or does not answer. Check the URL, and that this machine may reach the server.";
    GIT_REFERENCE_MISSING = User, "git-reference-missing", "No such branch, tag or commit",
        "The repository answers but has no branch, tag or commit of that name; a force push may have removed the commit.";
    GIT_AUTHENTICATION = User, "git-authentication", "The git server refuses the credentials",
        "The repository is private, does not exist, or the token or key is wrong or out of date. Most servers answer alike in all of these cases.";
    GIT_FAILED = Host, "git-failed", "Git could not fetch the source",
        "Git ended with an error that is none of the well-known ones; its own message is in the diagnosis.";
    UPLOAD_MISSING = Platform, "upload-missing", "The uploaded source is gone",
        "The archive of the deployment is no longer in the data directory. Upload the directory again.";
    UPLOAD_UNUSABLE = User, "upload-unusable", "The uploaded source can't be unpacked",
        "The archive of the deployment is damaged, or holds what no source tree may hold: paths or links that lead out of it.";
    INVALID_SLIPWAY_TOML = User, "invalid-slipway-toml", "slipway.toml is not valid",
        "The file is no TOML, has a key that does not exist, or a value of the wrong type or out of its range. Nothing of it is applied.";
    SETTINGS_INVALID = User, "settings-invalid", "A setting has a value that can't be",
        "`slipway.toml` and what `slipway service set` stored give a setting a value out of its range.";
    MISSING_BUILD_VARIABLE = User, "missing-build-variable", "The build is not given a variable that it needs",
        "`build.variables` in `slipway.toml` names it, and its owner has not given it to builds. Naming a variable gives nothing: `slipway env set NAME --build-only --secret --stdin` does, or `--build` when the app needs it too.";
    PRE_DEPLOY_WITHOUT_PROCESS = User, "pre-deploy-without-process", "A site has no pre-deploy command",
        "A site is files without a process: it has no image in which a command could run before it goes live. What must run belongs into the build.";
    ROOT_MISSING = User, "root-missing", "The service's directory is not in the source",
        "The setting `root` names a directory that the source does not have. Case matters, and git keeps no empty directories.";
    NO_PACKAGE_JSON = User, "no-package-json", "There is no package.json",
        "A Node.js service is recognised by a `package.json` in its directory. In a repository with several apps, `root` says which one.";
    NOTHING_RECOGNISED = User, "nothing-recognised", "Nothing says what the source is",
        "Neither `package.json` nor the files of a Python app nor a site's `index.html` is in the service's directory. `root`, `[build]` and `[site]` in `slipway.toml` say what detection can't.";
    NO_SITE_DIRECTORY = User, "no-site-directory", "Nothing says which directory is the site",
        "The service is static, but no framework that makes a site was recognised and there is no `index.html`. `site.directory` names the directory that is published.";
    INVALID_PACKAGE_JSON = User, "invalid-package-json", "package.json is not valid JSON",
        "No package manager could read the file either. The place is the first one at which the text stops being JSON.";
    INVALID_NODE_VERSION = User, "invalid-node-version", "Not a Node.js version",
        "What the setting, `engines.node`, `.nvmrc`, `.node-version`, `.tool-versions` or `mise.toml` asks for is neither a version, a semver range nor an alias such as `lts/*`.";
    NO_START_COMMAND = User, "no-start-command", "Nothing says how the app starts",
        "There is no `start_command`, no script `start`, no `main` and no well-known file such as `server.js`, or the build makes output for another platform.";
    VERSION_UNAVAILABLE = User, "version-unavailable", "That version can't be had",
        "No release of the runtime or package manager matches the version or range that the source asks for.";
    TOOLCHAIN_UNAVAILABLE = Host, "toolchain-unavailable", "The toolchain could not be fetched",
        "The runtime or package manager is not in the layer store and its download failed. A later attempt may succeed.";
    LOCKFILE_OUT_OF_STEP = User, "lockfile-out-of-step", "Lockfile and package.json disagree",
        "Installs are exact: they take what the lockfile says, and refuse when `package.json` asks for something else. Update the lockfile and commit it.";
    LOCKFILE_MISSING = User, "lockfile-missing", "The install command needs a lockfile",
        "A command such as `npm ci` installs from a lockfile only, and there is none it can read.";
    PACKAGE_NOT_FOUND = User, "package-not-found", "A package does not exist",
        "The registry knows no package of that name, or keeps it from those without a token.";
    PACKAGE_VERSION_NOT_FOUND = User, "package-version-not-found", "A package has no such version",
        "The package exists, but none of its versions matches what is asked for.";
    PEER_CONFLICT = User, "peer-conflict", "Packages need different versions of another one",
        "The peer dependencies of two packages can't be satisfied together.";
    ENGINE_MISMATCH = User, "engine-mismatch", "A package refuses this version of Node.js",
        "A package, or this one, declares `engines` that the chosen runtime does not satisfy, and the configuration makes this an error.";
    REGISTRY_AUTHENTICATION = User, "registry-authentication", "The package registry refuses the credentials",
        "A private package needs a token, usually by `.npmrc` and an environment variable that the build may see.";
    REGISTRY_UNREACHABLE = Host, "registry-unreachable", "The package registry does not answer",
        "The registry's host has no address, refuses the connection or does not answer in time. A later attempt may succeed.";
    PACKAGE_DAMAGED = User, "package-damaged", "A package is not what the lockfile says",
        "The digest of a downloaded package differs from the one in the lockfile.";
    INSTALL_SCRIPT_FAILED = User, "install-script-failed", "A package's install script failed",
        "A dependency runs a program when it is installed, often to compile native code, and that program failed.";
    MISSING_SCRIPT = User, "missing-script", "package.json has no such script",
        "A command runs a script that `package.json` does not define.";
    COMMAND_NOT_FOUND = User, "command-not-found", "A command does not exist",
        "The shell found no program of that name, which is exit status 127. Programs of dependencies are found when `package.json` names the dependency.";
    PERMISSION_DENIED = User, "permission-denied", "A file may not be executed",
        "The shell found the program but may not run it, which is exit status 126. Mostly a script without its executable bit.";
    TYPESCRIPT_ERROR = User, "typescript-error", "TypeScript found an error",
        "The type check of the build failed at the place that is named.";
    MODULE_NOT_FOUND = User, "module-not-found", "An import leads nowhere",
        "A file imports a package that is not installed or a file that does not exist. Case matters on Linux.";
    SYNTAX_ERROR = User, "syntax-error", "A source file can't be parsed",
        "The text of a source file is no valid program at the place that is named.";
    PRERENDER_FAILED = User, "prerender-failed", "A page failed while it was prerendered",
        "The build renders static pages and runs their code for it; the code of one of them failed.";
    MISSING_VARIABLE = User, "missing-variable", "An environment variable is missing",
        "The program says that a variable it needs is not set.";
    HEAP_OUT_OF_MEMORY = User, "heap-out-of-memory", "JavaScript ran out of heap",
        "The heap of Node.js reached its own limit, which is below the memory of the sandbox.";
    OUT_OF_MEMORY = User, "out-of-memory", "The sandbox ran out of memory",
        "The kernel killed a process because the sandbox reached its memory limit.";
    DISK_FULL = User, "disk-full", "The sandbox ran out of disk",
        "The writable layer reached its limit. Caches and build output count, dependencies from an unchanged lockfile do not.";
    TIMED_OUT = User, "timed-out", "A command took too long",
        "The command was ended when its time was over.";
    COMMAND_FAILED = User, "command-failed", "A command failed",
        "The command ended with an error that is none of the well-known ones; its last lines are in the diagnosis.";
    PRE_DEPLOY_FAILED = User, "pre-deploy-failed", "The pre-deploy command failed",
        "The command that runs once before a release goes live, mostly a database migration, failed. What was live still is.";
    APP_EXITED = User, "app-exited", "The app ended at its start",
        "The process ended before it was ready. What was live still is.";
    APP_MODULE_NOT_FOUND = User, "app-module-not-found", "The app misses a module at its start",
        "The app imports a package or a file that is not in the image.";
    BUILD_OUTPUT_MISSING = User, "build-output-missing", "The app was started without its build output",
        "The start command needs what a build command would have made.";
    PORT_IN_USE = User, "port-in-use", "The app listens twice on one port",
        "A sandbox holds nothing but the app, so the port can only be taken by the app itself or another process of its start command.";
    LISTENS_ON_LOOPBACK = User, "listens-on-loopback", "The app listens on 127.0.0.1 only",
        "The loopback address can't be reached from outside of the sandbox. Listen on `0.0.0.0` or `::`.";
    LISTENS_ON_WRONG_PORT = User, "listens-on-wrong-port", "The app listens on another port",
        "The app is told its port by `PORT`. Either it reads that variable, or the setting `port` says where it listens.";
    LISTENS_ON_NOTHING = User, "listens-on-nothing", "The app listens on no port",
        "The process runs, but no TCP socket listens. A service without HTTP is of kind `worker`.";
    HEALTH_PATH_STATUS = User, "health-path-status", "The health path answers with an error",
        "The path of the health check must answer with a status of 200 to 399.";
    HEALTH_NOT_HTTP = User, "health-not-http", "The health check got no HTTP",
        "The port accepts connections, but what comes back is no HTTP, or the connection breaks.";
    HEALTH_TIMEOUT = User, "health-timeout", "The app was not healthy in time",
        "The app listens, but gave no healthy answer before the time for its start was over.";
    SITE_DIRECTORY_MISSING = User, "site-directory-missing", "The directory to publish is not there",
        "The directory that the site is published from does not exist after the build, or holds no file. Frameworks differ in where they write: `dist`, `build`, `out`, `public`.";
    SITE_FALLBACK_MISSING = User, "site-fallback-missing", "The site's fallback is not there",
        "The file that answers for every path that is no file is not among the published files.";
    SITE_TOO_LARGE = User, "site-too-large", "The site is too large",
        "What is published has more files, or more bytes, than one site may have.";
    SANDBOX_FAILED = Platform, "sandbox-failed", "The sandbox could not be started",
        "The isolated environment of a build or replica could not be made. `slipway doctor` checks what it needs.";
    LAYER_FAILED = Platform, "layer-failed", "A layer could not be used",
        "An image layer could not be made, mounted or published.";
    HOST_DISK_FULL = Host, "host-disk-full", "The machine's disk is full",
        "There is no room left where Slipway keeps its data.";
    HOST_ERROR = Platform, "host-error", "The host could not do its part",
        "Something failed outside of the source and of its commands; the message says what.";
    UNKNOWN_FAILURE = Platform, "unknown-failure", "Failed without a known reason",
        "There is no evidence of what went wrong, which is a fault of Slipway.";
}
