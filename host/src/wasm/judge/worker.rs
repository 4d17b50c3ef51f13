//! The process that judges. Limits itself before it reads a stranger's first byte, judges one package, and ends. Knows
//! no data folder and no registry.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self, ExitCode};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use citas_core::model::digest;
use citas_core::ports::{FailedCall, Refusal};
use citas_core::release::try_out;
use citas_core::rules::LoadedRules;
use rlimit::Resource;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::Component;

use super::protocol::{Accepted, Refused, Report, Request, frame, read_bytes, read_frame, write_all};
use super::{Budget, FAILED, Usage};
use crate::wasm::engine::WasmEngine;
use crate::wasm::error::first_line;
use crate::wasm::limits::{Bounds, CEILING};
use crate::wasm::native;

/// Stack of the thread that judges, in bytes. Deeper recursion crashes this process, which the host reports.
const STACK: usize = 8 << 20;

/// Maximum number of open files: the standard streams and the files that the time zone database and the allocator read.
const MAX_FILES: u64 = 32;

/// Address space beyond the memory limit, in bytes: the program itself, and reservations for instances that are never
/// touched. Address space does not fill a machine, so this limit only stops what the memory limit does not count.
const RESERVED: u64 = 1 << 30;

/// Maximum file size, in bytes. No file is written to a disk, but the image of an instance's first memory is a file to
/// the kernel.
const MAX_FILE_BYTES: u64 = CEILING.memory;

/// Time at the host's own priority. A country in Rust needs less, so its new version is in force as soon as if the host
/// had compiled it.
const FULL_PRIORITY: Duration = Duration::from_millis(500);

/// Niceness after [`FULL_PRIORITY`]. Requests get the cores first; on a machine with nothing to spare, judging still
/// gets a tenth of a core.
const NICENESS: i32 = 10;

/// Maximum length of a refusal, in bytes. It may quote the component.
const MAX_REFUSAL: usize = 8 << 10;

/// Maximum number of failed calls that are reported.
const MAX_FAILED: usize = 3;

/// Maximum length of the report of a failed call, in bytes. A longer one is left out.
const MAX_FAILED_BYTES: usize = 256 << 10;

/// Score that makes the kernel end this process first when memory runs out.
const OUT_OF_MEMORY_SCORE: &str = "1000";

/// Judges the package on standard input and writes the report to standard output.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host may be gone.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(FAILED)
        }
    }
}

fn run() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let request: Request = read_frame(&mut input)?;
    confine(&request.budget)?;
    let component = read_bytes(&mut input, request.component_bytes)?;
    let cases = read_bytes(&mut input, request.cases_bytes)?;
    drop(input);
    thread::Builder::new().name("host".into()).spawn(end_with_host)?;
    thread::Builder::new().name("priority".into()).spawn(lower_priority)?;
    let judge = thread::Builder::new().name("judge".into()).stack_size(STACK).spawn(move || {
        let cases = String::from_utf8_lossy(&cases);
        answer(&request, &component, &cases)
    })?;
    // A panic has already printed its message.
    let (report, code) = judge.join().unwrap_or_else(|_| process::exit(FAILED.into()))?;
    write_all(&mut io::stdout().lock(), &[&frame(&report)?, &code])
}

/// Ends this process when the host closes standard input, which it keeps open while it waits for the report.
fn end_with_host() {
    let mut byte = [0];
    while io::stdin().lock().read(&mut byte).is_ok_and(|count| count > 0) {}
    process::exit(FAILED.into());
}

/// Lowers the priority of all threads of this process, which has its own process group, after [`FULL_PRIORITY`].
fn lower_priority() {
    thread::sleep(FULL_PRIORITY);
    // If this is not permitted, the limits still apply.
    let _ = rustix::process::setpriority_pgrp(None, NICENESS);
}

fn confine(budget: &Budget) -> io::Result<()> {
    // This may not be permitted; the other limits still apply.
    let _ = fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    limit(Resource::DATA, budget.memory, budget.memory)?;
    limit(Resource::AS, budget.memory + RESERVED, budget.memory + RESERVED)?;
    // The soft limit ends the process with a signal that names the reason.
    limit(Resource::CPU, budget.cpu_seconds, budget.cpu_seconds + 1)?;
    limit(Resource::CORE, 0, 0)?;
    limit(Resource::FSIZE, MAX_FILE_BYTES, MAX_FILE_BYTES)?;
    limit(Resource::NOFILE, MAX_FILES, MAX_FILES)
}

