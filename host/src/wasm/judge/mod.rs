//! Judges each package in a process of its own, which has limits of memory and time and does not take the host down
//! with it. The process is this program again, under a subcommand that no help shows: `citas judge`.
//!
//! A stranger's component is compiled, described and run on its golden cases only there. The host reads back the native
//! code, and loads it only if it has the digest that the process reported.

mod protocol;
mod worker;

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use citas_core::model::{RulesPackage, digest};
use citas_core::ports::Refusal;
use citas_core::release::{Judge, Judged, NotAdmitted};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use self::protocol::{Accepted, MAX_TEXT, Refused, Report, Request, frame, read_frame};
pub use self::worker::main as judge_main;
use super::engine::bounds_of;
use super::native;

/// Subcommand that starts the process.
pub const VERB: &str = "judge";

/// Exit status after an error of the process itself. A panic of its main thread gives 101.
const FAILED: u8 = 70;

/// Memory and processor time of every component, whatever its size, and their increase per byte. Countries from `citas
/// rules new` use at most half of it: in Rust (0.1 MB) 143 MiB and 0.4 s, in JavaScript (1.7 MB) 333 MiB and 6.6 s, in
/// Python (18.9 MB) 1,061 MiB and 36.6 s. `citas rules check` prints the usage of a component.
const BASE_MEMORY: u64 = 512 << 20;
const MEMORY_PER_BYTE: u64 = 96;
/// Maximum memory of any component, in bytes. On a machine with less, the kernel ends this process before the host.
const MAX_MEMORY: u64 = 2304 << 20;
const BASE_CPU_SECONDS: u64 = 10;
const CPU_SECONDS_PER_MIB: u64 = 4;

/// Settings of the process's allocator: it reserves memory in pieces of this size, when needed, instead of 1 GiB at
/// once.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_ARENA_RESERVE", "32MiB"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// Native code of every component, whatever its size, in bytes, and its increase per byte. Components in Rust,
/// JavaScript and Python produce 3.7, 5.3 and 2.7 bytes per byte.
const BASE_CODE: u64 = 4 << 20;
const CODE_PER_BYTE: u64 = 6;
/// Maximum native code of any component, in bytes. It is below the limit of a registry.
const MAX_CODE: u64 = 128 << 20;

/// Wall-clock limit. It is extended while the process gets less than four fifths of a core.
const WALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Wall-clock limit on a machine that has hardly any time for the process.
const STARVED_TIMEOUT: Duration = Duration::from_mins(8);

/// Interval at which the processor time of a process beyond [`WALL_TIMEOUT`] is checked.
const STARVED_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are kept of the process's standard error.
const MAX_ERRORS: u64 = 8 << 10;

/// Limits of the process for one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Private writable memory, in bytes.
    pub memory: u64,
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: u64,
    /// Native code, in bytes.
    pub code: u64,
}

impl Budget {
    /// Returns the limits for a component of this size.
    pub fn of(component_bytes: u64) -> Self {
        Self {
            memory: (BASE_MEMORY + component_bytes * MEMORY_PER_BYTE).min(MAX_MEMORY),
            cpu_seconds: BASE_CPU_SECONDS + component_bytes * CPU_SECONDS_PER_MIB / (1 << 20),
            code: (BASE_CODE + component_bytes * CODE_PER_BYTE).min(MAX_CODE),
        }
    }

    fn out_of_memory(&self) -> Refusal {
        Refusal::TooCostly(format!("{} MiB of memory", self.memory >> 20))
    }

    fn out_of_cpu(&self) -> Refusal {
        Refusal::TooCostly(format!("{} s of processor time", self.cpu_seconds))
    }
}

/// Resources that the process used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Peak memory, in bytes.
    pub memory: u64,
    /// Limits of the process.
    pub budget: Budget,
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_seconds, memory, budget } = self;
        let (used, limit) = (memory >> 20, budget.memory >> 20);
        write!(out, "{cpu_seconds:.1} of {} s of processor time, {used} of {limit} MiB of memory", budget.cpu_seconds)
    }
}

/// A package that the process accepted.
pub struct Judgement {
    /// Country that the descriptor names.
    pub country: String,
    /// Version that the descriptor names.
    pub version: String,
    /// Native code. Empty if the caller supplied it.
    pub code: Vec<u8>,
    /// Resources that judging used.
    pub usage: Usage,
}

