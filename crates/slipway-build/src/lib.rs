//! Source tree to plan, failure evidence to diagnosis; pure.
