//! Entry point of the Lambda function `relay`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::run_function(citas::lambda::relay::run())
}
