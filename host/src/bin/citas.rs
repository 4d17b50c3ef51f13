//! The command `citas`.

use std::process::ExitCode;

/// With many threads that allocate for one another, glibc's waits for its locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    citas::command::main()
}
