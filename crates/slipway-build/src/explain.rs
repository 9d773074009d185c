//! A plan in the words of a phase log.

use slipway_types::Plan;

/// One line per decision with where it comes from, then what is kept between builds.
pub fn explain(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> =
        plan.reasons.iter().map(|reason| format!("{} ({})", reason.decided, reason.from)).collect();
    if !plan.cache_dirs.is_empty() {
        lines.push(format!("kept between builds: {}", plan.cache_dirs.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use crate::tree::tests::listing;
    use slipway_types::ServiceSettings;

    #[test]
    fn a_plan_explains_itself() {
        let tree = listing(&[
            (
                "package.json",
                "{\"scripts\":{\"build\":\"next build\",\"start\":\"next start\"},\"dependencies\":{\"next\":\"16\"}}",
            ),
            ("package-lock.json", "{}"),
        ]);
        let lines = super::explain(&crate::plan(&tree, &ServiceSettings::default()).unwrap());
        assert_eq!(
            lines,
            [
                "Next.js (the dependency `next` in `package.json`)",
                "Node.js 24 (nothing asks for a version: the long-term support line)",
                "npm (`package-lock.json`)",
                "install: `npm ci --include=dev --no-audit --no-fund` (exactly what `package-lock.json` says)",
                "build: `npm run build` (the script `build` in `package.json`)",
                "start: `export PATH=\"$PWD/node_modules/.bin:$PATH\"; exec next start` (the script `start` in `package.json`)",
                "kept between builds: .next/cache, node_modules/.cache",
            ]
        );
    }
}
