//! Lockfiles that do not fit.

use crate::case::{Case, provoke};

const PACKAGE: &str = r#"{"name":"x","version":"1.0.0","dependencies":{"is-number":"7.0.0"}}"#;

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "npm-stale",
        code: "lockfile-out-of-step",
        place: "package-lock.json",
        says: &["npm install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            (
                "package-lock.json",
                r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","version":"1.0.0"}}}"#,
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-left-out",
        code: "lockfile-out-of-step",
        place: "package-lock.json",
        says: &["leaves out optional packages", "left-pad", "install_command"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","version":"1.0.0","dependencies":{"lib":"file:./lib"}}"#),
            ("lib/package.json", r#"{"name":"lib","version":"1.0.0","optionalDependencies":{"left-pad":"9.9.9"}}"#),
            // What `npm install` makes of it.
            (
                "package-lock.json",
                r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","version":"1.0.0",
"dependencies":{"lib":"file:./lib"}},"lib":{"version":"1.0.0","optionalDependencies":{"left-pad":"9.9.9"}},"node_modules/lib":{"resolved":"lib","link":true}}}"#,
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-none",
        code: "lockfile-missing",
        place: "npm ci",
        says: &["npm install"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npm ci\"",
        files: &[("package.json", PACKAGE)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-integrity",
        code: "package-damaged",
        place: "package-lock.json",
        says: &["sha512"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            (
                "package-lock.json",
                r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"x","version":"1.0.0","dependencies":{"is-number":"7.0.0"}},
"node_modules/is-number":{"version":"7.0.0","integrity":"sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}}}"#,
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-garbled",
        code: "lockfile-invalid",
        place: "package-lock.json",
        says: &["JSON"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            ("package-lock.json", "{\n  \"name\": \"x\",\n  \"lockfileVersion\": 3,\n  oops\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-stale",
        code: "lockfile-out-of-step",
        place: "pnpm-lock.yaml",
        says: &["pnpm install"],
        settings: "start_command = \"true\"",
        files: &[("package.json", PACKAGE), ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n")],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-two",
        code: "multiple-lockfiles",
        place: "pnpm-lock.yaml",
        says: &["package-lock.json", "git rm"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n"),
            ("package-lock.json", "{}"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-old",
        code: "outdated-lockfile",
        place: "pnpm-lock.yaml",
        says: &["pnpm install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"pnpm@10.13.1","dependencies":{"is-number":"7.0.0"}}"#),
            (
                "pnpm-lock.yaml",
                "lockfileVersion: 5.4\n\nspecifiers:\n  is-number: 7.0.0\n\ndependencies:\n  is-number: 7.0.0\n\npackages:\n\n  /is-number/7.0.0:\n    resolution: {integrity: sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==}\n    engines: {node: '>=0.12.0'}\n    dev: false\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "pnpm-garbled",
        code: "lockfile-invalid",
        place: "pnpm-lock.yaml",
        says: &["pnpm install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n<<<<<<< HEAD\nimporters:\n=======\n  .: {}\n>>>>>>> x\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "yarn1-stale",
        code: "lockfile-out-of-step",
        place: "yarn.lock",
        says: &["yarn install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            ("yarn.lock", "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "yarn4-stale",
        code: "lockfile-out-of-step",
        place: "yarn.lock",
        says: &["yarn install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-number":"7.0.0"}}"#),
            ("yarn.lock", "__metadata:\n  version: 8\n  cacheKey: 10c0\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "yarn4-old",
        code: "outdated-lockfile",
        place: "yarn.lock",
        says: &["yarn install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","packageManager":"yarn@4.9.2","dependencies":{"is-number":"7.0.0"}}"#),
            (
                "yarn.lock",
                "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\nis-number@7.0.0:\n  version \"7.0.0\"\n  integrity sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "bun-stale",
        code: "lockfile-out-of-step",
        place: "bun.lock",
        says: &["bun install"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", PACKAGE),
            (
                "bun.lock",
                "{\n  \"lockfileVersion\": 1,\n  \"workspaces\": {\n    \"\": {\n      \"name\": \"x\",\n    },\n  },\n  \"packages\": {}\n}\n",
            ),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn lockfiles() {
    provoke(CASES);
}
