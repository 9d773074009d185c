//! What package managers refuse to install.

super::catalogue! { INSTALL:
    LOCKFILE_OUT_OF_STEP = User, "lockfile-out-of-step", "Lockfile and manifest disagree",
        "Installs are exact: they take what the lockfile says, and refuse when `package.json` or `pyproject.toml` asks for something else.", [
        "Bring the lockfile up to date where you develop, and commit it: `npm install`, `pnpm install`, `yarn install`, `bun install`, `uv lock` or `poetry lock`.",
        "In a merge, take one side of the lockfile and run the command again; never merge a lockfile by hand.",
        "npm leaves optional packages out of the lockfile when the registry does not have them yet, and then refuses that lockfile: remove it and `node_modules` and install again later, or install without them by `install_command = \"npm install\"`.",
    ];
    LOCKFILE_MISSING = User, "lockfile-missing", "The install command needs a lockfile",
        "A command such as `npm ci` installs from a lockfile only, and there is none in the source.", [
        "Make one and commit it: `npm install && git add package-lock.json`. Check that `.gitignore` does not name it.",
        "Or remove `build.install_command` from `slipway.toml`: without a lockfile a command that needs none is chosen.",
    ];
    LOCKFILE_INVALID = User, "lockfile-invalid", "The lockfile can't be read",
        "The lockfile is not what its package manager writes: mostly the marks of a merge conflict, or half a file.", [
        "Find conflict marks: `git grep -n '^<<<<<<<'`.",
        "Make it anew: take the file of one side, `git checkout --theirs package-lock.json`, install where you develop and commit it.",
    ];
    OUTDATED_LOCKFILE = User, "outdated-lockfile", "The lockfile is of an older format",
        "The version of the package manager that runs here reads another format of the lockfile than the one that wrote it.", [
        "Install with the newer version where you develop, which writes the new format, and commit the lockfile.",
        "Or name the version that wrote it in `package.json`: `\"packageManager\": \"pnpm@7.33.7\"`. Format 5 is of pnpm 7, 6 of pnpm 8, 9 of pnpm 9 and 10; `# yarn lockfile v1` is of `yarn@1.22.22`.",
    ];
    MULTIPLE_LOCKFILES = User, "multiple-lockfiles", "Several package managers left a lockfile",
        "Lockfiles of several package managers lie side by side. One is used, and it is not the one that was kept up to date.", [
        "Keep one and remove the other: `git rm pnpm-lock.yaml`.",
        "Name the package manager, so that nobody uses another one: `\"packageManager\": \"npm@11.6.0\"` in `package.json`.",
    ];
    PACKAGE_MANAGER_MISMATCH = User, "package-manager-mismatch", "The project wants another package manager",
        "`packageManager` or `devEngines` in `package.json` names another package manager, or another version of it, than the command runs.", [
        "Remove `build.install_command` from `slipway.toml`: the package manager that `package.json` names is then chosen and installed.",
        "Or correct `packageManager` in `package.json`.",
    ];
    PACKAGE_NOT_FOUND = User, "package-not-found", "A package does not exist",
        "The registry knows no package of that name, or hides it from those without a token.", [
        "Check the spelling: `npm view NAME` or `pip index versions NAME`.",
        "For a private package name its registry in `.npmrc`, `@scope:registry=https://HOST/`, with `//HOST/:_authToken=${NPM_TOKEN}`, and set the token: `slipway env set --build --secret NPM_TOKEN=…`.",
    ];
    PACKAGE_VERSION_NOT_FOUND = User, "package-version-not-found", "A package has no such version",
        "The package exists, but none of its versions matches what is asked for: it was never published, was withdrawn (unpublished, yanked), or needs another runtime.", [
        "`npm view NAME versions` or `pip index versions NAME` lists those there are; choose one and commit the manifest and the lockfile.",
    ];
    PACKAGE_FORBIDDEN = User, "package-forbidden", "The registry forbids a package",
        "The registry answers 403: it knows who asks, if anybody, and does not give this package or this version. A security policy of the registry may block it, or the token may lack the right.", [
        "Give the token the right to read the package, or ask whoever keeps the registry why the version is blocked.",
        "Choose another version, and commit the lockfile.",
    ];
    REGISTRY_AUTHENTICATION = User, "registry-authentication", "The package registry wants credentials",
        "The registry answers 401: a private package needs a token, and none that counts was sent.", [
        "Let `.npmrc` read the token from a variable: `//HOST/:_authToken=${NPM_TOKEN}`.",
        "Set it for builds: `slipway env set --build --secret NPM_TOKEN=…`. A token that ran out must be replaced.",
    ];
    REGISTRY_UNREACHABLE = Host, "registry-unreachable", "The package registry does not answer",
        "The registry's host has no address, refuses the connection or does not answer in time.", [
        "Deploy again: a network may fail once.",
        "Check the registry's URL in `.npmrc`, and in `resolved` of the lockfile: an address of an office network is of no use here.",
        "A registry in a private network must be allowed by the server: `allow` under `[sandbox]` of its configuration.",
    ];
    CERTIFICATE_UNTRUSTED = User, "certificate-untrusted", "A server's certificate is not trusted",
        "The certificate of the server is signed by nobody whom the sandbox trusts, or by itself: mostly a registry or proxy with a certificate authority of its own.", [
        "Commit the certificate of that authority and set `slipway env set --build NODE_EXTRA_CA_CERTS=/app/certs/ca.pem`; for pip and uv `SSL_CERT_FILE`.",
        "Don't turn the check off: whoever is in between could then send any package.",
    ];
    PRIVATE_GIT_DEPENDENCY = User, "private-git-dependency", "A dependency in a private git repository",
        "A dependency is fetched from a git repository that asks for credentials. Builds have no SSH key and nobody to ask for a password.", [
        "Publish it to a registry, or put it into the same repository as a workspace.",
        "Or give builds a token for its host, as `https://user:token@host`: `slipway env set GIT_CREDENTIALS --build-only --secret --stdin < credentials.txt`. With it, addresses like `git@host:…` are fetched by `https`.",
    ];
    PEER_CONFLICT = User, "peer-conflict", "Packages need different versions of another one",
        "What packages require of each other can't be satisfied together: peer dependencies of npm and pnpm, or requirements of Python packages.", [
        "Choose versions that fit together, install where you develop, and commit the lockfile. `npm explain NAME` says who wants what.",
        "To accept the conflict, commit an `.npmrc` with `legacy-peer-deps=true` (npm) or `strict-peer-dependencies=false` (pnpm).",
    ];
    ENGINE_MISMATCH = User, "engine-mismatch", "A package refuses this version of the runtime",
        "A package, or this project, declares versions of Node.js, Python or the package manager that it works with, and the chosen one is none of them.", [
        "Set `engines.node` in `package.json`, `requires-python` in `pyproject.toml`, or `build.node_version` or `build.python_version` in `slipway.toml`, to a version that fits.",
        "Or choose a version of the package that fits the runtime; `npm view NAME engines` shows what it wants.",
    ];
    PLATFORM_MISMATCH = User, "platform-mismatch", "A package is for another operating system",
        "A package says that it runs on another operating system or processor only. Builds and apps run on Linux.", [
        "Move it to `optionalDependencies`: there it is skipped where it does not fit. `npm install --save-optional NAME`.",
        "Or remove it: mostly it came into `dependencies` by `npm install --force` on another machine.",
    ];
    WORKSPACE_DEPENDENCY = User, "workspace-dependency", "A package of the workspace is missing",
        "A dependency is declared as part of the workspace (`workspace:*`), but the package manager knows no such package there.", [
        "Deploy the whole repository and set `root` to the directory of the app: a part of it has not the other packages.",
        "Check that `workspaces` in `package.json`, or `pnpm-workspace.yaml`, covers its directory, and that its `package.json` has that name.",
        "npm knows no `workspace:`: write `\"*\"`, or use the package manager that the project is made for.",
    ];
    BUILD_SCRIPTS_IGNORED = User, "build-scripts-ignored", "pnpm does not run the scripts of a package",
        "pnpm runs install scripts of dependencies only when the project allows it, and is told to fail (`strictDepBuilds`) when one is neither allowed nor refused.", [
        "Run `pnpm approve-builds` where you develop and commit `pnpm-workspace.yaml`: it lists the package under `onlyBuiltDependencies`, or `allowBuilds` since pnpm 11.",
    ];
    PACKAGE_DAMAGED = User, "package-damaged", "A package is not what the lockfile says",
        "The digest of a downloaded package differs from the one in the lockfile: the package was published anew, a proxy changed it, or the lockfile was merged by hand.", [
        "Remove `node_modules` and the lockfile's entry, install again where you develop, and commit the lockfile.",
        "If nobody can explain the difference, treat the package as tampered with.",
    ];
    INSTALL_SCRIPT_FAILED = User, "install-script-failed", "A package's install script failed",
        "A dependency, or the project itself, runs a program when it is installed, and that program failed.", [
        "Run the same on a clean checkout: `git clone . /tmp/x && cd /tmp/x && npm ci`.",
        "Scripts such as `postinstall` run before the build and with its variables only: `slipway env set --build NAME=…`.",
    ];
}
