//! What the text of `next.config.*` says. The file is a program; only a plain `output: "…"` in it is understood.

use super::framework::NEXT;
use super::node::Project;

const CONFIG_FILES: [&str; 5] =
    ["next.config.ts", "next.config.mts", "next.config.mjs", "next.config.js", "next.config.cjs"];

/// Start of the standalone server, relative to the service's root.
pub(super) const STANDALONE_START: &str = "node .next/standalone/server.js";

/// `next build` leaves these out of the standalone directory, because a CDN could serve them; here the server does.
pub(super) const STANDALONE_COPY: &str = "mkdir -p .next/standalone/.next && cp -R .next/static .next/standalone/.next/ && { [ ! -d public ] || cp -R public .next/standalone/; }";

/// The value of `output` in the configuration.
pub(super) fn output<'t>(project: &Project<'t>) -> Option<(&'static str, &'t str)> {
    project.framework.filter(|framework| framework.name == NEXT)?;
    CONFIG_FILES.into_iter().find_map(|name| Some((name, output_in(project.tree.text(name)?)?)))
}

/// Whether the build leaves `.next/standalone/server.js` behind. In a workspace it lies deeper, at a place that
/// `outputFileTracingRoot` decides: there `next start` is used.
pub(super) fn is_standalone(project: &Project<'_>) -> bool {
    let alone = project.packages.directory.directory() == project.tree.directory();
    let moved = CONFIG_FILES
        .iter()
        .filter_map(|name| project.tree.text(name))
        .any(|text| ["distDir", "outputFileTracingRoot", "turbopack"].iter().any(|key| text.contains(key)));
    alone
        && !moved
        && project.settings.build_command.is_none()
        && output(project).is_some_and(|(_, value)| value == "standalone")
}

fn output_in(text: &str) -> Option<&str> {
    text.match_indices("output").find_map(|(at, word)| {
        let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = &text[line_start..at];
        let is_own_word = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.'));
        if !is_own_word || before.contains("//") || before.trim_start().starts_with('*') {
            return None;
        }
        let rest = text[at + word.len()..].trim_start_matches(['"', '\'']).trim_start();
        let rest = rest.strip_prefix(':')?.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
        rest[1..].split(quote).next()
    })
}

#[cfg(test)]
mod tests {
    use super::output_in;

    #[test]
    fn only_a_plain_value_counts() {
        for (text, value) in [
            ("const c = { output: 'standalone' }", Some("standalone")),
            ("const c = {\n  \"output\" : \"export\",\n}", Some("export")),
            ("// output: 'standalone'\nexport default {}", None),
            ("/**\n * output: 'standalone'\n */", None),
            ("{ outputFileTracingRoot: 'x' }", None),
            ("{ output: process.env.X ? 'standalone' : undefined }", None),
            ("{ my_output: 'standalone' }", None),
        ] {
            assert_eq!(output_in(text), value, "{text}");
        }
    }
}
