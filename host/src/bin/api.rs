//! Entry point of the Lambda function `api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::run_function(citas::lambda::api::run())
}