/// Reason why a package was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The process did not end normally. The package may or may not be the cause.
    #[error("{0}")]
    Failed(String),
    /// The host could not start the process, or somebody stopped it. The package is not the cause.
    #[error("{0}")]
    Interrupted(String),
}

impl From<NotAccepted> for NotAdmitted {
    fn from(cause: NotAccepted) -> Self {
        match cause {
            NotAccepted::Refused(refusal) => Self::Refused(refusal),
            NotAccepted::Failed(why) | NotAccepted::Interrupted(why) => Self::Unjudged(why),
        }
    }
}

/// Judges packages in child processes.
#[derive(Clone, Debug)]
pub struct ChildJudge {
    program: PathBuf,
    portable: bool,
    name: String,
    /// [`WALL_TIMEOUT`] and [`STARVED_TIMEOUT`].
    timeouts: (Duration, Duration),
}

impl ChildJudge {
    /// Creates a judge that starts `program` with the subcommand [`VERB`]. The program is this one or another build of
    /// the same version.
    pub fn new(program: &Path) -> Self {
        let timeouts = (WALL_TIMEOUT, STARVED_TIMEOUT);
        Self { program: program.to_owned(), portable: false, name: native::name(), timeouts }
    }

    /// Creates a judge that starts the running program, even if its file was replaced meanwhile.
    ///
    /// # Errors
    /// Returns an error if the system does not name the running program.
    pub fn this_program() -> io::Result<Self> {
        let running = Path::new("/proc/self/exe");
        if running.exists() { Ok(Self::new(running)) } else { Ok(Self::new(&std::env::current_exe()?)) }
    }

    /// Makes the judge compile to code that runs on every machine of this kind.
    #[must_use]
    pub fn portable(self) -> Self {
        Self { portable: true, ..self }
    }

    /// Judges a package. If its native code is given, it is not compiled again.
    ///
    /// # Errors
    /// Returns an error if the package is refused or could not be judged.
    pub async fn judge_package(
        &self,
        package: &RulesPackage,
        native: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Judgement, NotAccepted> {
        let RulesPackage { component, limits, cases } = package;
        bounds_of(component, limits)?;
        let given = native.unwrap_or(component);
        let budget = Budget::of(component.len() as u64);
        let request = Request {
            budget,
            portable: self.portable,
            digest: digest(component),
            limits: *limits,
            now,
            is_native: native.is_some(),
            component_bytes: given.len() as u64,
            cases_bytes: cases.len() as u64,
        };
        let not_run = |error: io::Error| NotAccepted::Interrupted(error.to_string());
        let request = frame(&request).map_err(not_run)?;
        self.run(&[&request, given, cases.as_bytes()], budget).await.map_err(not_run)?.judgement(budget)
    }

    async fn run(&self, input: &[&[u8]], budget: Budget) -> io::Result<Ran> {
        let mut command = Command::new(&self.program);
        command.arg0("citas").arg(VERB).env_clear().envs(ALLOCATOR).kill_on_drop(true);
        // Signals from the host's terminal must not reach the process.
        command.process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let started = Instant::now();
        let id = child.id();
        tokio::select! {
            ran = talk(&mut child, input, budget) => ran,
            () = overtime(id, started, self.timeouts) => {
                let cpu_time = cpu_time(id);
                child.kill().await?;
                Ok(Ran::Overtime { took: started.elapsed(), cpu_time })
            }
        }
    }
}

#[async_trait]
impl Judge for ChildJudge {
    fn engine_name(&self) -> &str {
        &self.name
    }

