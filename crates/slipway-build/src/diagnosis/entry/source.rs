//! What can be wrong with a source before any of its commands runs.

super::catalogue! { SOURCE:
    GIT_UNREACHABLE = User, "git-unreachable", "The git server does not answer",
        "The host of the git URL has no address, refuses the connection or does not answer.", [
        "Check the URL: the scheme, the host name and the port.",
        "Run `git ls-remote URL` on the machine that runs Slipway: it must answer there.",
    ];
    GIT_REFERENCE_MISSING = User, "git-reference-missing", "No such branch, tag or commit",
        "The repository answers but has no branch, tag or commit of that name; a force push may have removed the commit.", [
        "Push it first: `git push origin BRANCH`.",
        "`git ls-remote URL` lists branches and tags; a commit must be reachable from one of them.",
    ];
    GIT_AUTHENTICATION = User, "git-authentication", "The git server refuses the credentials",
        "The repository is private, does not exist, or the token or key is wrong or out of date. Most servers answer alike in all of these cases.", [
        "Check the owner and the name in the URL.",
        "Make a new token that may read this repository, and give it to Slipway.",
    ];
    GIT_FAILED = Host, "git-failed", "Git could not fetch the source",
        "Git ended with an error that is none of the well-known ones; its own message is in the diagnosis.", [
        "Deploy again; if it stays, run `git clone URL` on the machine that runs Slipway.",
    ];
    UPLOAD_MISSING = Platform, "upload-missing", "The uploaded source is gone",
        "The archive of the deployment is no longer in the data directory.", [
        "Upload the directory again: `slipway up`.",
    ];
    UPLOAD_UNUSABLE = User, "upload-unusable", "The uploaded source can't be unpacked",
        "The archive of the deployment is damaged, or holds what no source tree may hold: paths or links that lead out of it.", [
        "Upload it again with `slipway up`, which makes an archive that fits.",
        "Find links that lead out of the tree: `find . -type l -lname '/*' -o -type l -lname '*..*'`.",
    ];
    INVALID_SLIPWAY_TOML = User, "invalid-slipway-toml", "slipway.toml is not valid",
        "The file is no TOML, has a key that does not exist, or a value of the wrong type or out of its range. Nothing of it is applied.", [
        "Correct the line that the diagnosis names; `docs/configuration.md` lists every key.",
        "`slipway plan` reads the file where you develop and says the same.",
    ];
    SETTINGS_INVALID = User, "settings-invalid", "A setting has a value that can't be",
        "`slipway.toml` and what `slipway service set` stored give a setting a value out of its range.", [
        "`slipway service show` prints what is stored; correct the value there or in `slipway.toml`.",
    ];
    PRE_DEPLOY_WITHOUT_PROCESS = User, "pre-deploy-without-process", "A site has no pre-deploy command",
        "A site is files without a process: it has no image in which a command could run before it goes live.", [
        "Let the build do it: append the command to `build.command` in `slipway.toml`.",
        "Remove `pre_deploy_command`.",
    ];
    INVALID_NETLIFY_TOML = User, "invalid-netlify-toml", "netlify.toml is not valid",
        "The file is no TOML, has a value of the wrong type, or a directory that is not in the repository. Netlify refuses such a file too. Single bad redirects and headers are no reason: they are left out with a warning.", [
        "Correct the place that the diagnosis names.",
        "Remove the file if the project no longer runs on Netlify: `slipway.toml` says the same things.",
    ];
    ROOT_MISSING = User, "root-missing", "The service's directory is not in the source",
        "The setting `root` names a directory that the source does not have. Case matters, and git keeps no empty directories.", [
        "`git ls-files DIRECTORY` must list files; correct `root` in `slipway.toml` if it lists none.",
    ];
    NO_PACKAGE_JSON = User, "no-package-json", "There is no package.json",
        "A Node.js service is recognised by a `package.json` in its directory. In a repository with several apps, `root` says which one.", [
        "Deploy the directory of the app, or name it: `root = \"apps/web\"` in `slipway.toml`.",
        "`git ls-files '*package.json'` shows where they are; files that git ignores are not sent.",
    ];
    NOTHING_RECOGNISED = User, "nothing-recognised", "Nothing says what the source is",
        "Neither `package.json` nor the files of a Python app nor a site's `index.html` is in the service's directory.", [
        "Name the directory of the app: `root = \"apps/web\"` in `slipway.toml`.",
        "Or say what detection can't know: `[build]`, `start_command` and `[site]` in `slipway.toml`.",
        "`git ls-files` lists what is sent; files that git ignores are not.",
    ];
    NO_SITE_DIRECTORY = User, "no-site-directory", "Nothing says which directory is the site",
        "The service is static, but no framework that makes a site was recognised and there is no `index.html`.", [
        "Name the directory that is published: `site.directory` in `slipway.toml`.",
    ];
    INVALID_PACKAGE_JSON = User, "invalid-package-json", "package.json is not valid JSON",
        "No package manager could read the file either. The place is the first one at which the text stops being JSON.", [
        "Correct the place; `node -p \"require('./package.json')\"` checks it. Usual are a comma after the last entry, a comment, or the marks of a merge conflict.",
    ];
    INVALID_NODE_VERSION = User, "invalid-node-version", "Not a Node.js version",
        "What the setting, `engines.node`, `.nvmrc`, `.node-version`, `.tool-versions` or `mise.toml` asks for is neither a version, a semver range nor an alias such as `lts/*`.", [
        "Write a major version, such as `22`, or a range, such as `>=22 <25`.",
    ];
    INVALID_PYPROJECT = User, "invalid-pyproject", "pyproject.toml is not valid TOML",
        "No tool for Python could read the file either (or the `Pipfile`). The place is the first one at which the text stops being TOML.", [
        "Correct the place; usual are a missing quote, a key that stands twice, or the marks of a merge conflict.",
    ];
    INVALID_PYTHON_VERSION = User, "invalid-python-version", "Not a Python version",
        "What the setting, `.python-version`, `runtime.txt`, `.tool-versions`, `mise.toml`, `requires-python` or the `Pipfile` asks for is neither a version nor a range of versions.", [
        "Write a version such as `3.12`, or a range such as `>=3.11,<4`.",
    ];
    MISSING_BUILD_VARIABLE = User, "missing-build-variable", "The build is not given a variable that it needs",
        "`build.variables` in `slipway.toml` names what the build needs; to give it is for the owner of the service alone, so that no branch can ask for a secret.", [
        "`slipway env set NAME --build-only --stdin`, with `--secret` when it is one, then deploy again.",
        "Remove the name from `build.variables` if the build does not need it any more.",
    ];
    NO_START_COMMAND = User, "no-start-command", "Nothing says how the app starts",
        "There is no `start_command`, no script `start`, no `main` and no well-known file such as `server.js`, or the build makes output for another platform.", [
        "Add a script to `package.json`: `\"start\": \"node server.js\"`.",
        "Or set `start_command` in `slipway.toml`; for files without a server set `site.directory`.",
    ];
    VERSION_UNAVAILABLE = User, "version-unavailable", "That version can't be had",
        "No release of the runtime or package manager matches the version or range that the source asks for.", [
        "Ask for a version that exists, such as a major version: `engines.node` in `package.json`, or `build.node_version` in `slipway.toml`.",
    ];
    TOOLCHAIN_UNAVAILABLE = Host, "toolchain-unavailable", "The toolchain could not be fetched",
        "The runtime or package manager is not in the layer store and its download failed.", [
        "Deploy again: a download may fail once.",
        "Check that the machine may reach the place that runtimes are fetched from; `docs/operating.md` names it.",
    ];
}
