//! Names and loads native code, the compiler's output for a component. No other module loads such code into this
//! process.
#![expect(unsafe_code, reason = "native code is run as it is; whether it may be is argued where it is loaded")]

use citas_core::ports::Refusal;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::first_line;

/// Version of the wasmtime that compiles the code and loads it.
const VERSION: &str = "48.0.8";

/// Revision of the engine's settings. Raise it with every change of them that affects the code that the engine compiles
/// or can load.
const SETTINGS: u32 = 3;

/// Target of the code: Lambda's operating system on this program's processor architecture.
#[cfg(target_arch = "aarch64")]
const TARGET: &str = "aarch64-unknown-linux-gnu";
#[cfg(target_arch = "x86_64")]
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Returns a name for everything that decides which code an engine can load.
pub(super) fn name() -> String {
    format!("wasmtime-{VERSION}-{TARGET}-{SETTINGS}")
}

/// Returns a name for the code that an engine compiles for this machine only. The hash covers its processor and every
/// setting.
#[cfg(feature = "compiler")]
pub(super) fn name_here(engine: &Engine) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}", name(), hasher.finish())
}

/// Compiles for every processor of the target, without the features that only some of them have.
#[cfg(feature = "compiler")]
pub(super) fn portable(config: &mut wasmtime::Config) -> wasmtime::Result<()> {
    config.target(TARGET).map(|_| ())
}

pub(super) fn load(engine: &Engine, code: &[u8]) -> Result<Component, Refusal> {
    // SAFETY: wasmtime executes these bytes without checking them, so Citas's own compiler must have made them. They
    // come from one of three sources.
    // - `NativeCodeStore`, by the contract of `Engine::load_native`: only Citas's own compiler can write its prefix,
    //   and the store returns the bytes that were put, by their digest.
    // - A process that judges (`judge/mod.rs`): this program itself, started by this process, which reports over a pipe
    //   that no other process has. It reports the SHA-256 of the code, and the host checks the received bytes against
    //   it. A component that takes over that process could send code of its own. That process runs as this user either
    //   way, so the protection is the one for a component in this process: wasmtime's compiler and its sandbox. That
    //   process in turn loads code only from the host that started it.
    // - This host's own cache (`cache.rs`): its folder is used only while this process's user owns it and nobody else
    //   can enter or replace it, so anyone who can write there can act as this user anyway. A file that a disk or a
    //   crash has changed is refused: a SHA-256 over the component's digest and the code precedes the code.
    // All three check the bytes in memory, and exactly those bytes are loaded, so nobody can change them in between.
    // wasmtime itself refuses code of another version, target or configuration.
    unsafe { Component::deserialize(engine, code) }.map_err(|cause| Refusal::NotAComponent(first_line(&cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_which_wasmtime_it_is() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{VERSION}\"\n")));
    }
}
