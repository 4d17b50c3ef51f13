//! Port to one country's rules, in the terms of the latest contract, `wit/2.0.0/rules.wit`.
//!
//! Calls are synchronous: a guest awaits nothing, and a deadline bounds the call.

use std::sync::Arc;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::{
    Appointment, Context, Demand, Descriptor, FactQuery, Field, Limits, Notice, Offered, Opening, Party, Place, Role,
    Verdict,
};

/// Versions of the contract that this host implements, the latest last.
pub const CONTRACTS: [&str; 2] = [FIRST_CONTRACT, "2.0.0"];

/// Contract without links, scheduled actions and words for claims. It did not set the form of a claim on time.
pub const FIRST_CONTRACT: &str = "1.0.0";

/// Returns the first version of this host that implements a contract.
pub fn lowest_host(contract: &str) -> &'static str {
    if contract == FIRST_CONTRACT { "0.1.0" } else { "0.2.0" }
}

/// Causes of a failed call to the rules. The response is a 503 for the country, or a 413 if the input is too large. A
/// fault never crashes the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// The call used up its fuel or its time.
    #[error("the call used up its budget of {0}")]
    OverBudget(&'static str),
    /// The call trapped: the guest panicked, recursed too deep, requested too much memory, or the like.
    #[error("the call trapped: {0}")]
    Trapped(String),
    /// The result is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// Maximum size of a result, in bytes.
        limit: usize,
    },
    /// The rules report an error of their own, such as an exception.
    #[error("the rules failed: {0}")]
    Failed(String),
    /// The result breaks the contract.
    #[error("the answer breaks the contract: {0}")]
    BadAnswer(String),
    /// The input is larger than the limit.
    #[error("the input is larger than {limit} bytes")]
    InputTooLarge {
        /// Maximum size of an input, in bytes.
        limit: usize,
    },
    /// Too many calls to this country are waiting.
    #[error("too many calls to these rules wait already")]
    Busy,
}

impl Fault {
    /// Returns the name of the fault for metrics.
    pub fn kind(&self) -> &'static str {
        self.into()
    }
}

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCall {
    /// Country of the rules; empty if `describe` has failed.
    pub country: String,
    /// Name of the function in the contract.
    pub function: String,
    /// Arguments, as JSON with the names and types of the contract. An option without a value is null, and a variant is
    /// an object of `tag` and `val`.
    pub arguments: Vec<Json>,
}

/// Reasons to refuse a component, in plain words for the team that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file is not a WebAssembly component that the engine can compile and link.
    #[error("this is no WebAssembly component: {0}")]
    NotAComponent(String),
    /// The file is native code that somebody else compiled.
    #[error("this is precompiled native code; publish the portable .wasm component")]
    Precompiled,
    /// This build compiles nothing. It runs only code that was compiled elsewhere.
    #[error("this build compiles no components")]
    NoCompiler,
    /// The component imports a function.
    #[error("it imports `{0}`; rules import no function: every fact they may use arrives as an argument")]
    Imports(String),
    /// The component lacks an export that every country must have, or has it with another type.
    #[error("it does not export `{export}` as the contract has it: {cause}")]
    MissingExport {
        /// Name of the interface or of its function.
        export: String,
        /// Cause, in the engine's words.
        cause: String,
    },
    /// The file of the component is too large.
    #[error("it is {size} bytes; its limit `component` is {limit}")]
    TooLarge {
        /// Size of the file, in bytes.
        size: u64,
        /// Maximum size, in bytes.
        limit: u64,
    },
    /// The component has more items of one kind than a host compiles.
    #[error("it has {found} {what}; a host compiles at most {limit}")]
    OverBound {
        /// Name of the counted items, in the plural.
        what: &'static str,
        /// Number of items found.
        found: u64,
        /// Maximum number of items.
        limit: u64,
    },
    /// Compiling and trying the component used up the resources that a component of its size may use.
    #[error("compiling and trying it takes more than {0}, which is the limit for a component of its size")]
    TooCostly(String),
    /// The process that compiled and tried the component crashed.
    #[error("it crashed the process that compiled and tried it: {0}")]
    Crashed(String),
    /// The process that judged the component reported this refusal.
    #[error("{why}")]
    Reported {
        /// Reason for the refusal.
        why: String,
        /// Calls that failed meanwhile, for the team to repeat outside the component. Not all, if there were many.
        failed: Vec<FailedCall>,
    },
    /// Several attempts to judge the component did not end.
    #[error(
        "{attempts} attempts to compile and try it did not end: the host or the process that did it was stopped or killed; remove {file} to have it tried again"
    )]
    NeverEnded {
        /// Number of attempts.
        attempts: u32,
        /// File that counts the attempts.
        file: String,
    },
    /// The component declares a limit above the maximum of this host.
    #[error("it asks for a limit `{limit}` of {asked}; this host allows at most {ceiling}")]
    OverCeiling {
        /// Name of the limit.
        limit: &'static str,
        /// Declared value.
        asked: u64,
        /// Maximum value.
        ceiling: u64,
    },
    /// The call to `describe` failed.
    #[error("`describe` gave no answer: {0}")]
    NoDescriptor(#[source] Fault),
    /// A value of the descriptor cannot be used.
    #[error("`describe` gives {member} `{value}`: {cause}")]
    BadDescriptor {
        /// Name of the descriptor's member.
        member: String,
        /// Value of the member, or the place in its schema.
        value: String,
        /// Reason why the value cannot be used.
        cause: String,
    },
    /// The component fails on an example of its own request schema.
    #[error("the example {example} of its request schema does not work: {cause}")]
    Example {
        /// The example, as JSON.
        example: String,
        /// Cause of the failure.
        cause: String,
    },
    /// The component does not pass these golden cases of its own.
    #[error("it does not pass {} of its golden cases, which `citas rules test` lists: {}", .0.len(), few(.0))]
    Cases(Vec<String>),
    /// The version is not signed.
    #[error(
        "it is not signed; publish it under a higher version with the key of a team that may sign for this country (`--key`)"
    )]
    Unsigned,
    /// The signing key is not in the trust file.
    #[error("it is signed with a key that the trust file does not name")]
    UnknownKey,
    /// The signing key may sign only for other countries.
    #[error("it is signed with a key that may sign for {0} alone")]
    KeyOfAnother(String),
    /// The signature does not match the manifest.
    #[error("the signature does not fit the manifest: one of them was altered, or belongs to something else")]
    Altered,
    /// The signature file is not a minisign signature.
    #[error(
        "manifest.json.minisig is no minisign signature, which has four lines and begins with `untrusted comment:`"
    )]
    NotASignature,
    /// The country or the version differs from the published one.
    #[error("the {what} is `{found}` where the manifest says `{promised}`")]
    NotAsPromised {
        /// Name of the property: `country` or `version`.
        what: &'static str,
        /// Value that was found.
        found: String,
        /// Value that was expected.
        promised: String,
    },
}

