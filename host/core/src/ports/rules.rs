//! The port to one country's rules, in the words of `wit/rules.wit`.
//!
//! Calls are synchronous: a guest awaits nothing, and a deadline bounds it.

use std::sync::Arc;

use crate::model::appointment::{Appointment, Field, Slot};
use crate::model::context::Context;
use crate::model::descriptor::Descriptor;
use crate::model::limits::Limits;
use crate::model::plan::{Notice, Offer, Verdict};

/// Version of the contract that this host speaks.
pub const CONTRACT: &str = "1.0.0";

/// The first version of this host that spoke [`CONTRACT`]: no lower one runs rules that keep it.
pub const LOWEST_HOST: &str = "0.1.0";

/// Why a call gave no answer. Each is the country's 503, never the host's crash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It used up its fuel or its time.
    #[error("the call used up its budget of {0}")]
    OverBudget(&'static str),
    /// It panicked, recursed too deep, asked for too much memory, …
    #[error("the call trapped: {0}")]
    Trapped(String),
    /// Its answer is larger than may cross the border.
    #[error("the answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// Its answer breaks the contract.
    #[error("the answer breaks the contract: {0}")]
    BadAnswer(String),
    /// What it would be given is larger than may cross the border.
    #[error("the input is larger than {limit} bytes")]
    InputTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// Too many calls to this country wait already.
    #[error("too many calls to these rules wait already")]
    Busy,
}

impl Fault {
    /// One word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OverBudget(_) => "over-budget",
            Self::Trapped(_) => "trapped",
            Self::AnswerTooLarge { .. } => "answer-too-large",
            Self::BadAnswer(_) => "bad-answer",
            Self::InputTooLarge { .. } => "input-too-large",
            Self::Busy => "busy",
        }
    }
}

/// Why a component will not do, in plain words for the team that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a WebAssembly component at all.
    #[error("this is no WebAssembly component: {0}")]
    NotAComponent(String),
    /// Native code that somebody else compiled.
    #[error("this is precompiled native code; publish the portable .wasm component")]
    Precompiled,
    /// This build runs only what was compiled elsewhere.
    #[error("this build compiles no components")]
    NoCompiler,
    /// It asks for something from outside.
    #[error("it imports `{0}`; rules import no function: every fact they may use arrives as an argument")]
    Imports(String),
    /// It lacks what every country must implement, or has it in another shape.
    #[error("it does not export `{export}` as the contract has it: {cause}")]
    MissingExport {
        /// The interface.
        export: String,
        /// What the engine says of it.
        cause: String,
    },
    /// The file itself is too large.
    #[error("it is {size} bytes; its limit `component` is {limit}")]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// It has more of something than a host compiles.
    #[error("it has {found} {what}; a host compiles at most {limit}")]
    OverBound {
        /// Name of the counted things, in the plural.
        what: &'static str,
        /// Number found.
        found: u64,
        /// Maximum number.
        limit: u64,
    },
    /// Compiling and trying it used up what a component of its size may take.
    #[error("compiling and trying it takes more than {0}, which is the limit for a component of its size")]
    TooCostly(String),
    /// The process that compiled and tried it crashed.
    #[error("it crashed the process that compiled and tried it: {0}")]
    Crashed(String),
    /// The process that judged it reported why it will not do.
    #[error("{0}")]
    Reported(String),
    /// Several attempts to judge it did not come to an end.
    #[error(
        "{attempts} attempts to compile and try it did not end: the host or the process that did it was stopped or killed; remove {file} to have it tried again"
    )]
    NeverEnded {
        /// Number of attempts.
        attempts: u32,
        /// The file that counts them.
        file: String,
    },
    /// It declares more for itself than this host gives to any.
    #[error("it asks for a limit `{limit}` of {asked}; this host allows at most {ceiling}")]
    OverCeiling {
        /// Which.
        limit: &'static str,
        /// What it declares.
        asked: u64,
        /// What it may have.
        ceiling: u64,
    },
    /// `describe` gave no answer.
    #[error("`describe` gave no answer: {0}")]
    NoDescriptor(#[source] Fault),
    /// What `describe` says cannot be used.
    #[error("`describe` gives {member} `{value}`: {cause}")]
    BadDescriptor {
        /// Which member of the descriptor.
        member: String,
        /// What it says.
        value: String,
        /// Why that will not do.
        cause: String,
    },
    /// An example of its own request schema that it cannot deal with.
    #[error("the example {example} of its request schema does not work: {cause}")]
    Example {
        /// The example.
        example: String,
        /// Why.
        cause: String,
    },
    /// Golden cases of its own that it does not pass.
    #[error("it does not pass {} of its golden cases, which `citas rules test` lists: {}", .0.len(), few(.0))]
    Cases(Vec<String>),
    /// Nobody signed it.
    #[error(
        "it is not signed; publish it under a higher version with the key of a team that may sign for this country (`--key`)"
    )]
    Unsigned,
    /// By nobody who is trusted.
    #[error("it is signed with a key that the trust file does not name")]
    UnknownKey,
    /// By somebody who is trusted with other countries.
    #[error("it is signed with a key that may sign for {0} alone")]
    KeyOfAnother(String),
    /// The signature is not of these bytes.
    #[error("the signature does not fit the manifest: one of them was altered, or belongs to something else")]
    Altered,
    /// The signature is none.
    #[error("manifest.json.minisig is no minisign signature: {0}")]
    NotASignature(String),
    /// The file is not what its manifest says.
    #[error("the {what} is `{found}` where the manifest says `{promised}`")]
    NotAsPromised {
        /// Digest, country or version.
        what: &'static str,
        /// In the file.
        found: String,
        /// In the manifest.
        promised: String,
    },
}

