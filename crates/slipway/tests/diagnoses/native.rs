//! Machine code that does not fit the sandbox.

use crate::case::{Case, provoke};

const PACKAGE: &str = r#"{"name":"x"}"#;

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "elf-header",
        code: "wrong-architecture",
        place: "addon.node",
        says: &["node_modules"],
        settings: "start_command = \"node start.js\"\n[build]\ncommand = \"printf '\\\\317\\\\372\\\\355\\\\376\\\\014\\\\000\\\\000\\\\001%0100d' 0 > addon.node\"",
        files: &[("package.json", PACKAGE), ("start.js", "require('./addon.node');")],
        ..Case::EMPTY
    },
    Case {
        name: "exec-format",
        code: "wrong-architecture",
        place: "tool",
        says: &["Exec format error"],
        settings: "start_command = \"true\"\n[build]\ncommand = \"printf '\\\\177ELF\\\\002\\\\001\\\\001%0100d' 0 > tool; chmod +x tool; ./tool\"",
        files: &[("package.json", PACKAGE)],
        ..Case::EMPTY
    },
    Case {
        name: "other-esbuild",
        code: "optional-native-package-missing",
        place: "package.json",
        says: &["@esbuild/linux-x64"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npm install --omit=optional --ignore-scripts\"\ncommand = \"node -e \\\"require('esbuild').buildSync({})\\\"\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"esbuild":"0.25.6"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "rollup",
        code: "optional-native-package-missing",
        place: "package.json",
        says: &["@rollup/rollup-linux-x64-gnu", "package-lock.json"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npm install --omit=optional\"\ncommand = \"npx rollup x.js\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"rollup":"4.45.1"}}"#), ("x.js", "export default 1;")],
        ..Case::EMPTY
    },
    Case {
        name: "lightningcss",
        code: "optional-native-package-missing",
        place: "package.json",
        says: &["lightningcss"],
        settings: "start_command = \"true\"\n[build]\ninstall_command = \"npm install --omit=optional\"\ncommand = \"node -e \\\"require('lightningcss')\\\"\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"lightningcss":"1.30.1"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "sharp",
        code: "optional-native-package-missing",
        place: "package.json",
        says: &["sharp"],
        settings: "start_command = \"node -e \\\"require('sharp')\\\"\"\n[build]\ninstall_command = \"npm install --omit=optional --ignore-scripts\"",
        files: &[("package.json", r#"{"name":"x","dependencies":{"sharp":"0.34.3"}}"#)],
        ..Case::EMPTY
    },
    Case {
        name: "glibc",
        code: "glibc-too-old",
        place: "addon.node",
        says: &["GLIBC_2.99"],
        settings: r#"start_command = "node start.js"
[build]
command = "echo 'void newer(void){}' > libc.c; echo 'GLIBC_2.99 { newer; };' > libc.map; gcc -shared -fPIC -nostdlib -Wl,-soname,libc.so.6 -Wl,--version-script=libc.map -o libstub.so libc.c; echo 'void newer(void); void start(void){ newer(); }' > a.c; gcc -shared -fPIC -nostdlib -o addon.node a.c ./libstub.so"
"#,
        files: &[("package.json", PACKAGE), ("start.js", "require('./addon.node');")],
        ..Case::EMPTY
    },
    Case {
        name: "shared-library",
        code: "shared-library-missing",
        place: "start.js:1:1",
        says: &["libmoon.so.7"],
        settings: r#"start_command = "node start.js"
[build]
command = "echo 'void moon(void){}' > m.c; gcc -shared -fPIC -Wl,-soname,libmoon.so.7 -o libstub.so m.c; echo 'void moon(void); void start(void){ moon(); }' > a.c; gcc -shared -fPIC -o addon.node a.c ./libstub.so"
"#,
        files: &[("package.json", PACKAGE), ("start.js", "require('./addon.node');")],
        ..Case::EMPTY
    },
    Case {
        name: "node-module-version",
        code: "native-module-version",
        place: "addon.node",
        says: &["NODE_MODULE_VERSION", "npm rebuild"],
        settings: r#"start_command = "node start.js"
[build]
command = "gcc -shared -fPIC -o addon.node a.c"
"#,
        files: &[
            ("package.json", PACKAGE),
            (
                "a.c",
                "struct module { int version; unsigned flags; void *dso; const char *file; void *reg; void *creg; const char *name; void *priv; void *link; };\nextern void node_module_register(void *);\nstatic struct module m = { 64, 0, 0, \"a.c\", (void *)1, 0, \"addon\", 0, 0 };\n__attribute__((constructor)) static void start(void) { node_module_register(&m); }\n",
            ),
            ("start.js", "require('./addon.node');"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "segfault",
        code: "crashed",
        place: "node start.js",
        says: &["SIGSEGV"],
        settings: "start_command = \"node start.js\"",
        files: &[
            ("package.json", PACKAGE),
            ("start.js", "process.kill(process.pid, 'SIGSEGV'); setInterval(() => {}, 1000);"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn native_code() {
    provoke(CASES);
}