/// Sets a limit. Keeps a lower hard limit that this process was started under.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let (_, highest) = resource.get()?;
    resource.set(soft.min(highest), hard.min(highest))
}

fn answer(request: &Request, component: &[u8], cases: &str) -> io::Result<(Report, Vec<u8>)> {
    let (sender, failed) = sync_channel(MAX_FAILED);
    let judged = judge(request, component, cases, sender);
    let usage = Usage { cpu_seconds: cpu_seconds(), memory: peak_memory(), budget: request.budget };
    let (verdict, code) = match judged? {
        Ok((accepted, code)) => (Ok(accepted), code),
        Err(refusal) => {
            let is_short = |call: &FailedCall| frame(call).is_ok_and(|frame| frame.len() <= MAX_FAILED_BYTES);
            let failed = failed.try_iter().filter(is_short).collect();
            (Err(Refused { why: shortened(refusal.to_string()), failed }), Vec::new())
        }
    };
    Ok((Report { verdict, usage }, code))
}

/// Shortens a refusal that would fill logs, the status file and the registry.
fn shortened(mut refusal: String) -> String {
    if refusal.len() > MAX_REFUSAL {
        refusal.truncate(refusal.floor_char_boundary(MAX_REFUSAL));
        refusal.push('…');
    }
    refusal
}

/// Runs every check that a component must pass before it may come into force.
fn judge(
    request: &Request,
    component: &[u8],
    cases: &str,
    failed: SyncSender<FailedCall>,
) -> io::Result<Result<(Accepted, Vec<u8>), Refusal>> {
    let engine = WasmEngine::for_judging(request.portable).map_err(io::Error::other)?.watched(failed);
    Ok(judge_with(&engine, request, component, cases).map_err(|refusal| translated(refusal, &request.budget)))
}

fn judge_with(
    engine: &WasmEngine,
    request: &Request,
    bytes: &[u8],
    cases: &str,
) -> Result<(Accepted, Vec<u8>), Refusal> {
    let bounds = Bounds::of(&request.limits)?;
    let component = compiled(engine, request, bytes)?;
    let rules = LoadedRules::of(engine.ready(&component, bounds)?, request.digest.clone())?;
    try_out(&rules, cases, request.now)?;
    let code = if request.is_native { Vec::new() } else { serialized(&component, &request.budget)? };
    let accepted = Accepted {
        country: rules.country.to_string(),
        version: rules.id.version.clone(),
        code_bytes: code.len() as u64,
        code_digest: digest(&code),
    };
    Ok((accepted, code))
}

/// Compiles the component, or loads it if it is native code. A panic of the compiler is the component's fault; any
/// other panic is a bug of Citas and ends the process.
fn compiled(engine: &WasmEngine, request: &Request, bytes: &[u8]) -> Result<Component, Refusal> {
    if request.is_native {
        return native::load(engine.engine(), bytes);
    }
    catch_unwind(AssertUnwindSafe(|| engine.component(bytes)))
        .unwrap_or_else(|_| Err(Refusal::Crashed("the compiler panicked".into())))
}

fn serialized(component: &Component, budget: &Budget) -> Result<Vec<u8>, Refusal> {
    let code = component.serialize().map_err(|cause| Refusal::NotAComponent(first_line(&cause)))?;
    let (found, limit) = (code.len() as u64, budget.code);
    if found > limit { Err(Refusal::OverBound { what: "bytes of native code", found, limit }) } else { Ok(code) }
}

/// Translates a library's failure to map memory: the memory limit denied it.
fn translated(refusal: Refusal, budget: &Budget) -> Refusal {
    const NO_MEMORY: &str = "Cannot allocate memory";
    if refusal.to_string().contains(NO_MEMORY) { budget.out_of_memory() } else { refusal }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "a process that ends within minutes")]
    let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    seconds
}

/// Returns the peak memory of this process, in bytes; 0 if the system does not report it. The system keeps no peak of
/// the memory that the limit counts, but the allocator returns none of that before the end.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default()
    };
    kib("VmData:").max(kib("VmHWM:")) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_refusal_is_cut_between_characters() {
        assert_eq!(shortened("short".into()), "short");
        let cut = shortened("€".repeat(1 << 20));
        assert!(cut.len() <= MAX_REFUSAL + '…'.len_utf8() && cut.ends_with("€…"));
    }
}
