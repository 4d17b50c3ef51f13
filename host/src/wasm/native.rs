//! Native code: what the compiler makes of a component, and the one place where such code is taken into this process.
#![expect(unsafe_code, reason = "native code is run as it is; whether it may be is argued where it is loaded")]

use citas_core::ports::rules::Refusal;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::first_line;

/// The wasmtime that makes the code and loads it.
const VERSION: &str = "48.0.8";

/// Rises with every change of the engine's settings that changes the code it makes or can load.
const SETTINGS: u32 = 3;

/// The system that code is made for, with this program's processor: Lambda's.
#[cfg(target_arch = "aarch64")]
const TARGET: &str = "aarch64-unknown-linux-gnu";
#[cfg(target_arch = "x86_64")]
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// All that decides which code an engine can load.
pub(super) fn name() -> String {
    format!("wasmtime-{VERSION}-{TARGET}-{SETTINGS}")
}

/// The same for code that an engine makes for this very machine: its processor and every setting are in the hash.
#[cfg(feature = "compiler")]
pub(super) fn name_here(engine: &Engine) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}", name(), hasher.finish())
}

/// Code for every processor of the target, whatever this one can do beyond that.
#[cfg(feature = "compiler")]
pub(super) fn portable(config: &mut wasmtime::Config) -> wasmtime::Result<()> {
    config.target(TARGET).map(|_| ())
}

pub(super) fn load(engine: &Engine, code: &[u8]) -> Result<Component, Refusal> {
    // SAFETY: wasmtime runs what it is given here as it is, so these bytes must be what Citas's own compiler made. They come
    // from one of three places.
    // - `NativeCodeStore`, by the caller's contract (`Engine::load_native`): only Citas's own compiler can write its prefix, and it
    //   gives back the bytes that were put, by their digest.
    // - A process that judges (`judge.rs`): this program itself, which this process has started, and whose answer comes over
    //   a pipe that nobody else has. It gives the SHA-256 of the code, which is checked over the bytes that came. A component
    //   that took over that process could give code of its own; it runs as this user either way, so what keeps it from that
    //   is, as for a component in this process, wasmtime's compiler and its sandbox. That process in its turn loads code
    //   only from the host that started it.
    // - This host's own store (`cached.rs`): its folder is used only while this process's user owns it and nobody else can
    //   enter it or put another in its place, so whoever can write there can be this user anyway. A file that a disk or a
    //   crash has changed is not taken either: a SHA-256 over the component's digest and the code stands before the code.
    // All check the bytes in memory, and those bytes are loaded, so nobody can change them in between. wasmtime itself
    // refuses code of another version, target or configuration.
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
