//! Helpers that several suites use.

pub mod appointments;
pub mod chance;
pub mod components;
pub mod eventually;
pub mod faults;
pub mod former;
pub mod golden;
pub mod host;
pub mod hostile;
pub mod http;
pub mod kill_switch;
pub mod lambda;
pub mod languages;
pub mod mail;
pub mod memory_group;
pub mod ministack;
pub mod patience;
pub mod process;
pub mod requests;
pub mod set_clock;
pub mod table;
pub mod workspace;
