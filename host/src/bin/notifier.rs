//! The function `notifier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::functions::notifier::main()
}
