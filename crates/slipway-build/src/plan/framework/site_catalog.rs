//! Tools that make a site of files. More telling ones first: most of them stand on Vite.

use super::{Framework, Output, PLAIN, generator, vite};

pub(super) static FRAMEWORKS: &[Framework] = &[
    Framework {
        name: "Gatsby",
        packages: &["gatsby"],
        build_command: "gatsby build",
        development_commands: &["gatsby develop", "gatsby serve"],
        public_prefixes: &["GATSBY_"],
        build_env: &[("GATSBY_TELEMETRY_DISABLED", "1")],
        output: Output::Site { directory: "public", fallback: None },
        ..PLAIN
    },
    Framework {
        name: "Docusaurus",
        packages: &["@docusaurus/core"],
        build_command: "docusaurus build",
        development_commands: &["docusaurus start", "docusaurus serve"],
        output: Output::Site { directory: "build", fallback: None },
        ..PLAIN
    },
    Framework {
        name: "VitePress",
        packages: &["vitepress"],
        build_scripts: &["build", "docs:build"],
        build_command: "vitepress build",
        start_scripts: &["start", "docs:start"],
        development_commands: &["vitepress", "vitepress dev", "vitepress preview", "vitepress serve"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(generator::vitepress),
        ..PLAIN
    },
    Framework {
        name: "VuePress",
        packages: &["vuepress", "vuepress-vite", "vuepress-webpack"],
        build_scripts: &["build", "docs:build"],
        build_command: "vuepress build",
        development_commands: &["vuepress", "vuepress dev"],
        output: Output::Rule(generator::vuepress),
        ..PLAIN
    },
    Framework {
        name: "Eleventy",
        packages: &["@11ty/eleventy"],
        build_command: "eleventy",
        development_commands: &["eleventy"],
        output: Output::Rule(generator::eleventy),
        ..PLAIN
    },
    Framework {
        name: "Rspress",
        packages: &["rspress", "@rspress/core"],
        build_command: "rspress build",
        development_commands: &["rspress dev", "rspress preview"],
        output: Output::Site { directory: "doc_build", fallback: None },
        ..PLAIN
    },
    Framework {
        name: "Hexo",
        packages: &["hexo"],
        build_command: "hexo generate",
        development_commands: &["hexo server", "hexo s"],
        output: Output::Site { directory: "public", fallback: None },
        ..PLAIN
    },
    Framework {
        name: "Hugo",
        condition: Some(|tree, _| super::super::hugo::is_one(tree)),
        build_command: "hugo --gc --minify",
        development_commands: &["hugo server", "hugo serve"],
        cache_dirs: &["resources/_gen"],
        build_env: &[("HUGO_ENVIRONMENT", "production")],
        output: Output::Rule(generator::hugo),
        ..PLAIN
    },
    Framework {
        name: "Create React App",
        packages: &["react-scripts"],
        build_command: "react-scripts build",
        development_commands: &["react-scripts start", "craco start", "react-app-rewired start"],
        public_prefixes: &["REACT_APP_"],
        // With `CI` set, warnings fail its build.
        build_env: &[("CI", "false")],
        output: Output::Rule(generator::create_react_app),
        ..PLAIN
    },
    Framework {
        name: "Vue CLI",
        packages: &["@vue/cli-service"],
        build_command: "vue-cli-service build",
        development_commands: &["vue-cli-service serve"],
        public_prefixes: &["VUE_APP_"],
        output: Output::Rule(generator::vue_cli),
        ..PLAIN
    },
    Framework {
        name: "Expo",
        packages: &["expo"],
        build_command: "expo export --platform web",
        development_commands: &["expo start", "expo"],
        public_prefixes: &["EXPO_PUBLIC_"],
        output: Output::Site { directory: "dist", fallback: Some("index.html") },
        ..PLAIN
    },
    Framework {
        name: "Ember.js",
        packages: &["ember-cli"],
        build_command: "ember build --environment=production",
        development_commands: &["ember serve", "ember server", "ember s", "vite", "vite dev"],
        output: Output::Site { directory: "dist", fallback: Some("index.html") },
        ..PLAIN
    },
    Framework {
        name: "Preact CLI",
        packages: &["preact-cli"],
        build_command: "preact build",
        development_commands: &["preact watch"],
        output: Output::Site { directory: "build", fallback: Some("index.html") },
        ..PLAIN
    },
    Framework {
        name: "Sanity Studio",
        packages: &["sanity"],
        condition: Some(|tree, _| tree.has("sanity.config.ts") || tree.has("sanity.config.js")),
        build_command: "sanity build",
        development_commands: &["sanity start", "sanity dev", "sanity preview"],
        public_prefixes: &["SANITY_STUDIO_"],
        output: Output::Site { directory: "dist", fallback: Some("index.html") },
        ..PLAIN
    },
    Framework {
        name: "Rsbuild",
        packages: &["@rsbuild/core"],
        build_command: "rsbuild build",
        development_commands: &["rsbuild", "rsbuild dev", "rsbuild preview"],
        public_prefixes: &["PUBLIC_"],
        output: Output::Site { directory: "dist", fallback: Some("index.html") },
        ..PLAIN
    },
    Framework {
        name: "Vite",
        packages: &["vite", "rolldown-vite", "vite-plus"],
        condition: Some(vite::makes_a_site),
        build_command: "vite build",
        development_commands: &["vite", "vite dev", "vite serve", "vite preview"],
        cache_dirs: &["node_modules/.vite"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(vite::found),
        ..PLAIN
    },
    Framework {
        name: "Parcel",
        packages: &["parcel", "parcel-bundler"],
        condition: Some(|tree, _| tree.has("index.html") || tree.has("src/index.html")),
        build_command: "parcel build",
        development_commands: &["parcel", "parcel serve", "parcel watch"],
        cache_dirs: &[".parcel-cache"],
        output: Output::Rule(generator::parcel),
        ..PLAIN
    },
    // By itself it bundles anything; with this plugin it writes a page.
    Framework {
        name: "webpack",
        packages: &["html-webpack-plugin"],
        build_command: "webpack --mode production",
        development_commands: &["webpack serve", "webpack server", "webpack-dev-server", "webpack --watch"],
        output: Output::Rule(generator::webpack),
        ..PLAIN
    },
];
