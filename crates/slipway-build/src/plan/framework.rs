//! What is known of frameworks, as data.

use crate::package_json::PackageJson;

/// One framework. Commands are what its own programs are called with when `package.json` has no script for it.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) name: &'static str,
    /// The dependency that gives it away.
    pub(super) package: &'static str,
    /// Empty: it needs no build of its own.
    pub(super) build_command: &'static str,
    /// Scripts that start it for production, best first.
    pub(super) start_scripts: &'static [&'static str],
    /// Empty: there is no server to start.
    pub(super) start_command: &'static str,
    /// Programs that start its development server when a script calls them.
    pub(super) development_commands: &'static [&'static str],
    /// Kept between builds, relative to the service's root.
    pub(super) cache_dirs: &'static [&'static str],
    /// Variables with such a name are baked into what the browser gets.
    pub(super) public_prefixes: &'static [&'static str],
    pub(super) build_env: &'static [(&'static str, &'static str)],
    pub(super) run_env: &'static [(&'static str, &'static str)],
    /// Where its files land when it makes a site without a server.
    pub(super) static_output: Option<&'static str>,
}

const PLAIN: Framework = Framework {
    name: "",
    package: "",
    build_command: "",
    start_scripts: &["start"],
    start_command: "",
    development_commands: &[],
    cache_dirs: &[],
    public_prefixes: &[],
    build_env: &[],
    run_env: &[],
    static_output: None,
};

pub(super) const NEXT: &str = "Next.js";

/// More telling ones first: an app of the first may also depend on the last.
static FRAMEWORKS: [Framework; 9] = [
    Framework {
        name: NEXT,
        package: "next",
        build_command: "next build",
        start_command: "next start",
        development_commands: &["next", "next dev"],
        cache_dirs: &[".next/cache"],
        public_prefixes: &["NEXT_PUBLIC_"],
        build_env: &[("NEXT_TELEMETRY_DISABLED", "1")],
        run_env: &[("NEXT_TELEMETRY_DISABLED", "1")],
        ..PLAIN
    },
    Framework {
        name: "Nuxt",
        package: "nuxt",
        build_command: "nuxt build",
        start_command: "node .output/server/index.mjs",
        development_commands: &["nuxt", "nuxt dev", "nuxi dev"],
        public_prefixes: &["NUXT_PUBLIC_"],
        build_env: &[("NUXT_TELEMETRY_DISABLED", "1")],
        ..PLAIN
    },
    Framework {
        name: "React Router",
        package: "@react-router/serve",
        build_command: "react-router build",
        start_command: "react-router-serve ./build/server/index.js",
        development_commands: &["react-router dev"],
        public_prefixes: &["VITE_"],
        ..PLAIN
    },
    Framework {
        name: "Remix",
        package: "@remix-run/serve",
        build_command: "remix vite:build",
        start_command: "remix-serve ./build/server/index.js",
        development_commands: &["remix dev", "remix vite:dev"],
        public_prefixes: &["VITE_"],
        ..PLAIN
    },
    Framework {
        name: "SvelteKit",
        package: "@sveltejs/adapter-node",
        build_command: "vite build",
        start_command: "node build",
        development_commands: &["vite", "vite dev"],
        public_prefixes: &["PUBLIC_"],
        ..PLAIN
    },
    Framework {
        name: "Astro",
        package: "@astrojs/node",
        build_command: "astro build",
        start_command: "node ./dist/server/entry.mjs",
        development_commands: &["astro dev"],
        cache_dirs: &["node_modules/.astro"],
        public_prefixes: &["PUBLIC_"],
        build_env: &[("ASTRO_TELEMETRY_DISABLED", "1")],
        ..PLAIN
    },
    Framework {
        name: "NestJS",
        package: "@nestjs/core",
        build_command: "nest build",
        start_scripts: &["start:prod", "start"],
        start_command: "node dist/main",
        development_commands: &["nest start"],
        ..PLAIN
    },
    Framework {
        name: "Create React App",
        package: "react-scripts",
        build_command: "react-scripts build",
        development_commands: &["react-scripts start"],
        public_prefixes: &["REACT_APP_"],
        static_output: Some("build"),
        ..PLAIN
    },
    Framework {
        name: "Vite",
        package: "vite",
        build_command: "vite build",
        development_commands: &["vite", "vite dev"],
        cache_dirs: &["node_modules/.vite"],
        public_prefixes: &["VITE_"],
        static_output: Some("dist"),
        ..PLAIN
    },
];

/// The first framework that the package depends on.
pub(super) fn detect(package: &PackageJson) -> Option<&'static Framework> {
    FRAMEWORKS.iter().find(|framework| package.dependency(framework.package).is_some())
}
