//! Entry point of the Lambda function `notifier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::run_function(citas::lambda::notifier::run())
}
