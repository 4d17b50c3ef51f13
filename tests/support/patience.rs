//! Tests that compute for minutes beside others that measure time.

use rustix::process::setpriority_process;

/// Lowest priority of a thread on Linux.
const LOWEST: i32 = 19;

/// Lets the threads of other tests run first. The threads that this one starts from now on inherit that.
pub fn let_others_run_first() {
    setpriority_process(None, LOWEST).expect("everybody may lower a priority");
}
