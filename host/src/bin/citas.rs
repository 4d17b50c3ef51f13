//! Entry point of the command `citas`.

use std::process::ExitCode;

/// Replaces glibc's allocator, which waits for its locks when many threads allocate memory for one another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    citas::command::main()
}
