//! Components that the tests load, each built once for the whole run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use citas::rules::{CountryFolder, WasmEngine};
use citas_core::rules::{Engine, Rules};

/// The engine that the tests share, as the host has one for all countries.
pub fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(|| WasmEngine::new().unwrap())
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The decent build of the chaos country.
pub fn chaos() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| chaos_with(&[]))
}

/// The chaos country with something wrong with the whole component.
pub fn chaos_with(features: &[&str]) -> Vec<u8> {
    let folder = CountryFolder::open(&root().join("tests/chaos")).unwrap();
    folder.build(features).unwrap_or_else(|error| panic!("{error}"))
}

/// The chaos country, loaded anew.
pub fn loaded_chaos() -> Arc<dyn Rules> {
    engine().load(chaos()).unwrap()
}
