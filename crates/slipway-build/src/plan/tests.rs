//! Plans of small trees.
