//! pnpm, Yarn and Bun refuse to install.

use crate::case::{Case, provoke};

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "pnpm-404",
        code: "package-not-found",
        place: "package.json",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"slipway-no-such-package-4711":"1.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-version",
        code: "package-version-not-found",
        place: "package.json",
        says: &["is-number@99.0.0"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"is-number":"99.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-peer",
        code: "peer-conflict",
        place: "package.json",
        says: &["react"],
        settings: "start_command = \"true\"",
        files: &[
            (
                "package.json",
                r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"react":"19.0.0","react-dom":"18.2.0"}}"#,
            ),
            (".npmrc", "strict-peer-dependencies=true\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-engine",
        code: "engine-mismatch",
        place: "package.json",
        says: &[">=99"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"pnpm@10.13.1","engines":{"pnpm":">=99"},"dependencies":{"is-number":"7.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-workspace",
        code: "workspace-dependency",
        place: "package.json",
        says: &["lib"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"lib":"workspace:*"}}"#),
            ("pnpm-workspace.yaml", "packages:\n  - packages/*\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-scripts",
        code: "build-scripts-ignored",
        place: "package.json",
        says: &["esbuild", "onlyBuiltDependencies"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"esbuild":"0.25.6"}}"#),
            ("pnpm-workspace.yaml", "packages:\n  - .\nstrictDepBuilds: true\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-other",
        code: "package-manager-mismatch",
        place: "package.json",
        says: &["yarn"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npx --yes pnpm@10.13.1 install\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-number":"7.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn1-other",
        code: "package-manager-mismatch",
        place: "package.json",
        says: &["yarn@4.9.2"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npx --yes yarn@1.22.22 install\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-number":"7.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn1-404",
        code: "package-not-found",
        place: "package.json",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@1.22.22","dependencies":{"slipway-no-such-package-4711":"1.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn1-version",
        code: "package-version-not-found",
        place: "package.json",
        says: &["is-number"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@1.22.22","dependencies":{"is-number":"99.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn1-platform",
        code: "platform-mismatch",
        place: "package.json",
        says: &["fsevents@2.3.3"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@1.22.22","dependencies":{"fsevents":"2.3.3"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn4-404",
        code: "package-not-found",
        place: "package.json",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"slipway-no-such-package-4711":"1.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn4-version",
        code: "package-version-not-found",
        place: "package.json",
        says: &["is-number"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-number":"99.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "yarn4-pnp",
        code: "undeclared-dependency",
        place: "package.json",
        says: &["is-number"],
        settings: "start_command = \"true\"\n[build]\ncommand = \"yarn node build.js\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-odd":"3.0.1"}}"#),
            ("build.js", "require('is-number');\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "bun-404",
        code: "package-not-found",
        place: "package.json",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"bun@1.2.18","dependencies":{"slipway-no-such-package-4711":"1.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "bun-version",
        code: "package-version-not-found",
        place: "package.json",
        says: &["is-number"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","packageManager":"bun@1.2.18","dependencies":{"is-number":"99.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "bun-script",
        code: "missing-script",
        place: "package.json",
        says: &["`nope`"],
        settings: "start_command = \"true\"\n[build]\ncommand = \"bun run nope\"",
        files: &[("package.json", r#"{"name":"x","packageManager":"bun@1.2.18"}"#)],
        ..Case::EMPTY
    },
];

#[test]
fn other_package_managers() {
    provoke(CASES);
}
