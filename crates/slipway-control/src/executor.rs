//! exec
pub(crate) mod fleet;
pub(crate) mod journal;
pub(crate) mod route;
pub(crate) mod work;
