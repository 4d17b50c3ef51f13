//! The function `precompile`.

use std::process::ExitCode;

fn main() -> ExitCode {
    citas::functions::precompile::main()
}
