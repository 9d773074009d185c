//! Plans of small trees.

use crate::tree::tests::listing;
use slipway_types::settings::ServiceKind;
use slipway_types::{Plan, ServiceSettings};

const NEXT: &str = r#"{"name":"shop","version":"1.2.0","scripts":{"dev":"next dev","build":"next build","start":"next start"},"dependencies":{"next":"16.4.3"}}"#;

fn planned(files: &[(&str, &str)], settings: &ServiceSettings) -> Plan {
    super::plan(&listing(files), settings).unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}"))
}

fn plan_of(files: &[(&str, &str)]) -> Plan {
    planned(files, &ServiceSettings::default())
}

fn in_root(root: &str) -> ServiceSettings {
    ServiceSettings { root: root.to_owned(), ..Default::default() }
}

#[test]
fn nextjs() {
    let plan = plan_of(&[("package.json", NEXT), ("package-lock.json", "{}"), (".npmrc", ""), ("app/page.tsx", "")]);
    assert_eq!(plan.framework.as_deref(), Some("Next.js"));
    assert_eq!(plan.toolchains[0].version_range, "24");
    let install = plan.install.clone().unwrap();
    assert_eq!(install.command, "npm ci --include=dev --no-audit --no-fund");
    assert_eq!(install.key_files, [".npmrc", "package-lock.json", "package.json"]);
    assert_eq!(plan.build_command.as_deref(), Some("npm run build"));
    assert_eq!(plan.start_command(), Some("export PATH=\"$PWD/node_modules/.bin:$PATH\"; exec next start"));
    assert_eq!(plan.cache_dirs, [".next/cache", "node_modules/.cache"]);
    assert_eq!(plan.public_prefixes, ["NEXT_PUBLIC_"]);
    assert_eq!(
        (plan.build_env["NODE_ENV"].as_str(), plan.build_env["NEXT_TELEMETRY_DISABLED"].as_str()),
        ("production", "1")
    );
    assert_eq!(
        (plan.run_env["NODE_ENV"].as_str(), plan.run_env["npm_package_version"].as_str()),
        ("production", "1.2.0")
    );
}

#[test]
fn nextjs_output() {
    let standalone = ("next.config.mjs", "export default { output: 'standalone' }");
    let plan = plan_of(&[("package.json", NEXT), ("package-lock.json", "{}"), standalone]);
    assert_eq!(plan.start_command(), Some("exec node .next/standalone/server.js"));
    let build = plan.build_command.unwrap();
    assert!(build.starts_with("npm run build && ") && build.contains("cp -R .next/static"), "{build}");
    assert_eq!(plan.run_env["HOSTNAME"], "0.0.0.0");

    let exported = ("next.config.ts", "const c = { output: 'export' }");
    let plan = plan_of(&[("package.json", NEXT), exported]);
    assert_eq!((plan.kind, plan.site().unwrap().directory.as_str()), (ServiceKind::Static, "out"));
}