    async fn judge(&self, package: RulesPackage, now: Timestamp) -> Result<Judged, NotAdmitted> {
        let Judgement { country, version, code, .. } = self.judge_package(&package, None, now).await?;
        Ok(Judged { country, version, code })
    }
}

/// Outcome of a process.
enum Ran {
    Ended { status: ExitStatus, output: Vec<u8>, errors: String },
    Overtime { took: Duration, cpu_time: Option<Duration> },
}

/// Writes the process's input and reads its output until it ends. Keeps its standard input open until then.
async fn talk(child: &mut Child, input: &[&[u8]], budget: Budget) -> io::Result<Ran> {
    let pipe = || io::Error::other("a pipe that was asked for is missing");
    let mut stdin = child.stdin.take().ok_or_else(pipe)?;
    let stdout = child.stdout.take().ok_or_else(pipe)?;
    let stderr = child.stderr.take().ok_or_else(pipe)?;
    let give = async {
        for part in input {
            // A process that ends before it has read everything explains that by its status.
            if stdin.write_all(part).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut output = Vec::new();
        let longest = u64::from(MAX_TEXT) + 4 + budget.code;
        stdout.take(longest).read_to_end(&mut output).await.map(|_| output)
    };
    let complain = async {
        let (mut errors, mut stderr) = (Vec::new(), stderr.take(MAX_ERRORS));
        stderr.read_to_end(&mut errors).await?;
        tokio::io::copy(stderr.get_mut(), &mut tokio::io::sink()).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&errors).into_owned())
    };
    let ((), output, errors) = tokio::join!(give, read, complain);
    let status = child.wait().await?;
    drop(stdin);
    Ok(Ran::Ended { status, output: output?, errors: errors? })
}

/// Resolves when the process exceeds its wall-clock limit.
async fn overtime(id: Option<u32>, started: Instant, (wall, starved): (Duration, Duration)) {
    tokio::time::sleep(wall).await;
    while started.elapsed() < starved && cpu_time(id).is_some_and(|used| used < started.elapsed() * 4 / 5) {
        tokio::time::sleep(STARVED_INTERVAL).await;
    }
}

/// Returns the processor time of a running process, if the system reports it.
fn cpu_time(id: Option<u32>) -> Option<Duration> {
    /// Clock ticks per second in `/proc`, which Linux reports in this unit on every machine.
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id?)).ok()?;
    // The program's name, in brackets, may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let sum = ticks.next()?.ok()? + ticks.next()?.ok()?;
    Some(Duration::from_millis(sum * 1000 / TICKS_PER_SECOND))
}

impl Ran {
    fn judgement(self, budget: Budget) -> Result<Judgement, NotAccepted> {
        match self {
            Self::Overtime { took, cpu_time } => Err(stopped(took, cpu_time, budget)),
            Self::Ended { status, output, .. } if status.success() => reported(output),
            Self::Ended { status, errors, .. } => Err(unfinished(status, &errors, budget)),
        }
    }
}

/// Explains why an overlong process was stopped. A process that did not get its processor time may have waited for a
/// busy machine, or may hang: another attempt will tell.
fn stopped(took: Duration, cpu_time: Option<Duration>, budget: Budget) -> NotAccepted {
    let took = took.as_secs();
    match cpu_time {
        Some(used) if used.as_secs() >= budget.cpu_seconds => budget.out_of_cpu().into(),
        Some(used) => {
            let (used, budget) = (used.as_secs(), budget.cpu_seconds);
            NotAccepted::Failed(format!("it was not done after {took} s, with {used} of {budget} s of processor time"))
        }
        None => NotAccepted::Failed(format!("it was not done after {took} s")),
    }
}

fn reported(mut output: Vec<u8>) -> Result<Judgement, NotAccepted> {
    let broken = |cause: &dyn fmt::Display| NotAccepted::Failed(format!("the process that judges it said {cause}"));
    let mut rest = &output[..];
    let Report { verdict, usage } = read_frame(&mut rest).map_err(|error| broken(&error))?;
    let Accepted { country, version, code_bytes, code_digest } =
        verdict.map_err(|Refused { why, failed }| Refusal::Reported { why, failed })?;
    if rest.len() as u64 != code_bytes {
        return Err(broken(&format_args!("{code_bytes} bytes of native code and sent {}", rest.len())));
    }
    let header = output.len() - rest.len();
    // Remove the header in place, because a copy would be as large as the code.
    output.drain(..header);
    let code = output;
    if digest(&code) != code_digest {
        return Err(broken(&"another digest than its code has"));
    }
    Ok(Judgement { country, version, code, usage })
}

