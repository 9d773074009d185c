//! Configurations that are put together from every combination of a few parts.

use crate::case::Case;
use std::fmt::Write;

const DEPLOYMENTS: [(&str, &str); 4] =
    [("production", "main"), ("branch-deploy", "feat/x"), ("deploy-preview", "feat/y"), ("production", "production")];

pub(crate) fn cases() -> Vec<Case> {
    [contexts(), directories(), redirects(), headers()].concat()
}

/// Which of several places that say the same thing wins.
fn contexts() -> Vec<Case> {
    const PLACES: [&str; 4] = ["production", "branch-deploy", "\"feat/x\"", "\"feat/*\""];
    let mut cases = Vec::new();
    for said in 0..1 << PLACES.len() {
        let mut text = "[build]\ncommand = \"top\"\npublish = \"top\"\n[build.environment]\nA = \"top\"\nB = \"top\"\n\
             [[redirects]]\nfrom = \"/top\"\nto = \"/\"\n"
            .to_owned();
        for (index, place) in PLACES.iter().enumerate().filter(|(index, _)| said & (1 << index) != 0) {
            // One says it in the context itself, the next in its build.
            let section = if index % 2 == 0 { format!("context.{place}") } else { format!("context.{place}.build") };
            write!(
                text,
                "[{section}]\ncommand = \"{index}\"\npublish = \"{}\"\n[{section}.environment]\nB = {index}\nC{index} = true\n",
                ["", "one", "two", "three"][index]
            )
            .unwrap();
            write!(text, "[[context.{place}.redirects]]\nfrom = \"/{index}\"\nto = \"/\"\n").unwrap();
            write!(text, "[[context.{place}.plugins]]\npackage = \"p{}\"\ninputs.i{index} = {index}\n", index % 2)
                .unwrap();
        }
        for (context, branch) in DEPLOYMENTS {
            let name = format!("made: contexts {said:04b} for {context} {branch}");
            cases.push(Case::new(name, &[("netlify.toml", &text)]).of(context, branch));
        }
    }
    cases
}

/// Base, published directory, and a second file in the base.
fn directories() -> Vec<Case> {
    const BASES: [&str; 7] = [
        "",
        "base = \"\"",
        "base = \"site\"",
        "base = \"/site/\"",
        "base = \"./site/../site\"",
        "base = \"gone\"",
        "base = \"../site\"",
    ];
    const PUBLISHED: [&str; 7] = [
        "",
        "publish = \"\"",
        "publish = \"dist\"",
        "publish = \"/dist\"",
        "publish = \"../dist\"",
        "publish = \"../../dist\"",
        "publish = \".\"",
    ];
    let mut cases = Vec::new();
    for base in BASES {
        for publish in PUBLISHED {
            for nearer in ["", "[build]\ncommand = \"nearer\"\nbase = \"elsewhere\"\n", "[build]\npublish = \"out\"\n"]
            {
                let text = format!("[build]\n{base}\n{publish}\ncommand = \"top\"\n");
                let mut files = vec![("netlify.toml", text.as_str()), ("site/index.html", ""), ("index.html", "")];
                files.extend((!nearer.is_empty()).then_some(("site/netlify.toml", nearer)));
                files.push(("netlify/functions/hello.js", ""));
                files.push(("site/netlify/edge-functions/hello.js", ""));
                files.push(("site/dist/_redirects", "/in-site /x\n"));
                files.push(("dist/_redirects", "/in-top /x\n"));
                cases.push(Case::new(
                    format!("made: directories {base}; {publish}; {}", nearer.replace('\n', " ")),
                    &files,
                ));
            }
        }
    }
    cases
}

/// Every line of `_redirects` that can be made of these parts, a file for each two of them.
fn redirects() -> Vec<Case> {
    const FROM: [&str; 7] =
        ["/a", "/a/*", "/a/:b/*", "https://x.example/a/*", "http://a b", "/.netlify/a", "https://x.example/.netlify/a"];
    const TO: [&str; 7] = ["", "/b", "/b/:splat?q=:q", "https://y.example:8443/:splat", "b", "b.html /b", "/b#here"];
    const QUERY: [&str; 4] = ["", "id=:id", "id", "a=1 b=2=3 c="];
    const STATUS: [&str; 9] = ["", "200", "200!", "301", "404!", "200x", "x", "Country=de", "302 #Country=de"];
    const CONDITION: [&str; 5] =
        ["", "Country=de,us", "language=en Role=admin,,editor", "Cookie=a,b Other=1", "country=at Country=ch x"];
    let mut cases = Vec::new();
    for from in FROM {
        for to in TO {
            let mut text = String::new();
            for query in QUERY {
                for status in STATUS {
                    for condition in CONDITION {
                        writeln!(text, "{from}  {query}\t{to} {status} {condition}").unwrap();
                    }
                }
            }
            let toml = "[[redirects]]\nfrom = \"/a\"\nto = \"/b\"\nstatus = 200\nforce = true\n";
            let files = [("netlify.toml", toml), ("_redirects", text.as_str())];
            cases.push(Case::new(format!("made: redirects from `{from}` to `{to}`"), &files));
        }
    }
    cases
}

/// Every order of these lines of `_headers`, with the same rule in the file or not.
fn headers() -> Vec<Case> {
    const LINES: [&str; 6] = ["/a", "  X-One: 1", "/b/*", "X-One:2 ,3", "  : x", "x-two: \n# comment\n  X-Two: a:b"];
    let mut cases = Vec::new();
    for (first, a) in LINES.iter().enumerate() {
        for b in LINES {
            for c in LINES {
                let text = format!("{a}\n{b}\n{c}\n{b}\n{a}\n");
                let toml = "[[headers]]\nfor = \"/a\"\n[headers.values]\nX-One = \"1\"\n";
                let files = [("netlify.toml", toml), ("_headers", text.as_str())];
                let name = format!("made: headers {first} `{b}` `{c}`").replace('\n', " ");
                cases.push(Case::new(name, &files));
            }
        }
    }
    cases
}