#[test]
fn start_commands() {
    let path = "export PATH=\"$PWD/node_modules/.bin:$PATH\"; ";
    for (scripts, command) in [
        (r#""start":"node server.js""#, "exec node server.js".to_owned()),
        (
            r#""start":"node --enable-source-maps dist/main.js --port $PORT""#,
            "exec node --enable-source-maps dist/main.js --port $PORT".to_owned(),
        ),
        (r#""start":"NODE_ENV=production node x.js""#, "exec env NODE_ENV=production node x.js".to_owned()),
        (r#""start":"tsx src/index.ts""#, format!("{path}exec tsx src/index.ts")),
        (r#""start":"prisma migrate deploy && node x.js""#, format!("{path}prisma migrate deploy && exec node x.js")),
        (r#""start":"npm run serve","serve":"node x.js""#, "exec node x.js".to_owned()),
        (r#""start":"node x.js | pino-pretty""#, "npm run start".to_owned()),
        (r#""start":"node x.js & wait""#, "npm run start".to_owned()),
        (r#""start":"node -e \"a && b\"""#, "npm run start".to_owned()),
        (r#""start":"node x.js","prestart":"echo""#, "npm run start".to_owned()),
        (r#""start":"npm run start""#, "npm run start".to_owned()),
        (r#""start":"make && cd dist""#, "npm run start".to_owned()),
    ] {
        let plan = plan_of(&[("package.json", &format!("{{\"scripts\":{{{scripts}}}}}"))]);
        assert_eq!(plan.start_command().unwrap(), command, "{scripts}");
    }
}

#[test]
fn start_without_a_script() {
    let start = |files: &[(&str, &str)]| plan_of(files).start_command().unwrap().to_owned();
    assert_eq!(start(&[("package.json", r#"{"main":"lib/app.js"}"#), ("lib/app.js", "")]), "exec node lib/app.js");
    assert_eq!(
        start(&[("package.json", r#"{"main":"dist/app.js","scripts":{"build":"tsc"}}"#)]),
        "exec node dist/app.js"
    );
    assert_eq!(start(&[("package.json", "{}"), ("index.js", ""), ("server.js", "")]), "exec node server.js");
    let development = r#"{"scripts":{"start":"next dev"},"dependencies":{"next":"16"}}"#;
    assert!(start(&[("package.json", development)]).ends_with("exec next start"));
    let nest =
        r#"{"scripts":{"start":"nest start","start:prod":"node dist/main"},"dependencies":{"@nestjs/core":"11"}}"#;
    assert_eq!(start(&[("package.json", nest)]), "exec node dist/main");
}

#[test]
fn what_the_owner_sets_comes_first() {
    let settings = ServiceSettings {
        install_command: Some("npm ci --omit=optional".into()),
        build_command: Some("make web".into()),
        start_command: Some("node mine.js".into()),
        node_version: Some("22".into()),
        ..Default::default()
    };
    let plan = planned(&[("package.json", NEXT), ("package-lock.json", "{}"), (".nvmrc", "20")], &settings);
    assert_eq!(plan.install.as_ref().unwrap().command, "npm ci --omit=optional");
    assert_eq!((plan.build_command.as_deref(), plan.start_command()), (Some("make web"), Some("node mine.js")));
    assert_eq!(plan.toolchains[0].version_range, "22");

    let none =
        ServiceSettings { install_command: Some(String::new()), build_command: Some(" ".into()), ..Default::default() };
    let plan = planned(&[("package.json", NEXT)], &none);
    assert_eq!((plan.install, plan.build_command), (None, None));
}

#[test]
fn package_managers() {
    for (lockfile, text, install, build) in [
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'", "pnpm install --frozen-lockfile --prod=false", "pnpm run build"),
        (
            "yarn.lock",
            "# yarn lockfile v1",
            "yarn install --frozen-lockfile --non-interactive --production=false",
            "yarn run build",
        ),
        ("yarn.lock", "__metadata:\n  version: 8", "yarn install --immutable", "yarn run build"),
        ("bun.lock", "", "bun install --frozen-lockfile", "bun run build"),
        ("npm-shrinkwrap.json", "{}", "npm ci --include=dev --no-audit --no-fund", "npm run build"),
        ("README.md", "", "npm install --include=dev --no-audit --no-fund", "npm run build"),
    ] {
        let plan = plan_of(&[("package.json", NEXT), (lockfile, text)]);
        assert_eq!(
            (plan.install.as_ref().unwrap().command.as_str(), plan.build_command.as_deref()),
            (install, Some(build))
        );
    }
    // Without `node_modules` only yarn knows where the programs are.
    assert_eq!(
        plan_of(&[("package.json", NEXT), ("yarn.lock", "__metadata:\n  version: 8")]).start_command().unwrap(),
        "yarn run start"
    );
}

#[test]
fn a_workspace_installs_at_its_top() {
    let files = [
        ("package.json", r#"{"workspaces":["apps/*","packages/*"],"devDependencies":{"turbo":"2"}}"#),
        ("package-lock.json", "{}"),
        ("turbo.json", "{}"),
        ("apps/web/package.json", NEXT),
        ("apps/web/next.config.js", "module.exports = { output: 'standalone' }"),
        ("packages/ui/package.json", "{}"),
        ("packages/ui/index.js", ""),
    ];
    let plan = planned(&files, &in_root("apps/web"));
    let install = plan.install.clone().unwrap();
    assert_eq!(install.command, "npm ci --include=dev --no-audit --no-fund");
    assert_eq!(
        install.key_files,
        ["apps/web/package.json", "package-lock.json", "package.json", "packages/ui/package.json"]
    );
    assert_eq!(
        plan.start_command().unwrap(),
        "exec node .next/standalone/server.js",
        "in a workspace the server lies deeper, and the build makes a way to it"
    );
    assert!(plan.build_command.unwrap().contains("import('./apps/web/server.js')"));
    assert_eq!(plan.cache_dirs, [".next/cache", ".turbo", "node_modules/.cache"]);
}

#[test]
fn a_directory_with_its_own_lockfile_installs_there() {
    let files = [("web app/package.json", NEXT), ("web app/package-lock.json", "{}"), ("api/package.json", "{}")];
    let plan = planned(&files, &in_root("web app"));
    let install = plan.install.clone().unwrap();
    assert_eq!(install.command, "cd 'web app' && npm ci --include=dev --no-audit --no-fund");
    assert_eq!(install.key_files, ["web app/package-lock.json", "web app/package.json"]);
}

#[test]
fn key_files_hold_what_an_install_reads() {
    let keys = |package: &str, others: &[&str]| {
        let files: Vec<(&str, &str)> = others
            .iter()
            .map(|path| (*path, ""))
            .chain([("package.json", package), ("package-lock.json", "{}")])
            .collect();
        planned(&files, &ServiceSettings { start_command: Some("x".into()), ..Default::default() })
            .install
            .unwrap()
            .key_files
    };
    let base = ["package-lock.json", "package.json"];
    assert_eq!(keys(r#"{"dependencies":{"a":"1"}}"#, &["src/a.js"]), base);
    assert_eq!(keys(r#"{"dependencies":{"a":"1"},"scripts":{"prepare":"husky"}}"#, &["src/a.js"]), base);
    assert_eq!(
        keys(
            r#"{"dependencies":{"a":"1"},"scripts":{"postinstall":"patch-package"}}"#,
            &["patches/a.patch", "src/a.js"]
        ),
        ["package-lock.json", "package.json", "patches/a.patch"]
    );
    assert_eq!(
        keys(
            r#"{"dependencies":{"a":"file:./lib/a","b":"file:b.tgz"}}"#,
            &["lib/a/package.json", "lib/a/x.js", "b.tgz", "c.js"]
        ),
        ["b.tgz", "lib/a/package.json", "lib/a/x.js", "package-lock.json", "package.json"]
    );
    assert_eq!(
        keys(r#"{"dependencies":{"@prisma/client":"6"}}"#, &["prisma/schema.prisma", "src/a.js"]),
        ["package-lock.json", "package.json", "prisma/schema.prisma"]
    );
    for script in
        ["husky || node scripts/x.js", "patch-package ; node x.js", "patch-package --patch-dir tools", "true & x"]
    {
        let package = format!(r#"{{"dependencies":{{"a":"1"}},"scripts":{{"postinstall":"{script}"}}}}"#);
        assert_eq!(keys(&package, &["src/a.js"]), ["package-lock.json", "package.json", "src/a.js"], "{script}");
    }
    assert_eq!(
        keys(
            r#"{"dependencies":{"a":"1"},"scripts":{"postinstall":"node scripts/x.js"}}"#,
            &["scripts/x.js", "src/a.js"]
        ),
        ["package-lock.json", "package.json", "scripts/x.js", "src/a.js"]
    );
}

#[test]
fn key_files_of_a_workspace_hold_what_the_installs_of_its_members_read() {
    let keys = |member: &str, others: &[&str]| {
        let files: Vec<(&str, &str)> = others
            .iter()
            .map(|path| (*path, ""))
            .chain([("package.json", r#"{"workspaces":["apps/*","packages/*"]}"#), ("package-lock.json", "{}")])
            .chain([("apps/web/package.json", NEXT), ("packages/db/package.json", member)])
            .collect();
        let files = planned(&files, &in_root("apps/web")).install.unwrap().key_files;
        let manifests = ["apps/web/package.json", "package-lock.json", "package.json", "packages/db/package.json"];
        files.into_iter().filter(|file| !manifests.contains(&file.as_str())).collect::<Vec<_>>()
    };
    let generates = r#"{"dependencies":{"@prisma/client":"6"},"scripts":{"postinstall":"prisma generate"}}"#;
    let files = ["packages/db/prisma/schema.prisma", "packages/db/index.ts"];
    assert_eq!(keys(generates, &files), files[..1]);
    assert_eq!(keys("{}", &files), [""; 0]);
    let patched = r#"{"dependencies":{"a":"1"},"scripts":{"postinstall":"patch-package"}}"#;
    assert_eq!(keys(patched, &["packages/db/patches/a.patch", "patches.md"]), ["packages/db/patches/a.patch"]);
    let native = ["packages/db/binding.gyp", "packages/db/src/a.cc"];
    assert_eq!(keys("{}", &native), native, "compiled at the install");
    assert_eq!(keys(r#"{"scripts":{"install":"true"}}"#, &native), [""; 0]);
}

#[test]
fn nothing_to_install_runs_nothing() {
    let plan = plan_of(&[("package.json", r#"{"name":"x"}"#), ("server.js", "")]);
    assert_eq!((plan.install, plan.build_command), (None, None));
}

#[test]
fn trees_without_a_plan() {
    let refused = |files: &[(&str, &str)], settings: &ServiceSettings| {
        let diagnosis = super::plan(&listing(files), settings).unwrap_err();
        (diagnosis.code, diagnosis.why, diagnosis.hints.first().cloned().unwrap_or_default())
    };
    let settings = ServiceSettings::default();
    let (code, why, hint) = refused(&[("README.md", ""), ("apps/web/package.json", "{}")], &settings);
    assert_eq!(code, "no-package-json");
    assert!(why.contains("`README.md`, `apps/`"), "{why}");
    assert_eq!(hint, "`apps/web` has a `package.json`: set `root = \"apps/web\"` in `slipway.toml`");
    let (code, why, _) = refused(&[("server.js", "")], &settings);
    assert!(code == "no-package-json" && why.contains("`server.js`"), "{why}");
    let (code, why, _) = refused(&[("go.mod", "")], &settings);
    assert!(code == "nothing-recognised" && why.contains("Go"), "{why}");
    let (code, why, _) = refused(&[], &settings);
    assert!(code == "nothing-recognised" && why.contains("no files"), "{why}");
    let (code, _, hint) = refused(&[("web/package.json", "{}")], &in_root("app"));
    assert!(code == "root-missing" && hint.contains("`web`"), "{hint}");
    let (code, why, _) = refused(&[("package.json", r#"{"scripts":{"build":"tsc"}}"#)], &settings);
    assert!(code == "no-start-command" && why.contains("`build`"), "{why}");
}

/// The same tree makes the same plan, whatever the order of its listing.
#[test]
fn plans_do_not_depend_on_order() {
    let mut tree = listing(&[("package.json", NEXT), ("yarn.lock", "# yarn lockfile v1"), ("package-lock.json", "{}")]);
    let plan = super::plan(&tree, &ServiceSettings::default()).unwrap();
    tree.paths.reverse();
    assert_eq!(super::plan(&tree, &ServiceSettings::default()).unwrap(), plan);
}
