//! Frameworks with a server, or with one where the configuration says so. More telling ones first: an app of the first
//! may also depend on the last.

use super::{Framework, Output, PLAIN, angular, astro, next, nuxt, react_router, sveltekit, tanstack};

/// Vite's programs, which frameworks on top of it leave to scripts.
const VITE: &[&str] = &["vite", "vite dev", "vite serve", "vite preview"];

pub(super) static FRAMEWORKS: &[Framework] = &[
    Framework {
        name: "Next.js",
        packages: &["next"],
        build_command: "next build",
        development_commands: &["next", "next dev"],
        site_commands: &["next start"],
        cache_dirs: &[".next/cache"],
        public_prefixes: &["NEXT_PUBLIC_"],
        build_env: &[("NEXT_TELEMETRY_DISABLED", "1")],
        run_env: &[("NEXT_TELEMETRY_DISABLED", "1")],
        output: Output::Rule(next::found),
        ..PLAIN
    },
    Framework {
        name: "TanStack Start",
        packages: &["@tanstack/react-start", "@tanstack/solid-start", "@tanstack/vue-start", "@tanstack/start"],
        build_command: "vite build",
        development_commands: &["vite", "vite dev", "vite preview", "vinxi dev"],
        site_commands: &["vinxi start"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(tanstack::found),
        ..PLAIN
    },
    Framework {
        name: "SolidStart",
        packages: &["@solidjs/start"],
        build_command: "vinxi build",
        development_commands: &["vinxi dev", "vite", "vite dev", "vite preview"],
        site_commands: &["vinxi start"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(tanstack::found_by_nitro),
        ..PLAIN
    },
    Framework {
        name: "Nuxt",
        packages: &["nuxt", "nuxt3"],
        build_command: "nuxt build",
        development_commands: &["nuxt", "nuxt dev", "nuxi dev", "nuxt preview", "nuxi preview"],
        site_commands: &["nuxt start"],
        cache_dirs: &["node_modules/.cache/nuxt"],
        public_prefixes: &["NUXT_PUBLIC_", "NUXT_ENV_"],
        build_env: &[("NUXT_TELEMETRY_DISABLED", "1")],
        output: Output::Rule(nuxt::found),
        ..PLAIN
    },
    Framework {
        name: "React Router",
        packages: &["@react-router/dev"],
        build_command: "react-router build",
        development_commands: &["react-router dev", "vite preview"],
        site_commands: &["react-router-serve"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(react_router::found),
        ..PLAIN
    },
    Framework {
        name: "Remix",
        packages: &["@remix-run/dev"],
        build_command: "remix vite:build",
        development_commands: &["remix dev", "remix vite:dev", "vite preview"],
        site_commands: &["remix-serve"],
        public_prefixes: &["VITE_"],
        output: Output::Rule(react_router::found_of_remix),
        ..PLAIN
    },
    Framework {
        name: "SvelteKit",
        packages: &["@sveltejs/kit"],
        build_command: "vite build",
        development_commands: VITE,
        cache_dirs: &["node_modules/.vite"],
        public_prefixes: &["PUBLIC_", "VITE_"],
        // `@sveltejs/adapter-auto` takes the adapter for Node.js when it sees this variable.
        build_env: &[("GCP_BUILDPACKS", "1")],
        // Forms are refused when the server takes itself for another scheme and host than the browser does.
        run_env: &[("PROTOCOL_HEADER", "x-forwarded-proto"), ("HOST_HEADER", "x-forwarded-host")],
        output: Output::Rule(sveltekit::found),
        ..PLAIN
    },
    Framework {
        name: "Astro",
        packages: &["astro"],
        build_command: "astro build",
        development_commands: &["astro dev", "astro preview", "astro"],
        cache_dirs: &["node_modules/.astro", "node_modules/.vite"],
        public_prefixes: &["PUBLIC_"],
        build_env: &[("ASTRO_TELEMETRY_DISABLED", "1")],
        run_env: &[("ASTRO_TELEMETRY_DISABLED", "1")],
        output: Output::Rule(astro::found),
        ..PLAIN
    },
    Framework {
        name: "Angular",
        packages: &["@angular/core"],
        condition: Some(|tree, _| tree.has("angular.json")),
        build_command: "ng build",
        development_commands: &["ng serve"],
        cache_dirs: &[".angular/cache"],
        public_prefixes: &["NG_APP_"],
        build_env: &[("NG_CLI_ANALYTICS", "false")],
        // The server answers hosts of a list only; here the proxy lets no other host through.
        run_env: &[("NG_ALLOWED_HOSTS", "*"), ("NG_TRUST_PROXY_HEADERS", "x-forwarded-host,x-forwarded-proto")],
        output: Output::Rule(angular::found),
        ..PLAIN
    },
    Framework {
        name: "NestJS",
        packages: &["@nestjs/core"],
        build_command: "nest build",
        start_scripts: &["start:prod", "start"],
        development_commands: &["nest start"],
        output: Output::Server("node dist/main"),
        ..PLAIN
    },
    Framework {
        name: "RedwoodJS",
        packages: &["@redwoodjs/core"],
        build_command: "rw build",
        development_commands: &["rw dev", "redwood dev"],
        public_prefixes: &["REDWOOD_ENV_"],
        output: Output::Server("rw serve"),
        ..PLAIN
    },
    Framework {
        name: "Vike",
        packages: &["vike", "vite-plugin-ssr"],
        public_prefixes: &["PUBLIC_ENV__", "VITE_"],
        ..PLAIN
    },
];

/// Libraries for a server: the source says what it builds and how it starts. Asked last, because an app of any other
/// framework may depend on one of them.
pub(super) static LIBRARIES: &[Framework] = &[
    // `fastify start` listens on the loopback address unless it is told otherwise.
    Framework { name: "Fastify", packages: &["fastify"], run_env: &[("FASTIFY_ADDRESS", "0.0.0.0")], ..PLAIN },
    Framework { name: "Express", packages: &["express"], ..PLAIN },
    Framework { name: "Hono", packages: &["hono"], ..PLAIN },
    Framework { name: "Koa", packages: &["koa"], ..PLAIN },
    Framework { name: "hapi", packages: &["@hapi/hapi"], ..PLAIN },
];
