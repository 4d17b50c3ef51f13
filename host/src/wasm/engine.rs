//! Turns a component's bytes into callable rules, or explains why they are refused. Knows no golden cases and makes no
//! calls.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use citas_core::model::Limits;
use citas_core::ports::{self as port, FailedCall, Refusal, Rules};
use citas_core::rules::watched;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::component;
use super::error::first_line;
use super::limits::{Bounds, CEILING, FEW_SLOTS, KEPT_RESIDENT_BYTES, POOL_SLOTS, STACK_BYTES, TICK};
use super::meter::Meter;
use super::native;
#[cfg(feature = "compiler")]
use super::static_bounds;

/// First eight bytes of every component.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// First eight bytes of every core module.
const MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// Reason why this machine cannot run rules.
#[derive(Debug, thiserror::Error)]
pub enum NoEngine {
    /// The processor or the operating system lacks something that wasmtime needs.
    #[error("wasmtime does not run here: {0}")]
    Unsupported(String),
    /// The thread of the clock that stops overlong calls does not start.
    #[error("there is no thread for the clock that stops overlong calls")]
    Ticker(#[from] std::io::Error),
}

/// Loads components and limits their resources. A process has one.
#[derive(Clone)]
pub struct WasmEngine {
    engine: Engine,
    name: String,
    meter: Option<Arc<Meter>>,
    failed: Option<SyncSender<FailedCall>>,
}

impl WasmEngine {
    /// Creates an engine for this machine and starts its clock. The clock stops when the engine and its last component
    /// are gone.
    ///
    /// # Errors
    /// Returns an error if this machine cannot run WebAssembly.
    pub fn new() -> Result<Self, NoEngine> {
        Self::with(&settings(), POOL_SLOTS)
    }

    /// Creates an engine for a process that serves one request at a time and must start fast.
    ///
    /// # Errors
    /// Returns an error if this machine cannot run WebAssembly.
    pub fn small() -> Result<Self, NoEngine> {
        Self::with(&settings(), FEW_SLOTS)
    }

    /// Creates an engine whose code runs on every machine of the same kind.
    ///
    /// # Errors
    /// Returns an error if this machine cannot run WebAssembly.
    #[cfg(feature = "compiler")]
    pub fn portable() -> Result<Self, NoEngine> {
        let mut settings = settings();
        native::portable(&mut settings).map_err(|cause| NoEngine::Unsupported(first_line(&cause)))?;
        Self::with(&settings, POOL_SLOTS)
    }

    /// Creates an engine for a process that judges one component. It reserves no memory in advance, so that the memory
    /// of the process can be limited. Its code is the same as that of every other engine.
    ///
    /// # Errors
    /// Returns an error if this machine cannot run WebAssembly.
    #[cfg(feature = "compiler")]
    pub(super) fn for_judging(portable: bool) -> Result<Self, NoEngine> {
        let unsupported = |cause| NoEngine::Unsupported(first_line(&cause));
        let mut settings = settings();
        if portable {
            native::portable(&mut settings).map_err(unsupported)?;
        }
        Self::of(Engine::new(&settings).map_err(unsupported)?)
    }

    /// Creates an engine that records the resources of each call.
    ///
    /// # Errors
    /// Returns an error if this machine cannot run WebAssembly.
    pub fn metered(meter: Arc<Meter>) -> Result<Self, NoEngine> {
        Ok(Self { meter: Some(meter), ..Self::new()? })
    }

    /// Makes the engine send each failed call to `failed`; see [`watched`].
    #[must_use]
    pub fn watched(self, failed: SyncSender<FailedCall>) -> Self {
        Self { failed: Some(failed), ..self }
    }

    fn with(settings: &Config, slots: u32) -> Result<Self, NoEngine> {
        let engine = pooled(settings.clone(), slots).or_else(|_| on_demand(settings));
        Self::of(engine.map_err(|cause| NoEngine::Unsupported(first_line(&cause)))?)
    }

    fn of(engine: Engine) -> Result<Self, NoEngine> {
        let clock = engine.weak();
        thread::Builder::new().name("rules-clock".into()).spawn(move || tick(&clock))?;
        Ok(Self { engine, name: native::name(), meter: None, failed: None })
    }

    #[cfg(any(test, feature = "compiler"))]
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes a compiled component callable. Refuses one that imports functions or does not export the contract's
    /// functions.
    pub(super) fn ready(&self, component: &Component, bounds: Bounds) -> Result<Arc<dyn Rules>, Refusal> {
        refuse_imports(&self.engine, component)?;
        self.link(component, bounds)
    }

    fn link(&self, component: &Component, bounds: Bounds) -> Result<Arc<dyn Rules>, Refusal> {
        let rules = component::link(&self.engine, component, bounds, self.meter.clone())?;
        Ok(match &self.failed {
            Some(failed) => watched(rules, failed.clone()),
            None => rules,
        })
    }
}

impl port::Engine for WasmEngine {
    fn load(&self, bytes: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        let bounds = bounds_of(bytes, limits)?;
        self.ready(&compiled(&self.engine, bytes)?, bounds)
    }