/// Returns the first few failures as one line.
fn few(failures: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if failures.len() > SHOWN { format!("{shown}; …") } else { shown }
}

impl Refusal {
    /// Returns the refusal of a value of the descriptor's `member`.
    pub fn bad_descriptor(member: &str, value: &str, cause: impl std::fmt::Display) -> Self {
        Self::BadDescriptor { member: member.into(), value: value.into(), cause: cause.to_string() }
    }
}

/// Loads components.
pub trait Engine: Send + Sync {
    /// Loads a component, ready to be called within its limits.
    ///
    /// MUST refuse a component that declares more than the engine allows, imports a function, is precompiled, or does
    /// not export `citas:rules/appointment-rules` as the contract defines it.
    ///
    /// # Errors
    /// Returns a [`Refusal`] that states the reason in plain words.
    fn load(&self, component: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal>;

    /// Loads native code, ready to be called. The engine runs the code as it is, so callers MUST pass only code that
    /// Citas itself compiled for this engine: from a [`NativeCodeStore`](crate::ports::NativeCodeStore)
    /// under this engine's name, from a process that judges, or from this host's own store.
    ///
    /// # Errors
    /// Returns an error if the code is not native code of this engine, or if its limits exceed the engine's maximum.
    fn load_native(&self, code: &[u8], limits: &Limits) -> Result<Arc<dyn Rules>, Refusal>;

    /// Returns the engine's name. It identifies everything that decides which native code the engine can load.
    fn name(&self) -> &str;
}

/// One loaded component.
///
/// Every call MUST run in a fresh instance, see nothing of any other call, and be bounded in time, in memory, and in
/// the size of its input and result.
#[expect(missing_docs, reason = "the functions are those of the contract, which documents them")]
#[expect(clippy::missing_errors_doc, reason = "each gives a Fault when there is no answer, and says nothing else")]
pub trait Rules: Send + Sync {
    /// Returns the version of the contract that the component was built for, one of [`CONTRACTS`].
    fn contract(&self) -> &'static str;
    fn describe(&self) -> Result<Descriptor, Fault>;
    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault>;
    fn act(&self, context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Verdict, Fault>;
    fn present(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault>;
    /// Returns the number of appointments, from the first on, whose input fits one call of `present`. It is at least
    /// one, because rules must be able to present whatever they stored.
    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        appointments.len()
    }
    /// Returns the key that a spelling means. By default a spelling means itself.
    fn key(&self, _of: Party, spelling: &str) -> Result<Option<String>, Fault> {
        Ok(Some(spelling.to_owned()))
    }
    /// Returns true if decisions need facts: if the component exports `fact-rules`.
    fn has_facts(&self) -> bool {
        false
    }
    /// Returns the queries for the facts of a decision. `acting` is the appointment and the name of the action; a
    /// booking has none.
    fn queries(
        &self,
        _context: &Context,
        _acting: Option<(&str, &Appointment)>,
        _input: &[Field],
    ) -> Result<Vec<FactQuery>, Fault> {
        Ok(Vec::new())
    }
    /// Returns true if the country has openings of its own: if the component exports `slot-rules` of contract 2.0.0.
    fn has_openings(&self) -> bool {
        false
    }
    /// Returns the country's own openings at a place that start in `since` <= start < `until`, by the clocks of the place.
    fn openings(
        &self,
        _context: &Context,
        _place: &Place,
        _since: DateTime,
        _until: DateTime,
    ) -> Result<Vec<Opening>, Fault> {
        Ok(Vec::new())
    }
    /// Returns the offers for these openings, or `None` if the component does not export `slot-rules`.
    fn offers(
        &self,
        _context: &Context,
        _place: &Place,
        _current: Option<&Appointment>,
        _openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        Ok(None)
    }
    /// Returns the time, in Unix seconds, by which a demand that was received at this time must be answered, or `None` if the
    /// component does not export `privacy-rules`.
    fn due(&self, _context: &Context, _demand: Demand, _received: i64) -> Result<Option<i64>, Fault> {
        Ok(None)
    }
    /// Returns the notices for an event; empty if the component does not export `notice-rules`.
    fn notices(&self, _event: &str, _current: &Appointment) -> Result<Vec<Notice>, Fault> {
        Ok(Vec::new())
    }
}
