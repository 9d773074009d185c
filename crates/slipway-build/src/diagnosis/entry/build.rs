//! What compilers, bundlers and frameworks refuse.

super::catalogue! { BUILD:
    MISSING_SCRIPT = User, "missing-script", "package.json has no such script",
        "A command runs a script that `package.json` does not define.", [
        "Add it to `scripts` in `package.json`, or set another command: `build.command` or `start_command` in `slipway.toml`.",
        "`npm run` lists the scripts there are.",
    ];
    COMMAND_NOT_FOUND = User, "command-not-found", "A command does not exist",
        "The shell found no program of that name, which is exit status 127. Programs of dependencies are found when `package.json` names the dependency.", [
        "Add the package that brings it, and commit the lockfile: `npm install --save-dev NAME`.",
        "In a command of `slipway.toml` write `npx NAME`, `pnpm exec NAME` or `uv run NAME`.",
        "Programs of the operating system are those of the base image: `packages` under `[base]` of the server's configuration.",
    ];
    PERMISSION_DENIED = User, "permission-denied", "A file may not be executed",
        "The shell found the program but may not run it, which is exit status 126. Mostly a script without its executable bit.", [
        "Set the bit and commit it: `git update-index --chmod=+x build.sh`.",
        "Or name the interpreter: `sh build.sh`.",
    ];
    TYPESCRIPT_ERROR = User, "typescript-error", "TypeScript found an error",
        "The type check of the build failed at the place that is named.", [
        "`npx tsc --noEmit` shows the same where you develop; install from the lockfile first: `npm ci`.",
        "Types that are missing only here mostly come from a file that git ignores, such as a generated client: generate it in the build.",
    ];
    TSCONFIG_MISSING = User, "tsconfig-missing", "A tsconfig file is not there",
        "TypeScript, or a tool that reads its configuration, was told to use or to extend a file that is not in the source.", [
        "Commit the file: `git check-ignore -v PATH` says whether git leaves it out.",
        "In a monorepo deploy the whole repository and set `root`, so that `../tsconfig.base.json` is there.",
        "If it comes from a package, such as `@tsconfig/node22`, add that to `devDependencies`.",
    ];
    MODULE_NOT_FOUND = User, "module-not-found", "An import leads nowhere",
        "A file imports a package that is not installed or a file that does not exist.", [
        "A package: add it and commit the lockfile, `npm install NAME`. It may be installed where you develop only because another package brought it.",
        "A file: check the path, and that git does not ignore it: `git check-ignore -v PATH`.",
        "An alias such as `@/lib`: the bundler must know it, not only `tsconfig.json`.",
    ];
    FILE_NAME_CASE = User, "file-name-case", "A file is written in another case",
        "An import names a file whose name differs in upper and lower case only. macOS and Windows don't mind, Linux does.", [
        "Write the import as the file is written.",
        "Or rename the file in git: `git mv header.tsx Header.tsx`; where the disk does not see the difference, in two steps: `git mv header.tsx x.tsx && git mv x.tsx Header.tsx`.",
        "`git config core.ignorecase false` lets git see such renames.",
    ];
    UNDECLARED_DEPENDENCY = User, "undeclared-dependency", "A package is used but not declared",
        "With Plug'n'Play only packages that `package.json` names can be used. This one is there because another package needs it.", [
        "Declare it: `yarn add NAME`, and commit `package.json` and `yarn.lock`.",
        "If a dependency forgot to declare it, add `packageExtensions` to `.yarnrc.yml`.",
    ];
    EXPORT_MISSING = User, "export-missing", "An import names something that is not exported",
        "The module exists, but has no export of that name: a misspelt name, a default import of a module without one, or another version of a package.", [
        "Look at what the module exports, and correct the name.",
        "If it is a package, install the version that the code is written for, and commit the lockfile.",
    ];
    MODULE_FORMAT = User, "module-format", "ES modules and CommonJS are mixed up",
        "Node.js loads a file either as an ES module (`import`) or as CommonJS (`require`), by its ending and by `type` in the nearest `package.json`. The file is loaded as the one and written as the other.", [
        "ES modules: set `\"type\": \"module\"` in `package.json`, or name the file `.mjs`.",
        "CommonJS: name the file `.cjs`, or remove `\"type\": \"module\"`.",
        "To load an ES module from CommonJS use `await import(\"…\")`; since Node.js 22.12 `require` does it too: `build.node_version = \"22\"`.",
    ];
    SYNTAX_ERROR = User, "syntax-error", "A source file can't be parsed",
        "The text of a source file is no valid program at the place that is named.", [
        "Correct the file at that place; the log of the phase shows the lines around it.",
        "If the syntax is newer than the runtime or tool, use a newer one: `build.node_version`, `build.python_version`.",
    ];
    LINT_ERROR = User, "lint-error", "ESLint found an error",
        "The build runs ESLint, which found at least one error. Warnings alone do not fail it.", [
        "`npx eslint .` shows the same where you develop; `npx eslint --fix .` mends what it can.",
        "To lint elsewhere than in the build, take it out of the script `build`; Next.js before 16 lints unless `eslint.ignoreDuringBuilds` is set in `next.config`.",
    ];
    PRERENDER_FAILED = User, "prerender-failed", "A page failed while it was prerendered",
        "The build renders static pages and runs their code for it; the code of one of them failed.", [
        "If the page needs a database or another service, render it on request: `export const dynamic = \"force-dynamic\"` in Next.js, `export const prerender = false` in Astro and SvelteKit.",
        "Variables that the build needs must be set for builds: `slipway env set --build NAME=…`.",
    ];
    DYNAMIC_ROUTE_EXPORT = User, "dynamic-route-export", "A dynamic route can't be exported",
        "Next.js is told to export files (`output: \"export\"`), but a route needs a server: a dynamic segment without `generateStaticParams`, or code that runs on each request.", [
        "List the pages: `export function generateStaticParams() { return [{ id: \"1\" }]; }` in the page's file.",
        "Or run a server: remove `output: \"export\"` from `next.config`.",
    ];
    ADAPTER_MISSING = User, "adapter-missing", "The framework needs an adapter",
        "Pages that are rendered on request need an adapter that makes a server of them, and none fits.", [
        "Astro: `npx astro add node`, which adds `@astrojs/node` to the configuration.",
        "SvelteKit: `npm install --save-dev @sveltejs/adapter-node`, and `adapter: adapter()` from it in `svelte.config.js`.",
        "If every page is static, say so: `output: \"static\"` in Astro, `@sveltejs/adapter-static` in SvelteKit.",
    ];
    OPENSSL_UNSUPPORTED = User, "openssl-unsupported", "A tool uses hashes that OpenSSL 3 refuses",
        "Node.js 17 and later bring OpenSSL 3, which has no MD4. webpack 4 and what is built on it (older Create React App, Vue CLI 4, Next.js 10, Nuxt 2) hash with it.", [
        "Update webpack to 5, or the tool that brings it: `npm ls webpack` says which.",
        "Until then set `slipway env set --build NODE_OPTIONS=--openssl-legacy-provider`.",
    ];
    BUDGET_EXCEEDED = User, "budget-exceeded", "A bundle is over its budget",
        "`angular.json` sets a largest size for bundles and styles (`budgets`), and one of them is larger than `maximumError`.", [
        "Make it smaller: `npx ng build --stats-json` and a bundle analyser show what is in it; load routes lazily.",
        "Or raise `maximumError` in `angular.json` under `configurations.production.budgets`.",
    ];
    MISSING_VARIABLE = User, "missing-variable", "An environment variable is missing",
        "The program says that a variable it needs is not set. Builds see only variables that are meant for them: those set with `--build`, and those with a public prefix of the framework.", [
        "For the running app: `slipway env set NAME=…`; a secret: `slipway env set --secret NAME=…`.",
        "For the build: `slipway env set --build NAME=…`.",
        "`slipway env ls` lists what is set; a file such as `.env` that git ignores is not sent.",
    ];
    NOT_A_GIT_REPOSITORY = User, "not-a-git-repository", "A command needs git's history",
        "A command asks git for a commit or a tag, but builds get the files of the source only, without `.git`.", [
        "Let the command do without: `git rev-parse HEAD 2>/dev/null || echo unknown`.",
        "Set what it needs as a variable: `slipway env set --build COMMIT=$(git rev-parse HEAD)`.",
    ];
    BROWSER_MISSING = User, "browser-missing", "A headless browser is not there",
        "Puppeteer or Playwright starts a browser that was never downloaded: its install script did not run, or wrote it to a directory that is not part of the image.", [
        "Keep it in the tree: `slipway env set --build PUPPETEER_CACHE_DIR=/app/.cache/puppeteer` or `PLAYWRIGHT_BROWSERS_PATH=0`, for the app too, and download it in the build: `npx puppeteer browsers install chrome`, `npx playwright install chromium`.",
        "The libraries that it needs must be in the base image: `packages` under `[base]` of the server's configuration.",
    ];
    SITE_DIRECTORY_MISSING = User, "site-directory-missing", "The directory to publish is not there",
        "The directory that the site is published from does not exist after the build, or holds no file. Frameworks differ in where they write: `dist`, `build`, `out`, `public`.", [
        "Run the build where you develop, see where it writes, and set `site.directory` in `slipway.toml`.",
        "If there was no build, set `build.command`.",
    ];
    SITE_FALLBACK_MISSING = User, "site-fallback-missing", "The site's fallback is not there",
        "The file that answers for every path that is no file is not among the published files.", [
        "Set `site.fallback` in `slipway.toml` to a published file, such as `index.html`, or to an empty text for none.",
    ];
    SITE_TOO_LARGE = User, "site-too-large", "The site is too large",
        "What is published has more files, or more bytes, than one site may have.", [
        "Publish only what is served: `site.directory` in `slipway.toml` names the directory.",
        "Keep videos and downloads in an object store.",
    ];
    COMMAND_FAILED = User, "command-failed", "A command failed",
        "The command ended with an error that is none of the well-known ones; its last lines are in the diagnosis.", [
        "`slipway logs --build` shows the whole output.",
        "Run the same on a clean checkout, without the files that git ignores: `git clone . /tmp/x && cd /tmp/x && npm ci && npm run build`.",
    ];
}
