//! What the host promises, tested from outside.

mod chaos;
mod measure;
mod support;
