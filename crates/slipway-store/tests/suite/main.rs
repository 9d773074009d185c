//! The store against real database files.

mod fixture;
mod history;
mod integrity;
mod progress;
mod service;
mod speed;
