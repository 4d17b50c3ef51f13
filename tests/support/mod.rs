//! What several suites need.

pub mod appointments;
pub mod chance;
pub mod components;
pub mod eventually;
pub mod faults;
pub mod golden;
pub mod host;
pub mod hostile;
pub mod http;
pub mod languages;
pub mod mail;
pub mod ministack;
pub mod process;
pub mod requests;
pub mod workspace;