/// Explains why a process ended without a report. Refuses the component only for the effects of its limits and of the
/// component itself.
fn unfinished(status: ExitStatus, errors: &str, budget: Budget) -> NotAccepted {
    const INTERRUPTED: [i32; 3] = [1, 2, 15];
    const ABORTED: i32 = 6;
    const KILLED: i32 = 9;
    const OUT_OF_CPU: i32 = 24;
    let words = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match status.signal() {
        // The kernel does this when the machine or the process's group is out of memory, which others may have used.
        Some(KILLED) => NotAccepted::Failed("the process that judges it was killed (signal 9)".into()),
        Some(OUT_OF_CPU) => budget.out_of_cpu().into(),
        Some(ABORTED) if errors.contains("memory allocation of") => budget.out_of_memory().into(),
        Some(signal) if INTERRUPTED.contains(&signal) => NotAccepted::Interrupted("it was interrupted".into()),
        Some(signal) => Refusal::Crashed(format!("signal {signal} {words}").trim().to_owned()).into(),
        None => {
            tracing::error!(%status, errors, "the process that judges rules failed, which is a bug of Citas");
            NotAccepted::Failed(format!("the process that judges it failed ({status}): {words}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use citas_core::model::Limits;

    use super::*;

    fn ended_by(signal: i32, errors: &str) -> NotAccepted {
        unfinished(ExitStatus::from_raw(signal), errors, Budget::of(1 << 20))
    }

    #[test]
    fn only_what_the_limits_and_the_component_cause_is_a_refusal() {
        for signal in [6, 11, 24] {
            assert!(matches!(ended_by(signal, ""), NotAccepted::Refused(_)), "signal {signal}");
        }
        let no_memory = ended_by(6, "memory allocation of 9 bytes failed");
        assert!(matches!(no_memory, NotAccepted::Refused(Refusal::TooCostly(_))));
        assert!(matches!(ended_by(9, ""), NotAccepted::Failed(_)), "others may have taken the memory");
        assert!(matches!(ended_by(15, ""), NotAccepted::Interrupted(_)));
    }

    #[test]
    fn a_process_that_got_too_little_processor_time_is_not_refused() {
        let budget = Budget::of(1 << 20);
        let after = |used| stopped(WALL_TIMEOUT, used, budget);
        let starved = after(Some(Duration::from_secs(budget.cpu_seconds - 1)));
        assert!(matches!(starved, NotAccepted::Failed(_)), "{starved}");
        assert!(matches!(after(None), NotAccepted::Failed(_)));
        assert!(matches!(after(Some(Duration::from_secs(budget.cpu_seconds))), NotAccepted::Refused(_)));
    }

    #[test]
    fn code_is_taken_only_with_the_digest_that_was_reported() {
        let budget = Budget::of(1 << 20);
        let told = |code_digest: String, code: &[u8]| {
            let accepted = Accepted { country: "pe".into(), version: "1.0.0".into(), code_bytes: 4, code_digest };
            let usage = Usage { cpu_seconds: 1.0, memory: 1, budget };
            let report = frame(&Report { verdict: Ok(accepted), usage }).unwrap();
            reported([&report, code].concat()).map(|judgement| judgement.code).map_err(|cause| cause.to_string())
        };
        assert_eq!(told(digest(b"code"), b"code").as_deref(), Ok(&b"code"[..]));
        let altered = told(digest(b"code"), b"edoc").unwrap_err();
        assert!(altered.contains("another digest than its code has"), "{altered}");
        for code in [&b"cod"[..], b"code and more"] {
            let cut = told(digest(code), code).unwrap_err();
            assert!(cut.contains("4 bytes of native code and sent"), "{cut}");
        }
    }

    #[tokio::test]
    async fn a_process_that_does_not_end_is_stopped_and_its_component_is_not_refused() {
        let timeouts = (Duration::from_millis(100), Duration::from_millis(300));
        // It reads its standard input to the end, which does not come.
        let judge = ChildJudge { timeouts, ..ChildJudge::new(Path::new("/bin/grep")) };
        let package = RulesPackage { component: b"component".to_vec(), limits: Limits::default(), cases: "[]".into() };
        let judging = judge.judge_package(&package, None, Timestamp::UNIX_EPOCH);
        let stopped = tokio::time::timeout(Duration::from_secs(20), judging).await.expect("it is stopped");
        let Err(NotAccepted::Failed(why)) = stopped else { panic!("it is accepted or refused") };
        assert!(why.starts_with("it was not done after"), "{why}");
    }

    #[test]
    fn no_component_may_have_more_native_code_than_a_registry_keeps() {
        assert_eq!(Budget::of(citas_core::model::MAX_COMPONENT_BYTES).code, MAX_CODE);
        const { assert!(MAX_CODE <= 8 * citas_core::model::MAX_COMPONENT_BYTES) };
    }
}
