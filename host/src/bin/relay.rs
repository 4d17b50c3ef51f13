//! Entry point of the Lambda function `relay`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::relay::main()
}
