//! Implements `pattern` and `format`, which look at every byte of a text. They run only on texts that are not longer
//! than the `maxLength` beside them, or [`MAX_LENGTH`] if there is none. The size of a pattern is bounded before it is
//! compiled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Keyword, ValidationError, Validator};
use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{self, Hir, Look};
use serde_json::{Map, Value as Json, json};

/// Default `maxLength` of a text that has a `pattern` or a `format`, in characters.
pub(super) const MAX_LENGTH: u64 = 4_096;

/// Maximum length of a pattern, in bytes. Before the size of its automaton is known, translating the pattern takes time
/// proportional to the square of its length, and its classes take up to 10 µs a byte.
const MAX_PATTERN_BYTES: usize = 300;

/// Maximum size of the automaton of one pattern, in bytes. A pattern for a code or a date takes 500 to 2,000, `\p{L}+`
/// 16,000.
const MAX_PATTERN_SIZE: usize = 64 << 10;

/// Maximum size of all patterns of a country, in bytes. A pattern that occurs in several schemas counts once in each.
pub(super) const MAX_PATTERNS_SIZE: usize = 1 << 20;

/// Fixed size of a pattern besides its automaton, in bytes.
const PATTERN_OVERHEAD: usize = 2 << 10;

/// Size of a pattern besides its automaton for each byte of its text, in bytes.
const TEXT_OVERHEAD: usize = 256;

/// Maximum size of the table that makes a simple anchored pattern fast, in bytes.
pub(super) const MAX_TABLE_SIZE: usize = 64 << 10;

/// Steps of a table for each byte of a text.
const TABLE_STEPS: u64 = 4;

/// Bytes of an automaton that are walked in one step, for each byte of a text.
const AUTOMATON_BYTES: u64 = 4;

/// Cost of matching a pattern.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    /// Steps for each byte of a text.
    pub(super) steps: u64,
    /// Bytes of a text after which the result is certain; none if the whole text may have to be read.
    pub(super) reads: Option<u64>,
}

/// Measures patterns within the remaining budget of a country.
pub(super) struct Patterns<'a> {
    left: &'a mut usize,
    measured: HashMap<String, Pattern>,
}

impl<'a> Patterns<'a> {
    /// Measures patterns against a budget of `left` bytes, and subtracts their sizes from it.
    pub(super) fn within(left: &'a mut usize) -> Self {
        Self { left, measured: HashMap::new() }
    }

    /// Measures a pattern. Building its automaton stops at the maximum size.
    pub(super) fn measure(&mut self, pattern: &str) -> Result<Pattern, String> {
        if let Some(measured) = self.measured.get(pattern) {
            return Ok(*measured);
        }
        let beside = PATTERN_OVERHEAD + TEXT_OVERHEAD * pattern.len();
        let total = MAX_PATTERNS_SIZE >> 10;
        let too_many =
            || format!("the patterns of a country take at most {total} KiB; use fewer, shorter or simpler ones");
        let left = self.left.checked_sub(beside).ok_or_else(too_many)?;
        let regex = Regex::compile(pattern)?;
        *self.left = left.checked_sub(regex.size).ok_or_else(too_many)?;
        self.measured.insert(pattern.to_owned(), regex.cost);
        Ok(regex.cost)
    }
}

/// A compiled pattern. It needs memory proportional to the pattern, and time proportional to the pattern and to the
/// text, whatever they contain. (The crate `regex` keeps a cache of megabytes for every pattern and thread.)
pub(super) struct Regex {
    engine: Engine,
    /// Size of the automaton and the table, in bytes.
    size: usize,
    cost: Pattern,
}

enum Engine {
    /// A table with one next state for each byte.
    Table(Box<onepass::DFA>),
    /// An automaton that follows all alternatives at once.
    Automaton(PikeVM),
}

impl Regex {
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        let hir = parse(pattern)?;
        let config = thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_PATTERN_SIZE));
        let automaton = thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|_| {
            let limit = MAX_PATTERN_SIZE >> 10;
            format!("the pattern takes more than {limit} KiB; repeat less, and bound the length with `maxLength`")
        })?;
        let anchored = hir.properties().look_set_prefix().contains(Look::Start);
        let reads = hir.properties().maximum_len().filter(|_| anchored).map(|bytes| bytes as u64 + 1);
        let size = automaton.memory_usage();
        let config = onepass::Config::new().size_limit(Some(MAX_TABLE_SIZE));
        let table = onepass::Builder::new().configure(config).build_from_nfa(automaton.clone());
        if let Some(table) = table.ok().filter(|_| anchored) {
            let size = size + table.memory_usage();
            return Ok(Self {
                engine: Engine::Table(Box::new(table)),
                size,
                cost: Pattern { steps: TABLE_STEPS, reads },
            });
        }
        let steps = TABLE_STEPS + size as u64 / AUTOMATON_BYTES;
        let engine = PikeVM::new_from_nfa(automaton).map_err(|error| error.to_string())?;
        Ok(Self { engine: Engine::Automaton(engine), size, cost: Pattern { steps, reads } })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match &self.engine {
            Engine::Table(table) => {
                // The pattern is anchored, so a match starts at the start of the text.
                let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
                table.try_search_slots(&mut table.create_cache(), &input, &mut []).is_ok_and(|found| found.is_some())
            }
            Engine::Automaton(engine) => engine.is_match(&mut engine.create_cache(), text),
        }
    }
}

