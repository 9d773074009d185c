//! npm refuses to install.

use crate::case::{Case, provoke};

/// A registry, or git server, that answers every request with one status.
const REGISTRY_JS: &str = r#"
const status = Number(process.argv[2]);
require('node:http').createServer((request, response) => {
  response.writeHead(status, { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="x"' });
  response.end(JSON.stringify({ error: 'no' }));
}).listen(4873, '127.0.0.1', () => require('node:fs').writeFileSync('/tmp/registry-is-up', ''));
"#;

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "npm-404",
        code: "package-not-found",
        place: "package.json",
        says: &["slipway-no-such-package-4711"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"slipway-no-such-package-4711":"1.0.0"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-version",
        code: "package-version-not-found",
        place: "package.json",
        says: &["is-number@99.0.0", "npm view is-number versions"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"is-number":"99.0.0"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-401",
        code: "registry-authentication",
        place: "npm install",
        says: &["NPM_TOKEN"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"node registry.js 401 & until [ -e /tmp/registry-is-up ]; do sleep 0.1; done; npm install --fetch-retries=0\"",
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"is-number":"7.0.0"}}"#),
            (".npmrc", "registry=http://127.0.0.1:4873/\n"),
            ("registry.js", REGISTRY_JS),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-403",
        code: "package-forbidden",
        place: "package.json",
        says: &["is-number"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"node registry.js 403 & until [ -e /tmp/registry-is-up ]; do sleep 0.1; done; npm install --fetch-retries=0\"",
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"is-number":"7.0.0"}}"#),
            (".npmrc", "registry=http://127.0.0.1:4873/\n"),
            ("registry.js", REGISTRY_JS),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-refused",
        code: "registry-unreachable",
        place: "npm install",
        says: &["ECONNREFUSED"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"is-number":"7.0.0"}}"#),
            (".npmrc", "registry=http://127.0.0.1:9/\nfetch-retries=0\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-certificate",
        code: "certificate-untrusted",
        place: "npm install",
        says: &["NODE_EXTRA_CA_CERTS"],
        settings: r#"start_command = "true"
[build]
install_command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout /tmp/k -out /tmp/c 2>/dev/null; openssl s_server -quiet -accept 4874 -key /tmp/k -cert /tmp/c -www & until openssl s_client -connect 127.0.0.1:4874 < /dev/null > /dev/null 2>&1; do sleep 0.1; done; npm install --fetch-retries=0"
"#,
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"is-number":"7.0.0"}}"#),
            (".npmrc", "registry=https://127.0.0.1:4874/\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-git-https",
        code: "private-git-dependency",
        place: "package.json",
        says: &["127.0.0.1:4873/private.git"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"node registry.js 401 & until [ -e /tmp/registry-is-up ]; do sleep 0.1; done; npm install\"",
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"private":"git+http://127.0.0.1:4873/private.git"}}"#),
            ("registry.js", REGISTRY_JS),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-git-ssh",
        code: "private-git-dependency",
        place: "package.json",
        says: &["ssh"],
        settings: "start_command = \"true\"",
        files: &[(
            "package.json",
            r#"{"name":"x","dependencies":{"private":"git+ssh://git@127.0.0.1/me/private.git"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "npm-platform",
        code: "platform-mismatch",
        place: "package.json",
        says: &["fsevents@2.3.3", "darwin", "optionalDependencies"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"fsevents":"2.3.3"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-engine",
        code: "engine-mismatch",
        place: "package.json",
        says: &[">=99"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","engines":{"npm":">=99"},"dependencies":{"is-number":"7.0.0"}}"#),
            (".npmrc", "engine-strict=true\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-peer",
        code: "peer-conflict",
        place: "package.json",
        says: &["react"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"react":"19.0.0","react-dom":"18.2.0"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-workspace",
        code: "workspace-dependency",
        place: "package.json",
        says: &["workspace:*"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"lib":"workspace:*"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "npm-deprotocol",
        code: "package-manager-mismatch",
        place: "package.json",
        says: &["pnpm"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npm install\"",
        files: &[(
            "package.json",
            r#"{"name":"x","devEngines":{"packageManager":{"name":"pnpm","onFail":"error"}},"dependencies":{"is-number":"7.0.0"}}"#,
        )],
        ..Case::EMPTY
    },
    Case {
        name: "npm-script",
        code: "install-script-failed",
        place: "node setup.js",
        says: &["no moon"],
        settings: "start_command = \"true\"",
        files: &[
            (
                "package.json",
                r#"{"name":"x","scripts":{"postinstall":"node setup.js"},"dependencies":{"is-number":"7.0.0"}}"#,
            ),
            ("setup.js", "console.error('there is no moon'); process.exit(7);"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "npm-gyp",
        code: "native-build-failed",
        place: "npm install",
        says: &["node-gyp"],
        settings: "start_command = \"true\"",
        files: &[
            ("package.json", r#"{"name":"x","gypfile":true,"dependencies":{"is-number":"7.0.0"}}"#),
            ("binding.gyp", r#"{"targets":[{"target_name":"x","sources":["x.c"]}]}"#),
            ("x.c", "#include <no/such/library.h>\n"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn npm_installs() {
    provoke(CASES);
}
