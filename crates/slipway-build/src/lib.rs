//! Source tree to plan, failure evidence to diagnosis.
//!
//! Pure: no I/O, clock or randomness. The same tree with the same settings makes the same plan, and the same evidence
//! the same diagnosis. Nothing here is executed or trusted: texts of the tree are parsed with bounds, commands are
//! data for a sandbox. What detection can't know is never guessed; it is a reason in the plan or a diagnosis.

// A diagnosis is the rare, final answer: its 128 bytes on the stack cost nothing.
#![allow(clippy::result_large_err)]

mod decision;
mod diagnosis;
mod explain;
mod manifest;
pub mod netlify;
mod package_json;
mod place;
mod plan;
mod requirement;
mod tree;

pub use decision::{Decision, decide, decide_in, settings_with};
pub use diagnosis::{CATALOGUE, Entry, build_memory_over_budget, diagnose, exit_words, render_catalogue};
pub use explain::explain;
pub use manifest::{MANIFEST_FILE, manifest};
pub use plan::{on_older_tree, plan};
pub use requirement::{Given, check_build_variables};

/// Names of the files (last part of the path) whose text detection reads.
pub const WANTED_FILES: &[&str] = &[
    MANIFEST_FILE,
    netlify::NETLIFY_FILE,
    "_redirects",
    "_headers",
    "Staticfile",
    "package.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "pnpm-workspace.yaml",
    ".yarnrc.yml",
    ".nvmrc",
    ".node-version",
    ".tool-versions",
    "mise.toml",
    ".mise.toml",
    "Procfile",
    "turbo.json",
    "nx.json",
    "project.json",
    "angular.json",
    "hugo.toml",
    "config.toml",
    ".eleventy.js",
    ".eleventy.cjs",
    ".eleventy.mjs",
    "next.config.js",
    "next.config.mjs",
    "next.config.cjs",
    "next.config.ts",
    "next.config.mts",
    "next.config.cts",
    "nuxt.config.js",
    "nuxt.config.mjs",
    "nuxt.config.cjs",
    "nuxt.config.ts",
    "nuxt.config.mts",
    "nuxt.config.cts",
    "astro.config.js",
    "astro.config.mjs",
    "astro.config.cjs",
    "astro.config.ts",
    "astro.config.mts",
    "astro.config.cts",
    "svelte.config.js",
    "svelte.config.mjs",
    "svelte.config.cjs",
    "svelte.config.ts",
    "svelte.config.mts",
    "svelte.config.cts",
    "vite.config.js",
    "vite.config.mjs",
    "vite.config.cjs",
    "vite.config.ts",
    "vite.config.mts",
    "vite.config.cts",
    "webpack.config.js",
    "webpack.config.mjs",
    "webpack.config.cjs",
    "webpack.config.ts",
    "vue.config.js",
    "vue.config.mjs",
    "vue.config.cjs",
    "react-router.config.js",
    "react-router.config.mjs",
    "react-router.config.cjs",
    "react-router.config.ts",
    "react-router.config.mts",
    "react-router.config.cts",
    "app.config.js",
    "app.config.mjs",
    "app.config.cjs",
    "app.config.ts",
    "app.config.mts",
    "app.config.cts",
    "eleventy.config.js",
    "eleventy.config.mjs",
    "eleventy.config.cjs",
    "eleventy.config.ts",
    "eleventy.config.mts",
    "eleventy.config.cts",
    // Of Python.
    "pyproject.toml",
    "uv.lock",
    "uv.toml",
    "poetry.lock",
    "Pipfile",
    "requirements.txt",
    "base.txt",
    "prod.txt",
    "production.txt",
    "common.txt",
    "setup.py",
    "setup.cfg",
    ".python-version",
    "runtime.txt",
    "mise.toml",
    ".mise.toml",
    "manage.py",
    "settings.py",
    "base.py",
    "production.py",
    "main.py",
    "app.py",
    "api.py",
    "server.py",
    "asgi.py",
    "wsgi.py",
    "run.py",
    "application.py",
    "__init__.py",
];