/// Parses a pattern of ECMA 262. Refuses patterns that cannot be matched in one pass over the text.
fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
    }
    let translated = jsonschema_regex::to_rust_regex(pattern)
        .map_err(|()| "it is no regular expression of ECMA 262 that this host can run".to_owned())?;
    let syntax =
        ast::parse::Parser::new().parse(&translated).map_err(|error| format!("it cannot be run: {}", error.kind()))?;
    // Flags are refused because folding the case of a large class takes a millisecond.
    ast::visit(&syntax, NoFlags)?;
    hir::translate::Translator::new()
        .translate(&translated, &syntax)
        .map_err(|error| format!("it cannot be run: {}", error.kind()))
}

struct NoFlags;

impl ast::Visitor for NoFlags {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        let flags = match ast {
            Ast::Flags(_) => true,
            Ast::Group(group) => group.flags().is_some_and(|flags| !flags.items.is_empty()),
            _ => false,
        };
        if flags { Err("flags such as `(?i)` are not supported; list both cases: `[Aa]`".into()) } else { Ok(()) }
    }
}

/// The `pattern` or `format` of one subschema.
struct Limited {
    check: Check,
    /// Maximum length of a checked text, in characters.
    max_length: u64,
    /// Expected text, for the error.
    expected: String,
}

#[derive(Clone)]
enum Check {
    Pattern(Arc<Regex>),
    Format(Arc<Validator>),
}

impl<'i> Keyword<'i> for Limited {
    fn validate(&self, instance: &'i Json) -> Result<(), ValidationError<'i>> {
        if Keyword::is_valid(self, instance) { Ok(()) } else { Err(ValidationError::custom(self.expected.as_str())) }
    }

    fn is_valid(&self, instance: &'i Json) -> bool {
        // A longer text also violates `maxLength`, which reports it.
        let Some(text) = instance.as_str().filter(|text| !is_longer(text, self.max_length)) else { return true };
        match &self.check {
            Check::Pattern(regex) => regex.is_match(text),
            Check::Format(validator) => validator.is_valid(instance),
        }
    }
}

fn is_longer(text: &str, characters: u64) -> bool {
    text.len() as u64 > characters && text.chars().count() as u64 > characters
}

/// Makes the checks of one schema. Each pattern and each format is compiled once.
#[derive(Default)]
pub(super) struct Checks(Mutex<HashMap<String, Check>>);

impl Checks {
    /// Returns the check of the keyword `pattern`.
    pub(super) fn pattern(
        &self,
        beside: &Map<String, Json>,
        pattern: &Json,
    ) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'static>> {
        self.limited("pattern", beside, pattern, |pattern| Ok(Check::Pattern(Regex::compile(pattern)?.into())))
    }

    /// Returns the check of the keyword `format`.
    pub(super) fn format(
        &self,
        beside: &Map<String, Json>,
        format: &Json,
    ) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'static>> {
        self.limited("format", beside, format, |format| {
            let schema = json!({ "format": format });
            let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema);
            Ok(Check::Format(validator.map_err(|error| error.to_string())?.into()))
        })
    }

    fn limited(
        &self,
        keyword: &str,
        beside: &Map<String, Json>,
        value: &Json,
        make: impl FnOnce(&str) -> Result<Check, String>,
    ) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'static>> {
        let expected = value.as_str().ok_or_else(|| ValidationError::custom("it is a text"))?;
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{keyword}:{expected}");
        let check = if let Some(check) = checks.get(&key) {
            check.clone()
        } else {
            let check = make(expected).map_err(ValidationError::custom)?;
            checks.insert(key, check.clone());
            check
        };
        Ok(Box::new(Limited { check, max_length: max_length(beside), expected: expected.to_owned() }))
    }
}

/// Returns the `maxLength` among these keywords, or its default, in characters.
pub(super) fn max_length(beside: &Map<String, Json>) -> u64 {
    beside.get("maxLength").and_then(count).unwrap_or(MAX_LENGTH)
}

/// Returns a keyword's value as a count. `3.0` is a count too; values above 2⁶⁴ do not limit anything.
pub(super) fn count(value: &Json) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count that is too large is the largest"
    )]
    value.as_u64().or_else(|| value.as_f64().filter(|count| *count >= 0.0).map(|count| count as u64))
}
