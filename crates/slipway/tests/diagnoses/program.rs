//! Node.js programs that end at their start.

use crate::case::{Case, provoke};

const PACKAGE: &str = r#"{"name":"x"}"#;
const MODULE: &str = r#"{"name":"x","type":"module"}"#;
const START: &str = "start_command = \"node start.js\"";

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "throws",
        code: "app-exited",
        place: "start.js:2",
        says: &["TypeError"],
        settings: START,
        files: &[("package.json", PACKAGE), ("start.js", "const x = undefined;\nx.y();")],
        ..Case::EMPTY
    },
    Case {
        name: "package-gone",
        code: "app-module-not-found",
        place: "start.js",
        says: &["express"],
        settings: START,
        files: &[("package.json", PACKAGE), ("start.js", "require('express');")],
        ..Case::EMPTY
    },
    Case {
        name: "case-only",
        code: "file-name-case",
        place: "start.js",
        says: &["`lib/header.js`", "./lib/Header", "git mv"],
        settings: START,
        files: &[("package.json", PACKAGE), ("start.js", "require('./lib/Header');"), ("lib/header.js", "")],
        ..Case::EMPTY
    },
    Case {
        name: "case-esm",
        code: "file-name-case",
        place: "start.js",
        says: &["`lib/header.js`"],
        settings: START,
        files: &[("package.json", MODULE), ("start.js", "import './lib/Header.js';"), ("lib/header.js", "")],
        ..Case::EMPTY
    },
    Case {
        name: "case-command",
        code: "file-name-case",
        place: "Server.js",
        says: &["`server.js`"],
        settings: "start_command = \"node Server.js\"",
        files: &[("package.json", PACKAGE), ("server.js", "")],
        ..Case::EMPTY
    },
    Case {
        name: "syntax",
        code: "syntax-error",
        place: "start.js:2",
        says: &["SyntaxError"],
        settings: START,
        files: &[("package.json", PACKAGE), ("start.js", "const x = 1;\nconst y = ;\n")],
        ..Case::EMPTY
    },
    Case {
        name: "import-in-cjs",
        code: "module-format",
        place: "start.cjs",
        says: &["import"],
        settings: "start_command = \"node start.cjs\"",
        files: &[("package.json", PACKAGE), ("start.cjs", "import 'node:fs';\n")],
        ..Case::EMPTY
    },
    Case {
        name: "require-in-esm",
        code: "module-format",
        place: "start.js",
        says: &["require"],
        settings: START,
        files: &[("package.json", MODULE), ("start.js", "const fs = require('node:fs');\n")],
        ..Case::EMPTY
    },
    Case {
        name: "require-esm",
        code: "module-format",
        place: "start.js",
        says: &["lib.mjs"],
        settings: "start_command = \"node start.js\"\n[build]\nnode_version = \"20.11.0\"",
        files: &[("package.json", PACKAGE), ("start.js", "require('./lib.mjs');\n"), ("lib.mjs", "export default 1;")],
        ..Case::EMPTY
    },
    Case {
        name: "no-export",
        code: "export-missing",
        place: "start.js",
        says: &["nope"],
        settings: START,
        files: &[
            ("package.json", MODULE),
            ("start.js", "import { nope } from './lib.js';\nnope();\n"),
            ("lib.js", "export const yes = 1;"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "typescript",
        code: "typescript-not-compiled",
        place: "start.ts",
        says: &["tsc"],
        settings: "start_command = \"node start.ts\"",
        files: &[("package.json", PACKAGE), ("start.ts", "enum A { B }\nconsole.log(A.B);\n")],
        ..Case::EMPTY
    },
    Case {
        name: "typescript-20",
        code: "typescript-not-compiled",
        place: "start.ts",
        says: &["tsc"],
        settings: "start_command = \"node start.ts\"\n[build]\nnode_version = \"20.11.0\"",
        files: &[("package.json", MODULE), ("start.ts", "const a: number = 1;\nconsole.log(a);\n")],
        ..Case::EMPTY
    },
    Case {
        name: "twice",
        code: "port-in-use",
        place: "node start.js",
        says: &["listen"],
        settings: START,
        files: &[
            ("package.json", PACKAGE),
            (
                "start.js",
                "const http = require('node:http');\nfor (const n of [1, 2]) http.createServer().listen(process.env.PORT);\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "variable",
        code: "missing-variable",
        place: "node start.js",
        says: &["slipway env set STRIPE_KEY"],
        settings: START,
        files: &[
            ("package.json", PACKAGE),
            (
                "start.js",
                "if (!process.env.STRIPE_KEY) throw new Error('Missing required environment variable: STRIPE_KEY');\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "variable-schema",
        code: "missing-variable",
        place: "node start.js",
        says: &["STRIPE_KEY"],
        settings: START,
        files: &[
            (
                "package.json",
                r#"{"name":"x","type":"module","dependencies":{"@t3-oss/env-core":"0.13.8","zod":"4.0.5","envalid":"8.1.0"}}"#,
            ),
            (
                "start.js",
                "import { createEnv } from '@t3-oss/env-core';\nimport { z } from 'zod';\ncreateEnv({ server: { STRIPE_KEY: z.string().min(1) }, runtimeEnv: process.env });\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "variable-zod",
        code: "missing-variable",
        place: "node start.js",
        says: &["STRIPE_KEY"],
        settings: START,
        files: &[
            (
                "package.json",
                r#"{"name":"x","type":"module","dependencies":{"@t3-oss/env-core":"0.13.8","zod":"4.0.5","envalid":"8.1.0"}}"#,
            ),
            ("start.js", "import { z } from 'zod';\nz.object({ STRIPE_KEY: z.string() }).parse(process.env);\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "variable-envalid",
        code: "missing-variable",
        place: "node start.js",
        says: &["STRIPE_KEY"],
        settings: START,
        files: &[
            (
                "package.json",
                r#"{"name":"x","type":"module","dependencies":{"@t3-oss/env-core":"0.13.8","zod":"4.0.5","envalid":"8.1.0"}}"#,
            ),
            ("start.js", "import { cleanEnv, str } from 'envalid';\ncleanEnv(process.env, { STRIPE_KEY: str() });\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "read-only",
        code: "path-not-writable",
        place: "`/data`",
        says: &["/tmp"],
        settings: START,
        files: &[("package.json", PACKAGE), ("start.js", "require('node:fs').mkdirSync('/data');\n")],
        ..Case::EMPTY
    },
    Case {
        name: "open-files",
        code: "too-many-open-files",
        place: "node start.js",
        says: &["EMFILE"],
        settings: "start_command = \"ulimit -n 64; node start.js\"",
        files: &[
            ("package.json", PACKAGE),
            ("start.js", "const fs = require('node:fs');\nfor (;;) fs.openSync(__filename, 'r');\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "processes",
        code: "too-many-processes",
        place: "node start.js",
        says: &["resources.processes_max"],
        settings: "start_command = \"node start.js\"\n[resources]\nprocesses_max = 40\n",
        files: &[
            ("package.json", PACKAGE),
            (
                "start.js",
                "const { spawn } = require('node:child_process');\nfor (let i = 0; i < 60; i += 1) spawn('sleep', ['20'], { stdio: 'ignore' }).unref();\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "prisma",
        code: "client-not-generated",
        place: "start.js",
        says: &["prisma generate"],
        settings: "start_command = \"node start.js\"\n[build]\ninstall_command = \"npm install --ignore-scripts\"",
        files: &[
            ("package.json", r#"{"name":"x","dependencies":{"@prisma/client":"6.12.0"}}"#),
            ("start.js", "const { PrismaClient } = require('@prisma/client');\nnew PrismaClient();\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "python-module",
        code: "app-module-not-found",
        place: "main.py:2",
        says: &["`no_such_module`"],
        settings: "start_command = \"python3 main.py\"",
        files: &[("package.json", PACKAGE), ("main.py", "import os\nimport no_such_module\n")],
        ..Case::EMPTY
    },
    Case {
        name: "python-syntax",
        code: "syntax-error",
        place: "main.py:2",
        says: &["SyntaxError"],
        settings: "start_command = \"python3 main.py\"",
        files: &[("package.json", PACKAGE), ("main.py", "import os\ndef f(:\n    pass\n")],
        ..Case::EMPTY
    },
    Case {
        name: "python-variable",
        code: "missing-variable",
        place: "python3 main.py",
        says: &["slipway env set STRIPE_KEY"],
        settings: "start_command = \"python3 main.py\"",
        files: &[("package.json", PACKAGE), ("main.py", "import os\nkey = os.environ['STRIPE_KEY']\n")],
        ..Case::EMPTY
    },
    Case {
        name: "browser",
        code: "browser-missing",
        place: "node start.js",
        says: &["Chrom"],
        settings: START,
        files: &[
            ("package.json", r#"{"name":"x","type":"module","dependencies":{"playwright-core":"1.54.1"}}"#),
            ("start.js", "import { chromium } from 'playwright-core';\nawait chromium.launch();\n"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn programs() {
    provoke(CASES);
}
