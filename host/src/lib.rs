//! The Citas host: see `docs/architecture.md`.

pub mod rules;
