//! What a component may use, each limit once with its reason, and the two that need code to be kept.
//!
//! The verdict on a call must be the same on every machine, so fuel decides; time stands behind it for what fuel
//! cannot see.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Result};

/// Largest component that is loaded, in bytes. A Rust country takes about 100 KiB; an interpreter with its library
/// a few MiB.
pub const COMPONENT_BYTES: usize = 16 << 20;

/// Most that a client's input may weigh, in bytes of host memory: its texts and 56 bytes for each leaf. An HTTP
/// request is at most as long.
pub const INPUT_BYTES: usize = 64 << 10;

/// Most that one answer may weigh, in bytes of host memory, counted while it is copied: its texts and the size of each
/// element of a list (56 for a field). A guest that answers with 10 MB never makes the host allocate them.
pub const ANSWER_BYTES: usize = 256 << 10;

/// Most memory that one instance may have, in bytes, over all its memories.
pub const MEMORY_BYTES: usize = 16 << 20;

/// Most entries that a function table may have.
pub const TABLE_ENTRIES: usize = 10_000;

/// Deepest native stack that a guest may use, in bytes. The caller's thread needs as much and some more; the
/// smallest that ours have is 2 MiB.
pub const STACK_BYTES: usize = 256 << 10;

/// Fuel for one call. An instruction uses one unit, a copy or fill of memory one for each byte. A booking uses about
/// 20,000 and a batch of presented appointments that fills [`INPUT_BYTES`] 750,000; an endless loop has used all of it
/// after 0.4 to 10 ms of a core, by what it does..
pub const FUEL: u64 = 10_000_000;

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
    #[error("it asked for more than {} MiB of memory", MEMORY_BYTES >> 20)]
    Memory,
    #[error("it asked for a table of more than {TABLE_ENTRIES} entries")]
    Table,
}

/// Counts one instance's memory.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    memory: usize,
}

impl Limiter {
    /// What the instance has, in bytes. Memories never shrink, so it is the most that it had.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if memory > MEMORY_BYTES {
            return Err(OverLimit::Memory.into());
        }
        self.memory = memory;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _cause: wasmtime::Error) -> Result<()> {
        Err(OverLimit::Memory.into())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        if desired > TABLE_ENTRIES {
            return Err(OverLimit::Table.into());
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, _cause: wasmtime::Error) -> Result<()> {
        Err(OverLimit::Table.into())
    }
}
