//! What the text of a configuration file such as `vite.config.ts` says. Such a file is a program, and it is never run:
//! only plain literal values in it are understood. What is computed is told apart from what is absent, so that
//! nobody takes one for the other.

mod token;

use crate::tree::Tree;
use token::{Token, tokens};

/// The configuration file of a tool, if there is one.
#[derive(Debug, Default)]
pub(super) struct Config<'t> {
    /// Path relative to the tree's top; empty when there is no such file.
    pub(super) path: String,
    tokens: Vec<Token<'t>>,
}

/// What a key is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'t> {
    Absent,
    /// A string without escapes, a number, `true` or `false`.
    Literal(&'t str),
    /// Anything else.
    Computed,
}

/// A directory that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) path: String,
    /// It starts at the configuration's own directory, whatever else is set.
    pub(super) is_absolute: bool,
}

impl<'t> Value<'t> {
    pub(super) fn literal(self) -> Option<&'t str> {
        match self {
            Value::Literal(text) => Some(text),
            Value::Absent | Value::Computed => None,
        }
    }

    pub(super) fn is(self, literal: &str) -> bool {
        self.literal() == Some(literal)
    }
}

/// Endings of configuration files that are programs.
const ENDINGS: [&str; 6] = ["ts", "mts", "mjs", "js", "cjs", "cts"];

impl<'t> Config<'t> {
    /// The file `<stem>.ts`, `<stem>.mjs` and so on in the tree's directory; an empty one when there is none.
    pub(super) fn of(tree: &Tree<'t>, stem: &str) -> Self {
        let found = ENDINGS.iter().map(|ending| format!("{stem}.{ending}")).find_map(|name| {
            let text = tree.text(&name)?;
            Some(Self { path: tree.path(&name), tokens: tokens(text) })
        });
        found.unwrap_or_default()
    }

    pub(super) fn exists(&self) -> bool {
        !self.path.is_empty()
    }

    /// The value at a path of keys from the outermost object inwards; calls around an object don't count, so that
    /// `defineConfig({ build: { outDir: "x" } })` has `["build", "outDir"]`.
    pub(super) fn value(&self, keys: &[&str]) -> Value<'t> {
        self.find(|chain, key| {
            let Some((last, before)) = keys.split_last() else { return false };
            key == *last && chain == before
        })
    }

    /// The value of a key, wherever it stands.
    pub(super) fn anywhere(&self, key: &str) -> Value<'t> {
        self.find(|_, found| found == key)
    }

    /// Whether a string is exactly `text`, such as the name of an imported module.
    pub(super) fn has_string(&self, text: &str) -> bool {
        self.tokens.contains(&Token::Text(text))
    }

    /// A directory, also one that is put together from the configuration's own: `path.resolve(__dirname, "web", "x")`.
    /// What is computed otherwise is none.
    pub(super) fn directory(&self, keys: &[&str]) -> Option<Directory> {
        let (last, before) = keys.split_last()?;
        let at = self.place(|chain, key| key == *last && chain == before)?;
        if let Value::Literal(text) = self.value_at(at) {
            return Some(Directory { path: text.to_owned(), is_absolute: false });
        }
        let rest = self.tokens.get(at..)?;
        let call = rest.iter().position(|token| *token == Token::Mark('('))?;
        let is_join = matches!(rest.get(call.checked_sub(1)?)?, Token::Word("resolve" | "join"));
        let base = rest.get(call + 1..)?.iter().position(|token| *token == Token::Mark(','))?;
        let own = rest.get(call + 1..call + 1 + base)?;
        let is_own = own.last() == Some(&Token::Word("__dirname")) || own.last() == Some(&Token::Word("dirname"));
        let mut parts = Vec::new();
        for token in rest.get(call + 2 + base..)?.iter().filter(|_| is_join && is_own) {
            match token {
                Token::Text(part) => parts.push(*part),
                Token::Mark(',') => {}
                Token::Mark(')') => return Some(Directory { path: parts.join("/"), is_absolute: true }),
                _ => return None,
            }
        }
        None
    }

    /// The first argument of a method's call, such as `setOutputDirectory("x")`.
    pub(super) fn argument(&self, method: &str) -> Value<'t> {
        let call = self.tokens.windows(2).position(|pair| pair == [Token::Word(method), Token::Mark('(')]);
        call.map_or(Value::Absent, |at| self.value_at(at + 2))
    }

    /// The strings of a list such as `prerender: ["/", "/about"]`; None when it is no list of plain strings.
    pub(super) fn list(&self, key: &str) -> Option<Vec<&'t str>> {
        let at =
            self.tokens.windows(3).position(|three| three == [Token::Word(key), Token::Mark(':'), Token::Mark('[')]);
        let mut items = Vec::new();
        for token in self.tokens.get(at? + 3..)? {
            match token {
                Token::Text(text) => items.push(*text),
                Token::Mark(',') => {}
                Token::Mark(']') => return Some(items),
                _ => return None,
            }
        }
        None
    }

    fn find(&self, wanted: impl Fn(&[&str], &str) -> bool) -> Value<'t> {
        self.place(wanted).map_or(Value::Absent, |at| self.value_at(at))
    }

    /// Where the value of the first key stands that is wanted.
    fn place(&self, wanted: impl Fn(&[&str], &str) -> bool) -> Option<usize> {
        // One entry for each open bracket: the key whose object it is, where it has one.
        let mut open: Vec<Option<&str>> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Mark('{') => open.push(self.key_before(at)),
                Token::Mark('(' | '[') => open.push(None),
                Token::Mark('}' | ')' | ']') => {
                    open.pop();
                }
                Token::Word(key) | Token::Text(key) => {
                    let chain: Vec<&str> = open.iter().copied().flatten().collect();
                    if let Some(value) = self.value_index(at).filter(|_| wanted(&chain, key)) {
                        return Some(value);
                    }
                }
                Token::Mark(_) | Token::Computed => {}
            }
        }
        None
    }

    /// `build: {` has the key `build` before its bracket.
    fn key_before(&self, bracket: usize) -> Option<&'t str> {
        let before = self.tokens.get(bracket.checked_sub(2)?..bracket)?;
        match before {
            [Token::Word(key) | Token::Text(key), Token::Mark(':')] => Some(key),
            _ => None,
        }
    }

    /// Where the value of the key at `at` stands: after `{ key:`, `, key:` or `.key =`.
    fn value_index(&self, at: usize) -> Option<usize> {
        let before = at.checked_sub(1).and_then(|before| self.tokens.get(before));
        match (before?, self.tokens.get(at + 1)?) {
            (Token::Mark('{' | ','), Token::Mark(':')) | (Token::Mark('.'), Token::Mark('=')) => Some(at + 2),
            _ => None,
        }
    }

    fn value_at(&self, at: usize) -> Value<'t> {
        let literal = match self.tokens.get(at) {
            None => return Value::Absent,
            Some(Token::Text(text)) => *text,
            Some(Token::Word(word)) if is_plain_word(word) => *word,
            Some(_) => return Value::Computed,
        };
        match self.tokens.get(at + 1) {
            None | Some(Token::Mark(',' | '}' | ')' | ']' | ';')) => Value::Literal(literal),
            // A line's end without a semicolon, or a type behind the value.
            Some(Token::Word(word)) if matches!(*word, "as" | "satisfies" | "export" | "module" | "const") => {
                Value::Literal(literal)
            }
            Some(_) => Value::Computed,
        }
    }
}

