//! What a component may use, each limit once with its reason, and the two that need code to be kept. Some a component may
//! declare for itself, up to a ceiling; the others hold for all alike.
//!
//! The verdict on a call must be the same on every machine, so fuel decides; time stands behind it for what fuel
//! cannot see.

use std::fmt;
use std::time::Duration;

use citas_core::model::limits::{Limits, MAX_COMPONENT_BYTES};
use citas_core::ports::rules::Refusal;
use serde::Serialize;
use wasmtime::{ResourceLimiter, Result};

/// What one component may use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// Its size, in bytes.
    pub component: u64,
    /// Memory of one instance, over all its memories, in bytes.
    pub memory: u64,
    /// Entries of a function table.
    pub table: u64,
    /// Fuel for one call. An instruction uses one unit, a copy or fill of memory one for each byte.
    pub fuel: u64,
}

/// What holds where nothing is declared: much for a Rust country, and enough for JavaScript. A Rust country takes about
/// 100 KiB and 1 MiB of memory, a JavaScript one 1.7 MB and 1.5 MiB. In Rust, a booking uses about 20,000 of the fuel and a
/// batch of presented appointments that fills [`INPUT_BYTES`] 750,000; an endless loop has used all of it after 0.4 to
/// 10 ms of a core, by what it does.
pub const STANDARD: Bounds = Bounds { component: 16 << 20, memory: 16 << 20, table: 10_000, fuel: 10_000_000 };

/// The most that a component may declare. Python with its library is a component of 19 MB that takes 13 MiB of memory
/// before it has any data. An endless loop has used all of this fuel after 4 to 100 ms of a core, long before [`TICKS`].
pub const CEILING: Bounds =
    Bounds { component: MAX_COMPONENT_BYTES, memory: 64 << 20, table: 50_000, fuel: 100_000_000 };

impl Bounds {
    /// The standard, with what a component declares in its place.
    ///
    /// # Errors
    /// When it declares more than the ceiling.
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

/// Most that a client's input may weigh, in bytes of host memory: its texts and 56 bytes for each leaf. An HTTP
/// request is at most as long.
pub const INPUT_BYTES: usize = 64 << 10;

/// Most that one answer may weigh, in bytes of host memory, counted while it is copied: its texts and the size of each
/// element of a list (56 for a field). A guest that answers with 10 MB never makes the host allocate them.
pub const ANSWER_BYTES: usize = 256 << 10;

/// Deepest native stack that a guest may use, in bytes. The caller's thread needs as much and some more; the
/// smallest that ours have is 2 MiB.
pub const STACK_BYTES: usize = 256 << 10;

/// How often the epoch advances.
pub const TICK: Duration = Duration::from_millis(100);

/// Ticks that a call may last: about a second. Only what fuel does not see comes so far. It is many times what fuel allows
/// because this is time on the wall: on a machine with more to do than cores, a decent call may wait 100 ms for its turn.
pub const TICKS: u64 = 10;

/// Calls that may be under way at once in the pool: more than the threads that make them. Slots beyond those in use
/// stay warm for the component that had them last, so that some hundreds of countries do not take them from one
/// another.
pub const POOL_SLOTS: u32 = 512;

/// The same for a function, which has one request at a time and is paid for while it sets slots aside.
pub const FEW_SLOTS: u32 = 8;

/// How much of a memory is reset by copying when its slot is used again, in bytes. The rest is given back to the kernel,
/// at a page fault for each page that the next call touches. All that a call of a Rust country usually touches fits:
/// 15 µs a booking rather than 23 with none. On kernels before 6.7, which do not say which pages were written, all of it
/// is copied each time: 16.5 µs.
pub const KEPT_RESIDENT_BYTES: usize = 256 << 10;

/// What a guest was refused, in plain words. It traps: a guest that carries on after a failed allocation helps nobody.
#[derive(Debug, thiserror::Error)]
pub(super) enum OverLimit {
    #[error("it asked for more than {0} bytes of memory, its limit `memory`")]
    Memory(u64),
    #[error("it asked for a table of more than {0} entries, its limit `table`")]
    Table(u64),
}

/// Counts one instance's memory.
#[derive(Debug)]
pub(super) struct Limiter {
    bounds: Bounds,
    memory: usize,
}

impl Limiter {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, memory: 0 }
    }

    /// What the instance has, in bytes. Memories never shrink, so it is the most that it had.
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
