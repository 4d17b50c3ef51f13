//! Entry point of the Lambda function `wake`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::run_function(citas::lambda::wake::run())
}