fn is_plain_word(word: &str) -> bool {
    matches!(word, "true" | "false") || word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config<'_> {
        Config { path: "x.config.ts".to_owned(), tokens: tokens(text) }
    }

    #[test]
    fn only_a_plain_value_counts() {
        for (text, value) in [
            ("const c = { output: 'standalone' }", Value::Literal("standalone")),
            ("const c = {\n  \"output\" : \"export\",\n}", Value::Literal("export")),
            ("const c: Config = { output: 'export' as const }", Value::Literal("export")),
            ("// output: 'standalone'\nexport default {}", Value::Absent),
            ("/**\n * { output: 'standalone' }\n */", Value::Absent),
            ("{ outputFileTracingRoot: 'x' }", Value::Absent),
            ("{ output: process.env.X ? 'standalone' : undefined }", Value::Computed),
            ("{ output: prod ? { output: 'a' } : 'b' }", Value::Computed),
            ("{ my_output: 'standalone' }", Value::Absent),
            ("{ webpack: { output: 'x' } }", Value::Absent),
            ("{ re: /[/'{]/, output: 'export' }", Value::Literal("export")),
            ("{ a: `{${b + `}`}`, output: 'export' }", Value::Literal("export")),
            ("nextConfig.output = 'export'\nmodule.exports = nextConfig", Value::Literal("export")),
            ("{ output: `out` }", Value::Literal("out")),
            ("{ output: `out${x}` }", Value::Computed),
        ] {
            assert_eq!(config(text).value(&["output"]), value, "{text}");
        }
    }

    #[test]
    fn keys_are_found_by_their_path() {
        let vite = config(
            "export default defineConfig(({ mode }) => ({ server: { outDir: 'no' }, build: { outDir: 'web', lib: {} } }))",
        );
        assert_eq!(vite.value(&["build", "outDir"]), Value::Literal("web"));
        assert_eq!(vite.value(&["outDir"]), Value::Absent);
        assert_eq!(vite.value(&["build", "lib"]), Value::Computed);
        let svelte = config(
            "import a from '@sveltejs/adapter-static'; export default { kit: { adapter: a({ fallback: '200.html' }) } }",
        );
        assert!(svelte.has_string("@sveltejs/adapter-static"));
        assert_eq!(svelte.anywhere("fallback"), Value::Literal("200.html"));
        assert_eq!(config("e.setOutputDirectory('dist');").argument("setOutputDirectory"), Value::Literal("dist"));
        assert_eq!(config("{ prerender: ['/', \"/a\",], x: 1 }").list("prerender"), Some(vec!["/", "/a"]));
        assert_eq!(config("{ prerender: ['/', f()] }").list("prerender"), None);
    }

    #[test]
    fn directories_are_put_together() {
        for (value, path) in [
            ("'web'", Some(("web", false))),
            ("path.resolve(__dirname, 'dist/public')", Some(("dist/public", true))),
            ("join(import.meta.dirname, '..', 'web')", Some(("../web", true))),
            ("path.resolve('web')", None),
            ("path.resolve(__dirname, out)", None),
            ("f(__dirname, 'x')", None),
        ] {
            let text = format!("export default {{ build: {{ outDir: {value}, x: 1 }} }}");
            let found = config(&text).directory(&["build", "outDir"]);
            let found = found.as_ref().map(|directory| (directory.path.as_str(), directory.is_absolute));
            assert_eq!(found, path, "{value}");
        }
    }
}