    fn load_native(&self, code: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        let bounds = Bounds::of(limits)?;
        self.link(&native::load(&self.engine, code)?, bounds)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(feature = "compiler")]
impl WasmEngine {
    /// Compiles a component in this process to native code that this engine, and every engine with the same name, can
    /// load.
    ///
    /// # Errors
    /// Returns an error if the component is refused.
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.component(component)?.serialize().map_err(|cause| Refusal::NotAComponent(first_line(&cause)))
    }

    pub(super) fn component(&self, bytes: &[u8]) -> Result<Component, Refusal> {
        compiled(&self.engine, bytes)
    }
}

/// Compiles a component. Refuses bytes that are no component, or a component over a bound, before compiling.
#[cfg(feature = "compiler")]
fn compiled(engine: &Engine, bytes: &[u8]) -> Result<Component, Refusal> {
    look_at_header(bytes)?;
    static_bounds::census(bytes)?;
    Component::new(engine, bytes).map_err(|cause| Refusal::NotAComponent(first_line(&cause)))
}

#[cfg(not(feature = "compiler"))]
fn compiled(_: &Engine, bytes: &[u8]) -> Result<Component, Refusal> {
    look_at_header(bytes)?;
    Err(Refusal::NoCompiler)
}

/// Advances the epoch until no engine is left that could be interrupted.
fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}

/// Creates an engine that reserves slots for memories and tables, each as large as the ceiling. An untouched slot takes
/// only address space. Fails where the address space is limited (`ulimit -v`, some sandboxes).
fn pooled(mut config: Config, slots: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots)
        .total_gc_heaps(0)
        .max_unused_warm_slots(slots)
        .max_memory_size(most(CEILING.memory))
        .table_elements(most(CEILING.table))
        .linear_memory_keep_resident(KEPT_RESIDENT_BYTES)
        .table_keep_resident(KEPT_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

fn most(ceiling: u64) -> usize {
    usize::try_from(ceiling).expect("a ceiling is far below what this machine can address")
}

fn on_demand(config: &Config) -> wasmtime::Result<Engine> {
    tracing::warn!("no address space for a pool of instances; each call maps its own memory, and takes longer");
    Engine::new(config)
}

/// Returns the settings that decide what a component computes and when it is stopped. They are the same on every
/// machine.
///
/// Compiled code compares each address with the size of the memory. By default wasmtime lets the processor trap on
/// pages without access instead. Those pages would have to be unlocked and locked again with every call, because every
/// call grows its memory, and the kernel does that for one thread of a process at a time: it took a third of a call.
///
/// Nobody reads a backtrace through a guest's frames, so the data for one is neither generated nor kept in memory.
///
/// Every part of WebAssembly that no country needs is refused: garbage collection with all references except those to
/// functions, exceptions, 64-bit memories, pages of other sizes, wide arithmetic. Threads and stack switching are not
/// in this build at all. Reference types stay enabled, because compilers number their tables as that proposal does.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .memory_init_cow(true)
        .signals_based_traps(false)
        .memory_guard_size(0)
        .memory_reservation(CEILING.memory)
        .relaxed_simd_deterministic(true)
        .gc_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    #[cfg(feature = "compiler")]
    config.cranelift_nan_canonicalization(true).native_unwind_info(false);
    config
}

/// Returns the bounds of a component with these limits. Refuses a component that is larger than its own limit.
pub(super) fn bounds_of(component: &[u8], limits: &Limits) -> Result<Bounds, Refusal> {
    let bounds = Bounds::of(limits)?;
    let (size, limit) = (component.len() as u64, bounds.component);
    if size > limit { Err(Refusal::TooLarge { size, limit }) } else { Ok(bounds) }
}

fn look_at_header(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(Refusal::Precompiled);
    }
    if bytes.starts_with(MODULE_HEADER) {
        return Err(Refusal::NotAComponent("it is a core module; `citas rules build` makes a component of it".into()));
    }
    if !bytes.starts_with(COMPONENT_HEADER) {
        return Err(Refusal::NotAComponent("it does not start as a WebAssembly file does".into()));
    }
    Ok(())
}

fn refuse_imports(engine: &Engine, component: &Component) -> Result<(), Refusal> {
    for (name, import) in component.component_type().imports(engine) {
        if let Some(item) = more_than_types(engine, &import.ty) {
            return Err(Refusal::Imports(format!("{name}{item}")));
        }
    }
    Ok(())
}

/// Returns the suffix that names the first thing, other than a type, that an import requires: empty for the import
/// itself, `#name` for something within it.
fn more_than_types(engine: &Engine, import: &ComponentItem) -> Option<String> {
    match import {
        ComponentItem::Type(_) => None,
        ComponentItem::ComponentInstance(instance) => instance.exports(engine).find_map(|(name, item)| {
            let within = more_than_types(engine, &item.ty)?;
            Some(format!("#{name}{within}"))
        }),
        _ => Some(String::new()),
    }
}