/// The first few of many.
fn few(failures: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if failures.len() > SHOWN { format!("{shown}; …") } else { shown }
}

impl Refusal {
    /// What `describe` says in `member` cannot be used.
    pub fn bad_descriptor(member: &str, value: &str, cause: impl std::fmt::Display) -> Self {
        Self::BadDescriptor { member: member.into(), value: value.into(), cause: cause.to_string() }
    }
}

/// Loads components.
pub trait Engine: Send + Sync {
    /// Makes a component ready to be called, within its limits.
    ///
    /// MUST refuse a component that declares more than the engine allows, imports a function, is precompiled, or does not export
    /// `citas:rules/appointment-rules` as the contract has it.
    ///
    /// # Errors
    /// A [`Refusal`] that says why in plain words.
    fn load(&self, component: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal>;

    /// Makes native code ready to be called. It is run as it is: only what [`NativeCodeStore`](crate::ports::native_code::NativeCodeStore) gave under
    /// this engine's name may be given.
    ///
    /// # Errors
    /// When it is no native code of this engine, or its limits are more than the engine allows.
    fn load_native(&self, code: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal>;

    /// Names everything that decides which native code it can load.
    fn name(&self) -> &str;
}

/// One loaded component.
///
/// Every call MUST run in a fresh instance, see nothing of any other call, and be bounded in time, memory and
/// the size of what crosses the border.
#[expect(missing_docs, reason = "the functions are those of wit/rules.wit, which documents them")]
#[expect(clippy::missing_errors_doc, reason = "each gives a Fault when there is no answer, and says nothing else")]
pub trait Rules: Send + Sync {
    fn describe(&self) -> Result<Descriptor, Fault>;
    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault>;
    fn act(&self, context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Verdict, Fault>;
    fn present(&self, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault>;
    /// Appointments, from the first on, whose input fits one call of `present`: at least one, because rules must be able to
    /// present whatever they stored.
    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        appointments.len()
    }
    /// None where the component does not export `slot-rules`.
    fn offers(&self, context: &Context, place: &[Field], openings: &[Slot]) -> Result<Option<Vec<Offer>>, Fault>;
    /// Empty where the component does not export `notice-rules`.
    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault>;
}
