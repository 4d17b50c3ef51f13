//! Entry point of the Lambda function `trial`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::run_function(citas::lambda::trial::run())
}
