//! What fails builds, most telling first.

use super::{Rule, framework, install, module, native, program, python, syntax, typescript};

pub(super) const RULES: &[Rule] = &[
    native::optional_package_missing,
    native::build_failed,
    program::client_not_generated,
    install::undeclared_dependency,
    typescript::tsconfig_missing,
    module::not_found,
    python::module_not_found,
    program::export_missing,
    program::module_format,
    framework::dynamic_route_export,
    framework::adapter_missing,
    framework::budget_exceeded,
    typescript::typescript_error,
    syntax::syntax_error,
    framework::prerender_failed,
    framework::lint_error,
];
