//! Entry point of the Lambda function `precompile`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::precompile::main()
}
