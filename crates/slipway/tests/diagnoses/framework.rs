//! Frameworks that refuse an app.

use crate::case::{Case, provoke};

const NEXT: &str = r#"{"name":"x","private":true,"scripts":{"build":"next build","start":"next start"},
"dependencies":{"next":"15.4.2","react":"19.1.0","react-dom":"19.1.0"},"devDependencies":{"@types/node":"24.0.15","@types/react":"19.1.8","typescript":"5.8.3"}}"#;
const LAYOUT: &str = "export default function Layout({ children }: { children: React.ReactNode }) { return <html><body>{children}</body></html>; }\n";
const PAGE: &str = "export default function Page() { return <p>page</p>; }\n";

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "next-export",
        code: "dynamic-route-export",
        place: "/posts/[id]",
        says: &["generateStaticParams"],
        settings: "start_command = \"true\"\n[build]\ncommand = \"npx next build\"",
        files: &[
            ("package.json", NEXT),
            ("next.config.mjs", "export default { output: 'export' };\n"),
            ("app/layout.tsx", LAYOUT),
            ("app/posts/[id]/page.tsx", PAGE),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "next-type",
        code: "typescript-error",
        place: "app/page.tsx:1:",
        says: &["not assignable"],
        settings: "",
        files: &[
            ("package.json", NEXT),
            ("app/layout.tsx", LAYOUT),
            ("app/page.tsx", "const n: number = 'text';\nexport default function Page() { return <p>{n}</p>; }\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "next-prerender",
        code: "prerender-failed",
        place: "the page `/`",
        says: &["the database is away", "force-dynamic"],
        settings: "",
        files: &[
            ("package.json", NEXT),
            ("app/layout.tsx", LAYOUT),
            ("app/page.tsx", "export default function Page() { throw new Error('the database is away'); }\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "next-font",
        code: "font-unreachable",
        place: "next build",
        says: &["`Inter`", "next/font/local"],
        // Nothing listens there: a build that has no network, wherever this runs.
        settings: "[build]\ncommand = \"HTTPS_PROXY=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 npx next build\"",
        files: &[
            ("package.json", NEXT),
            ("app/layout.tsx", LAYOUT),
            (
                "app/page.tsx",
                "import { Inter } from 'next/font/google';\nconst inter = Inter({ subsets: ['latin'] });\nexport default function Page() { return <p className={inter.className}>page</p>; }\n",
            ),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "next-unbuilt",
        code: "build-output-missing",
        place: "next start",
        says: &["build"],
        settings: "[build]\ncommand = \"true\"\n[health]\npath = \"/\"\n",
        files: &[("package.json", NEXT), ("app/layout.tsx", LAYOUT), ("app/page.tsx", PAGE)],
        ..Case::EMPTY
    },
    Case {
        name: "astro-adapter",
        code: "adapter-missing",
        place: "astro.config",
        says: &["@astrojs/node"],
        settings: "start_command = \"true\"",
        files: &[
            (
                "package.json",
                r#"{"name":"x","private":true,"type":"module","scripts":{"build":"astro build"},"dependencies":{"astro":"5.12.0"}}"#,
            ),
            ("astro.config.mjs", "export default { output: 'server' };\n"),
            ("src/pages/index.astro", "<p>page</p>\n"),
        ],
        ..Case::EMPTY
    },
];

#[test]
fn frameworks() {
    provoke(CASES);
}
