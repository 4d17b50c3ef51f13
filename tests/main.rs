//! What the host promises, tested from outside.

mod chaos;
mod support;
