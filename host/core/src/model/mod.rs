//! Values that all modules share. They hold data and the checks that belong to it. They call no port and no rules.

pub mod access;
pub mod appointment;
pub mod channel;
pub mod context;
pub mod descriptor;
pub mod event;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod plan;
pub mod time;
