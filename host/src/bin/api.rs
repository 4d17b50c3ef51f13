//! The function `api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::functions::api::main()
}
