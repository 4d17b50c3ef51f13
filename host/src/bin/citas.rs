//! The command `citas`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::command::main()
}
