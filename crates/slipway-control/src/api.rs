//! api
mod body;
mod guard;
mod stream;
