//! Where the answers differ on purpose. `docs/netlify.md` says the same to people.

/// A case whose answers differ, and why that is right.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) case: &'static str,
    pub(crate) why: &'static str,
}

impl Difference {
    pub(crate) fn covers(&self, case: &str) -> bool {
        self.case == case
    }
}

const FUNCTIONS: &str = "functions are recognised and not run: what is wrong with one of them stops no deployment";
const PLUGINS: &str = "plugins are recognised and not run: what is wrong with one of them stops no deployment";
const TYPES: &str = "Netlify passes on what its servers can't use; here the rule is left out with a warning";

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { case: "edge-functions-without-path @ production main", why: FUNCTIONS },
    Difference { case: "functions-bad-bundler @ production main", why: FUNCTIONS },
    Difference { case: "functions-bad-schedule @ production main", why: FUNCTIONS },
    Difference { case: "functions-directory-in-one @ production main", why: FUNCTIONS },
    Difference { case: "plugins-with-a-version-in-the-name @ production main", why: PLUGINS },
    Difference { case: "plugins-with-unknown-key @ production main", why: PLUGINS },
    Difference { case: "redirects-number-for-to @ production main", why: TYPES },
    Difference { case: "redirects-odd-status @ production main", why: TYPES },
    Difference { case: "redirects-text-for-force @ production main", why: TYPES },
    Difference {
        case: "redirects-same-but-for-the-default-status @ production main",
        why: "a rule without a status and one with 301 are the same, so only the last of them is kept",
    },
    Difference {
        case: "environment-table @ production main",
        why: "Netlify makes the text `[object Object]` of it; a mistake that is said is better",
    },
    Difference { case: "headers-bad-name @ production main", why: "no HTTP answer can carry such a name" },
    Difference {
        case: "headers-name-undefined @ production main",
        why: "Netlify takes a header called `undefined` for a missing name",
    },
    Difference {
        case: "toml-one-one @ production main",
        why: "Netlify refuses escapes that TOML has had since version 1.1",
    },
];
