//! The function `api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::lambda::api::main()
}
