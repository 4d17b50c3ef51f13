//! `pattern` and `format`, which look at every byte of a text: they run only on a text that is no longer than the
//! `maxLength` beside them, or [`MAX_LENGTH`] where there is none, and a pattern's size is bounded before it is compiled.

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

/// The `maxLength`, in characters, of a text that has a `pattern` or a `format` and declares none.
pub(super) const MAX_LENGTH: u64 = 4_096;

/// Maximum length of a pattern, in bytes. Translating it takes time in proportion to its square, and its classes take up
/// to 10 µs a byte, before its size is known.
const MAX_PATTERN_BYTES: usize = 300;

/// Maximum size of one pattern as an automaton, in bytes. A pattern of a code or a date has 500 to 2,000, `\p{L}+` 16,000.
const MAX_PATTERN_SIZE: usize = 64 << 10;

/// Maximum size of a country's patterns, in bytes: those of all its schemas, each counted once a schema.
pub(super) const MAX_PATTERNS_SIZE: usize = 1 << 20;

/// Size of a pattern beside its automaton, in bytes: for what is around it, and for each byte of its text.
const PATTERN_OVERHEAD: usize = 2 << 10;
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
    /// The bytes of a text after which the answer is certain; none where it may have to read all of it.
    pub(super) reads: Option<u64>,
}

/// Measures patterns, within what is left for a country.
pub(super) struct Patterns<'a> {
    left: &'a mut usize,
    measured: HashMap<String, Pattern>,
}

impl<'a> Patterns<'a> {
    /// At most `left` bytes of automata, from which what is measured is taken.
    pub(super) fn within(left: &'a mut usize) -> Self {
        Self { left, measured: HashMap::new() }
    }

    /// Measures a pattern. Building its automaton ends at the limit.
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

/// A compiled pattern. It needs memory in proportion to the pattern, and time in proportion to pattern and text, whatever
/// they are. (The crate `regex` keeps a cache of megabytes for every pattern and thread.)
pub(super) struct Regex {
    engine: Engine,
    /// In bytes.
    size: usize,
    cost: Pattern,
}

enum Engine {
    /// At each byte there is one way on.
    Table(Box<onepass::DFA>),
    /// All ways are followed at once.
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
                // The pattern is anchored, so a match starts where the text does.
                let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
                table.try_search_slots(&mut table.create_cache(), &input, &mut []).is_ok_and(|found| found.is_some())
            }
            Engine::Automaton(engine) => engine.is_match(&mut engine.create_cache(), text),
        }
    }
}

/// Parses a pattern of ECMA 262, as far as it can be matched in one pass.
fn parse(pattern: &str) -> Result<Hir, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
    }
    let translated = jsonschema_regex::to_rust_regex(pattern)
        .map_err(|()| "it is no regular expression of ECMA 262 that this host can run".to_owned())?;
    let syntax =
        ast::parse::Parser::new().parse(&translated).map_err(|error| format!("it cannot be run: {}", error.kind()))?;
    // Folding the case of a large class takes a millisecond.
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

/// `pattern` or `format` of one subschema.
struct Limited {
    check: Check,
    /// In characters.
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
        // A longer text does not fit the `maxLength` either, which says so.
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

/// Makes the checks of one schema, each pattern and format once.
#[derive(Default)]
pub(super) struct Checks(Mutex<HashMap<String, Check>>);

impl Checks {
    /// The keyword `pattern`.
    pub(super) fn pattern(
        &self,
        beside: &Map<String, Json>,
        pattern: &Json,
    ) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'static>> {
        self.limited("pattern", beside, pattern, |pattern| Ok(Check::Pattern(Regex::compile(pattern)?.into())))
    }

    /// The keyword `format`.
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

/// The `maxLength` that holds beside these keywords, in characters.
pub(super) fn max_length(beside: &Map<String, Json>) -> u64 {
    beside.get("maxLength").and_then(count).unwrap_or(MAX_LENGTH)
}

/// A keyword's value as a count. `3.0` is one too; what is beyond 2⁶⁴ bounds nothing.
pub(super) fn count(value: &Json) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count that is too large is the largest"
    )]
    value.as_u64().or_else(|| value.as_f64().filter(|count| *count >= 0.0).map(|count| count as u64))
}
