//! Compilers and bundlers that refuse the source.

use crate::case::{Case, provoke};

/// One set of tools for all cases: one dependency layer.
const PACKAGE: &str = r#"{"name":"x","version":"1.0.0","private":true,"dependencies":{
"esbuild":"0.25.6","eslint":"9.31.0","rollup":"4.45.1","typescript":"5.8.3","vite":"7.0.5","webpack":"5.100.2","webpack-cli":"6.0.1"}}"#;

macro_rules! builds {
    ($command:literal) => {
        concat!("start_command = \"true\"\n[build]\ncommand = \"", $command, "\"")
    };
}

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "tsc",
        code: "typescript-error",
        place: "main.ts:1:7",
        says: &["TS2322", "and 1 more"],
        settings: builds!("node_modules/.bin/tsc --noEmit --strict main.ts"),
        files: &[
            ("package.json", PACKAGE),
            ("main.ts", "const n: number = 'text';\nconst m: number = 'text';\nexport { n, m };\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "tsconfig",
        code: "tsconfig-missing",
        place: "tsconfig.json",
        says: &["tsconfig.base.json"],
        settings: builds!("node_modules/.bin/tsc -p ."),
        files: &[
            ("package.json", PACKAGE),
            ("tsconfig.json", "{\"extends\":\"../tsconfig.base.json\",\"files\":[\"main.ts\"]}"),
            ("main.ts", "export {};\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "tsconfig-none",
        code: "tsconfig-missing",
        place: "tsconfig.json",
        says: &["tsconfig"],
        settings: builds!("node_modules/.bin/tsc -p tsconfig.build.json"),
        files: &[("package.json", PACKAGE), ("main.ts", "export {};\n")],
        ..Case::EMPTY
    },
    Case {
        name: "vite-import",
        code: "module-not-found",
        place: "main.js",
        says: &["no-such-package", "npm install no-such-package"],
        settings: builds!("node_modules/.bin/vite build"),
        files: &[
            ("package.json", PACKAGE),
            ("index.html", "<script type=\"module\" src=\"/main.js\"></script>"),
            ("main.js", "import x from 'no-such-package';\nconsole.log(x);\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "vite-case",
        code: "file-name-case",
        place: "main.js",
        says: &["`header.js`", "`./Header`"],
        settings: builds!("node_modules/.bin/vite build"),
        files: &[
            ("package.json", PACKAGE),
            ("index.html", "<script type=\"module\" src=\"/main.js\"></script>"),
            ("main.js", "import x from './Header';\nconsole.log(x);\n"),
            ("header.js", "export default 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "vite-syntax",
        code: "syntax-error",
        place: "main.js",
        says: &["log"],
        settings: builds!("node_modules/.bin/vite build"),
        files: &[
            ("package.json", PACKAGE),
            ("index.html", "<script type=\"module\" src=\"/main.js\"></script>"),
            ("main.js", "const = 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "vite-export",
        code: "export-missing",
        place: "main.js",
        says: &["`nope`", "lib.js"],
        settings: builds!("node_modules/.bin/vite build"),
        files: &[
            ("package.json", PACKAGE),
            ("index.html", "<script type=\"module\" src=\"/main.js\"></script>"),
            ("main.js", "import { nope } from './lib.js';\nconsole.log(nope);\n"),
            ("lib.js", "export const yes = 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "esbuild-import",
        code: "module-not-found",
        place: "main.js:1:14",
        says: &["no-such-package"],
        settings: builds!("node_modules/.bin/esbuild main.js --bundle"),
        files: &[("package.json", PACKAGE), ("main.js", "import x from 'no-such-package';\nconsole.log(x);\n")],
        ..Case::EMPTY
    },
    Case {
        name: "esbuild-syntax",
        code: "syntax-error",
        place: "main.js:1:6",
        says: &["Expected identifier"],
        settings: builds!("node_modules/.bin/esbuild main.js --bundle"),
        files: &[("package.json", PACKAGE), ("main.js", "const = 1;\n")],
        ..Case::EMPTY
    },
    Case {
        name: "esbuild-export",
        code: "export-missing",
        place: "main.js:1:9",
        says: &["`nope`", "lib.js"],
        settings: builds!("node_modules/.bin/esbuild main.js --bundle"),
        files: &[
            ("package.json", PACKAGE),
            ("main.js", "import { nope } from './lib.js';\nconsole.log(nope);\n"),
            ("lib.js", "export const yes = 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "webpack-import",
        code: "module-not-found",
        place: "main.js",
        says: &["no-such-package"],
        settings: builds!("node_modules/.bin/webpack ./main.js --mode production"),
        files: &[("package.json", PACKAGE), ("main.js", "import x from 'no-such-package';\nconsole.log(x);\n")],
        ..Case::EMPTY
    },
    Case {
        name: "webpack-case",
        code: "file-name-case",
        place: "src/main.js",
        says: &["`src/header.js`"],
        settings: builds!("node_modules/.bin/webpack ./src/main.js --mode production"),
        files: &[
            ("package.json", PACKAGE),
            ("src/main.js", "import x from './Header';\nconsole.log(x);\n"),
            ("src/header.js", "export default 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "webpack-syntax",
        code: "syntax-error",
        place: "main.js",
        says: &["Unexpected token"],
        settings: builds!("node_modules/.bin/webpack ./main.js --mode production"),
        files: &[("package.json", PACKAGE), ("main.js", "const = 1;\n")],
        ..Case::EMPTY
    },
    Case {
        name: "eslint",
        code: "lint-error",
        place: "main.js:1:7",
        says: &["no-unused-vars"],
        settings: builds!("node_modules/.bin/eslint main.js"),
        files: &[
            ("package.json", PACKAGE),
            ("eslint.config.mjs", "export default [{ rules: { 'no-unused-vars': 'error' } }];\n"),
            ("main.js", "const unused = 1;\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "openssl",
        code: "openssl-unsupported",
        place: "npm run build",
        says: &["webpack"],
        settings: "start_command = \"true\"",
        files: &[
            (
                "package.json",
                r#"{"name":"x","scripts":{"build":"NODE_OPTIONS= node build.js"},"dependencies":{"webpack":"4.46.0"}}"#,
            ),
            (
                "build.js",
                "require('webpack')({ mode: 'production', entry: './main.js' }, (error) => { if (error) throw error; });\n",
            ),
            ("main.js", "console.log(1);\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "script",
        code: "missing-script",
        place: "package.json",
        says: &["`nope`"],
        settings: builds!("npm run nope"),
        files: &[("package.json", r#"{"name":"x"}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "binary",
        code: "command-not-found",
        place: "npm run build",
        says: &["`vite`", "dependencies"],
        settings: "start_command = \"true\"",
        files: &[("package.json", r#"{"name":"x","scripts":{"build":"vite build"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "not-executable",
        code: "permission-denied",
        place: "./build.sh",
        says: &["chmod=+x build.sh"],
        settings: builds!("./build.sh"),
        files: &[("package.json", r#"{"name":"x"}"#), ("build.sh", "true\n")],
        ..Case::EMPTY
    },
    Case {
        name: "git",
        code: "not-a-git-repository",
        place: "git rev-parse HEAD",
        says: &["slipway env set --build COMMIT"],
        settings: builds!("git rev-parse HEAD"),
        files: &[("package.json", r#"{"name":"x"}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "heap",
        code: "heap-out-of-memory",
        place: "build.js` in the phase `build`",
        says: &["--max-old-space-size"],
        settings: builds!("node --max-old-space-size=32 build.js"),
        files: &[
            ("package.json", r#"{"name":"x"}"#),
            ("build.js", "const kept = [];\nfor (;;) kept.push({ n: kept.length });\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "private-network",
        code: "network-refused",
        place: "node build.js",
        says: &["10.1.2.3", "private"],
        settings: builds!("node build.js"),
        files: &[("package.json", r#"{"name":"x"}"#), ("build.js", "fetch('http://10.1.2.3:8080/cms');\n")],
        ..Case::EMPTY
    },
    Case {
        name: "loopback-service",
        code: "network-refused",
        place: "node build.js",
        says: &["127.0.0.1:1337"],
        settings: builds!("node build.js"),
        files: &[("package.json", r#"{"name":"x"}"#), ("build.js", "fetch('http://127.0.0.1:1337/cms');\n")],
        ..Case::EMPTY
    },
    Case {
        name: "build-variable",
        code: "missing-variable",
        place: "node build.js",
        says: &["slipway env set --build CMS_URL"],
        settings: builds!("node build.js"),
        files: &[
            ("package.json", r#"{"name":"x"}"#),
            ("build.js", "if (!process.env.CMS_URL) throw new Error('The environment variable CMS_URL is not set');\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "unknown",
        code: "command-failed",
        place: "node build.js",
        says: &["exited with status 3", "the moon is missing"],
        settings: builds!("node build.js"),
        files: &[
            ("package.json", r#"{"name":"x"}"#),
            ("build.js", "console.error('the moon is missing');\nprocess.exit(3);\n"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn builds() {
    provoke(CASES);
}
