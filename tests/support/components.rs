//! Components that the tests load, each built once per run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use citas::toolkit::CountryFolder;
use citas::wasm::judge::ChildJudge;
use citas::wasm::{ChildAdmission, WasmEngine};
use citas_core::model::{Limits, digest};
use citas_core::ports::{Engine, Refusal, Rules};
use citas_core::release::{Admission, InProcess};
use citas_kit::AppointmentRules as _;

/// Returns the engine that the tests share, as all countries of a host do.
pub fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(|| WasmEngine::new().unwrap())
}

/// Returns the folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns a country's folder: `pe`, `cl`, `co`, `xx`, the chaos country, or `ut` and `ut2`, one country on the bindings of contract
/// 1.0.0 and of 2.0.0.
pub fn folder(country: &str) -> PathBuf {
    match country {
        "xx" => root().join("tests/chaos"),
        "ut" => root().join("tests/contract_1"),
        "ut2" => root().join("tests/contract_2"),
        country => root().join("countries").join(country),
    }
}

/// Returns a country's component.
pub fn component(country: &str) -> &'static [u8] {
    static PE: OnceLock<Vec<u8>> = OnceLock::new();
    static CL: OnceLock<Vec<u8>> = OnceLock::new();
    static CO: OnceLock<Vec<u8>> = OnceLock::new();
    static UT: OnceLock<Vec<u8>> = OnceLock::new();
    static UT2: OnceLock<Vec<u8>> = OnceLock::new();
    let built = match country {
        "pe" => &PE,
        "cl" => &CL,
        "co" => &CO,
        "ut" => &UT,
        "ut2" => &UT2,
        _ => return chaos(),
    };
    built.get_or_init(|| built_with(&folder(country), &[]))
}

/// Returns the version of a country's component.
pub fn version(country: &str) -> String {
    match country {
        "pe" => citas_pe::Peru::describe().unwrap().version,
        "cl" => citas_cl::Chile::describe().unwrap().version,
        "co" => citas_co::Colombia::describe().unwrap().version,
        "ut2" => "2.0.0".into(),
        _ => "1.0.0".into(),
    }
}

/// An engine that compiles a component once, however many hosts of the tests load it.
pub struct SharedEngine;

impl Engine for SharedEngine {
    fn load(&self, component: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        static LOADED: OnceLock<Mutex<HashMap<String, Arc<dyn Rules>>>> = OnceLock::new();
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap();
        let name = format!("{} {limits:?}", digest(component));
        if let Some(rules) = loaded.get(&name) {
            return Ok(rules.clone());
        }
        let rules = engine().load(component, limits)?;
        loaded.insert(name, rules.clone());
        Ok(rules)
    }

    fn load_native(&self, code: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        engine().load_native(code, limits)
    }

    fn name(&self) -> &str {
        engine().name()
    }
}

/// Returns an admission that judges in this process and compiles a component once.
pub fn admission() -> Arc<dyn Admission> {
    Arc::new(InProcess::new(SharedEngine))
}

/// Returns a judge that starts the program.
pub fn judge() -> ChildJudge {
    ChildJudge::new(Path::new(env!("CARGO_BIN_EXE_citas")))
}

/// Returns an admission that judges as a host does and keeps accepted code in the data folder.
pub fn child_admission(data: &Path) -> Arc<dyn Admission> {
    Arc::new(ChildAdmission::new(WasmEngine::new().unwrap(), judge(), data))
}

/// Returns the well-behaved build of the chaos country.
pub fn chaos() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| chaos_with(&[]))
}

/// Builds the chaos country with these faults of the whole component.
pub fn chaos_with(features: &[&str]) -> Vec<u8> {
    built_with(&folder("xx"), features)
}

/// Builds one component at a time, because cargo puts all builds of a package's component in the same place.
pub fn built_with(folder: &Path, features: &[&str]) -> Vec<u8> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock();
    CountryFolder::open(folder).unwrap().build(features).unwrap_or_else(|error| panic!("{error}"))
}

/// Loads another copy of the chaos country.
pub fn loaded_chaos() -> Arc<dyn Rules> {
    engine().load(chaos(), &Limits::default()).unwrap()
}
