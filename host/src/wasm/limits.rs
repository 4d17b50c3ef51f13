//! Limits of components, each in one place with its reason, and the code that enforces those on memory and tables. A
//! component may declare some of them for itself, up to a ceiling; the others are the same for all.
//!
//! A call must end the same way on every machine, so fuel is the deciding limit. Time is a second limit, for work that
//! fuel does not measure.

use std::fmt;
use std::time::Duration;

use citas_core::model::{Limits, MAX_COMPONENT_BYTES};
use citas_core::ports::Refusal;
use serde::Serialize;
use wasmtime::{ResourceLimiter, Result};

/// Resources that one component may use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// Size of the component, in bytes.
    pub component: u64,
    /// Memory of one instance, over all its memories, in bytes.
    pub memory: u64,
    /// Entries of a function table.
    pub table: u64,
    /// Fuel for one call. An instruction uses one unit; a copy or fill of memory uses one per byte.
    pub fuel: u64,
}

/// Bounds of a component that declares no limits: much for a country in Rust, and enough for JavaScript. A country in
/// Rust has a component of about 100 KiB and uses 1 MiB of memory; one in JavaScript has 1.7 MB and uses 1.5 MiB. In
/// Rust, a booking uses about 20,000 units of fuel, and a batch of presented appointments that fills [`INPUT_BYTES`]
/// uses 750,000. An endless loop exhausts the fuel after 0.4 to 10 ms of a core, depending on its instructions.
pub const STANDARD: Bounds = Bounds { component: 16 << 20, memory: 16 << 20, table: 10_000, fuel: 10_000_000 };

/// Maximum that a component may declare. Python with its library is a component of 19 MB that takes 13 MiB of memory
/// before it has any data. An endless loop exhausts this fuel after 4 to 100 ms of a core, long before [`TICKS`].
pub const CEILING: Bounds =
    Bounds { component: MAX_COMPONENT_BYTES, memory: 64 << 20, table: 50_000, fuel: 100_000_000 };

impl Bounds {
    /// Returns the standard bounds, with a component's declared limits in their place.
    ///
    /// # Errors
    /// Returns an error if a declared limit is above the ceiling.
    pub fn of(limits: &Limits) -> std::result::Result<Self, Refusal> {
        let bound = |limit, declared: Option<u64>, standard, ceiling| match declared {
            Some(asked) if asked > ceiling => Err(Refusal::OverCeiling { limit, asked, ceiling }),
            declared => Ok(declared.unwrap_or(standard)),
        };
        Ok(Self {
            component: bound("component", limits.component, STANDARD.component, CEILING.component)?,
            memory: bound("memory", limits.memory, STANDARD.memory, CEILING.memory)?,
            table: bound("table", limits.table, STANDARD.table, CEILING.table)?,
            fuel: bound("fuel", limits.fuel, STANDARD.fuel, CEILING.fuel)?,
        })
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { component, memory, table, fuel } = self;
        write!(out, "component {component} bytes, memory {memory} bytes, table {table} entries, fuel {fuel}")
    }
}

/// Maximum size of a client's input, in bytes of host memory: its texts and 56 bytes per leaf. The body of an HTTP
/// request has the same maximum length.
pub const INPUT_BYTES: usize = 64 << 10;

/// Maximum size of the facts of one decision, in bytes of host memory: the attributes of 80 appointments of 3 KB.
pub const FACTS_BYTES: usize = 256 << 10;

/// Maximum size of one result, in bytes of host memory, counted while it is copied: its texts and the size of each
/// element of a list (56 for a field). A guest that returns 10 MB never makes the host allocate them.
pub const ANSWER_BYTES: usize = 256 << 10;

/// Maximum native stack of a guest, in bytes. The caller's thread needs that much and some more; the smallest stack of
/// our threads is 2 MiB.
pub const STACK_BYTES: usize = 256 << 10;

/// Interval at which the epoch advances.
pub const TICK: Duration = Duration::from_millis(100);

/// Maximum duration of a call, in ticks: about a second. Only work that fuel does not measure takes that long. The
/// limit is many times the duration that fuel allows, because it is wall-clock time: on a machine with more work than
/// cores, a normal call may wait 100 ms for its turn.
pub const TICKS: u64 = 10;

/// Maximum number of concurrent calls in the pool: more than the threads that make them. An unused slot stays warm for
/// the component that had it last, so that some hundreds of countries do not take slots from each other.
pub const POOL_SLOTS: u32 = 512;

/// Maximum number of concurrent calls in a Lambda function, which serves one request at a time and is billed while it
/// reserves slots.
pub const FEW_SLOTS: u32 = 8;

/// Part of a memory that is reset by copying when its slot is used again, in bytes. The rest returns to the kernel, at
/// the cost of one page fault per page that the next call touches. Everything that a call of a country in Rust usually
/// touches fits: a booking takes 15 µs, and 23 µs without this. Kernels before 6.7 do not report which pages were
/// written, so all of it is copied each time: 16.5 µs.
pub const KEPT_RESIDENT_BYTES: usize = 256 << 10;

/// Limit that a guest exceeded, in plain words. Exceeding it traps: a guest that continues after a failed allocation
/// helps nobody.
#[derive(Debug, thiserror::Error)]
pub(super) enum OverLimit {
    #[error("it asked for more than {0} bytes of memory, its limit `memory`")]
    Memory(u64),
    #[error("it asked for a table of more than {0} entries, its limit `table`")]
    Table(u64),
}

/// Counts the memory of one instance and enforces its bounds.
#[derive(Debug)]
pub(super) struct Limiter {
    bounds: Bounds,
    memory: usize,
}

impl Limiter {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, memory: 0 }
    }

    /// Returns the memory of the instance, in bytes. Memories never shrink, so this is the peak.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if memory as u64 > self.bounds.memory {
            return Err(OverLimit::Memory(self.bounds.memory).into());
        }
        self.memory = memory;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _cause: wasmtime::Error) -> Result<()> {
        Err(OverLimit::Memory(self.bounds.memory).into())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        if desired as u64 > self.bounds.table {
            return Err(OverLimit::Table(self.bounds.table).into());
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, _cause: wasmtime::Error) -> Result<()> {
        Err(OverLimit::Table(self.bounds.table).into())
    }
}
