//! The path of a header rule, with `:name` for one part and `*` for anything, also in the middle of a part.

use crate::percent;

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    /// One part of a path.
    Part,
    /// A part ends here.
    End,
}

/// Tokens between stars: one more run than there are stars.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Glob {
    runs: Vec<Vec<Token>>,
    /// The first part, when it is literal.
    first: Option<String>,
}

impl Glob {
    pub(super) fn parse(path: &str) -> Self {
        let mut runs = Vec::new();
        let mut run = Vec::new();
        let parts = || path.split('/').map(str::trim_end).filter(|part| !part.is_empty());
        for part in parts() {
            if part == "*" {
                run.push(Token::End);
                runs.push(std::mem::take(&mut run));
                continue;
            }
            push_text(&mut run, "/");
            if part.starts_with(':') {
                run.push(Token::Part);
                continue;
            }
            for (index, text) in part.split('*').enumerate() {
                if index > 0 {
                    runs.push(std::mem::take(&mut run));
                }
                push_text(&mut run, &decoded(text));
            }
        }
        runs.push(run);
        let first = match parts().next() {
            None => Some(String::new()),
            Some(part) if part.starts_with(':') || part.contains('*') => None,
            Some(part) => decoded(part).split('/').next().map(str::to_owned),
        };
        Self { runs, first }
    }

    /// The whole path, when nothing else matches.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.runs.as_slice() {
            [run] => match run.as_slice() {
                [] => Some(""),
                [Token::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// What [`first_part`] of every path that matches is, if that is known.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Matching takes no longer than reading the path does: a text after a star is found in one search.
    pub(super) fn is_cheap(&self) -> bool {
        self.runs.iter().skip(1).all(|run| matches!(run.as_slice(), [] | [Token::Text(_)]))
    }

    /// `path` is decoded, lower case, without its last slash; the root is empty.
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some((last, runs)) = self.runs.split_last() else { return false };
        let Some((first, middle)) = runs.split_first() else { return end_of(last, path, 0) == Some(path.len()) };
        let Some(mut at) = end_of(first, path, 0) else { return false };
        for run in middle {
            // The earliest place leaves the most room for the rest.
            let Some(end) = places(run, path, at).find_map(|start| end_of(run, path, start)) else { return false };
            at = end;
        }
        match last.as_slice() {
            [] => true,
            [Token::Text(text)] => path.get(at..).is_some_and(|rest| rest.ends_with(text.as_str())),
            _ => places(last, path, at).any(|start| end_of(last, path, start) == Some(path.len())),
        }
    }
}

/// Of a path as [`Glob::matches`] takes it.
pub(super) fn first_part(path: &str) -> &str {
    path.strip_prefix('/').and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn decoded(text: &str) -> String {
    percent::decode_or_keep(text).to_lowercase()
}

/// Texts that follow each other are one, so that it is found in one search.
fn push_text(run: &mut Vec<Token>, text: &str) {
    match run.last_mut() {
        Some(Token::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => run.push(Token::Text(text.to_owned())),
    }
}

/// Where `run` may begin, from `at` on. Also places that overlap: `aa` is in `aaa` twice.
fn places<'a>(run: &'a [Token], path: &'a str, at: usize) -> impl Iterator<Item = usize> + 'a {
    let text = match run.first() {
        Some(Token::Text(text)) => text.as_str(),
        _ => "",
    };
    let find = move |from: usize| path.get(from..).and_then(|rest| rest.find(text)).map(|offset| from + offset);
    let next = move |found: &usize| path[*found..].chars().next().and_then(|c| find(found + c.len_utf8()));
    std::iter::successors(find(at), next)
}

/// Where a run that begins at `at` ends; None: it does not fit there.
fn end_of(run: &[Token], path: &str, mut at: usize) -> Option<usize> {
    for token in run {
        let rest = path.as_bytes().get(at..)?;
        match token {
            Token::Text(text) => at += rest.starts_with(text.as_bytes()).then_some(text.len())?,
            Token::Part => {
                let length = rest.iter().take_while(|byte| **byte != b'/').count();
                at += (length > 0).then_some(length)?;
            }
            Token::End => {
                if !matches!(rest.first(), None | Some(b'/')) {
                    return None;
                }
            }
        }
    }
    Some(at)
}
