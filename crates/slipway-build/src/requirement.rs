//! Variables that a source says its build needs. The source names them; to give them is their owner's alone, or any branch
//! could ask for any secret.

use crate::diagnosis::entry::MISSING_BUILD_VARIABLE;
use slipway_types::{Diagnosis, ServiceSettings};

/// To whom a variable was given by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    ToBuilds,
    ToTheApp,
    /// There is none of that name.
    Nowhere,
}

/// Refuses a build that lacks a variable of `build.variables`, before anything of it runs.
///
/// # Errors
/// The diagnosis of the first that is missing.
pub fn check_build_variables(said: &ServiceSettings, given: impl Fn(&str) -> Given) -> Result<(), Diagnosis> {
    for name in &said.build_variables {
        let why = match given(name) {
            Given::ToBuilds => continue,
            Given::ToTheApp => {
                format!("`{name}` is given to the running app only: its owner has not given it to builds")
            }
            Given::Nowhere => format!("the service has no variable `{name}`"),
        };
        return Err(MISSING_BUILD_VARIABLE
            .diagnosis(format!("the build needs the variable `{name}`, which it is not given"))
            .at("the setting `build.variables`")
            .because(why)
            .hint(format!("`slipway env set {name} --build-only --secret --stdin`, then `slipway redeploy`"))
            .hint("`--build` in place of `--build-only` when the app needs it too"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_missing_is_named() {
        let said = ServiceSettings { build_variables: vec!["A".into(), "B".into(), "C".into()], ..Default::default() };
        let refusal = |b, c| {
            check_build_variables(&said, |name| match name {
                "A" => Given::ToBuilds,
                "B" => b,
                _ => c,
            })
        };
        assert_eq!(refusal(Given::ToBuilds, Given::ToBuilds), Ok(()));
        let why = refusal(Given::ToTheApp, Given::Nowhere).unwrap_err().why;
        assert!(why.contains("`B` is given to the running app only"), "{why}");
        assert_eq!(refusal(Given::ToBuilds, Given::Nowhere).unwrap_err().why, "the service has no variable `C`");
    }
}
