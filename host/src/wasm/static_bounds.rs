//! Counts the parts of a component before it is compiled, and refuses one that would take a compiler much longer than
//! its size suggests. Reads the bytes once. Does not validate them, and allocates nothing of a size that they declare.
//!
//! The limits of the compiling process apply to everything that this check does not see.

use citas_core::ports::Refusal;
use wasmparser::{
    BinaryReaderError, BlockType, CompositeInnerType, Encoding, FunctionBody, Operator, Parser, Payload, RefType,
    TableInit, TypeRef, TypeSectionReader,
};

/// Bounds of a whole component, with everything nested in it. The comments give the counts of Peru, which is in Rust,
/// and of the countries that `citas rules new` creates in JavaScript and Python.
const BOUNDS: [(&str, u64); KINDS] = [
    ("functions", 100_000),                             // 160, 1,800 and 13,469
    ("locals", 500_000),                                // 674, 8,777 and 47,764
    ("types", 20_000),                                  // 131, 523 and 1,472
    ("nested modules and components", 500),             // 5, 36 and 41
    ("data segments", 50_000),                          // 1, 6,293 and 1,971
    ("element segments", 1_000),                        // 1, 5 and 7
    ("instances and aliases", 20_000),                  // 29, 365 and 1,562
    ("imports and exports", 50_000),                    // 85, 606 and 6,896
    ("globals, memories and tables", 10_000),           // 5, 25 and 871
    ("values passed by branches and calls", 3_000_000), // 2,558, 63,587 and 261,001
];

const KINDS: usize = 10;

/// Maximum size of a function's body, in bytes. Python's interpreter has one of 426,843. Compiling takes more than
/// linear time and memory in the size of a function.
const MAX_FUNCTION_BYTES: u64 = 2_000_000;

/// Maximum number of locals in one function. Peru, JavaScript and Python have 35, 86 and 271.
const MAX_FUNCTION_LOCALS: u64 = 5_000;

/// Maximum number of values that the branches and calls of one function pass. A `br_table` counts the values of every
/// target. Peru, JavaScript and Python have 191, 2,176 and 7,780. Each value becomes an operand of the compiler's code,
/// however few bytes encode it.
const MAX_FUNCTION_VALUES: u64 = 100_000;

/// Maximum nesting of modules and components. Peru, JavaScript and Python have 2, 4 and 2.
const MAX_DEPTH: u64 = 16;

/// Index into [`BOUNDS`].
#[derive(Clone, Copy)]
enum Kind {
    Functions,
    Locals,
    Types,
    Nested,
    Data,
    Elements,
    Instances,
    Names,
    Globals,
    Values,
}

/// Counts of a component.
#[derive(Debug, Default)]
pub struct Census {
    counts: [u64; KINDS],
    function_bytes: u64,
    function_locals: u64,
    function_values: u64,
    depth: u64,
}

/// The parts of a core module that are read: the number of parameters and results of each function type, and the type
/// of each function.
#[derive(Default)]
struct Module {
    types: Vec<Signature>,
    functions: Vec<u32>,
    bodies: usize,
    imported: usize,
}

#[derive(Clone, Copy, Default)]
struct Signature {
    params: u64,
    results: u64,
}

impl Signature {
    fn values(self) -> u64 {
        self.params + self.results
    }
}

/// Counts the parts of a component.
///
/// # Errors
/// Returns an error if the component exceeds a bound, or its bytes are no WebAssembly.
pub fn census(component: &[u8]) -> Result<Census, Refusal> {
    let mut census = Census::default();
    let mut modules: Vec<Option<Module>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        census.payload(&mut modules, payload.map_err(malformed)?)?;
    }
    Ok(census)
}

impl Census {
    fn payload(&mut self, modules: &mut Vec<Option<Module>>, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding, .. } => {
                modules.push((encoding == Encoding::Module).then(Module::default));
                self.depth = self.depth.max(modules.len() as u64);
                bounded("levels of nested modules and components", self.depth, MAX_DEPTH)?;
                return self.add(Kind::Nested, 1);
            }
            Payload::End(_) => drop(modules.pop()),
            _ => {}
        }
        match (modules.last_mut(), payload) {
            (Some(Some(module)), payload) => self.core(module, payload),
            (_, payload) => self.component(&payload),
        }
    }

    fn component(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::CoreTypeSection(section) => self.add(Kind::Types, section.count()),
            Payload::ComponentTypeSection(section) => self.add(Kind::Types, section.count()),
            Payload::InstanceSection(section) => self.add(Kind::Instances, section.count()),
            Payload::ComponentInstanceSection(section) => self.add(Kind::Instances, section.count()),
            Payload::ComponentAliasSection(section) => self.add(Kind::Instances, section.count()),
            Payload::ComponentCanonicalSection(section) => self.add(Kind::Functions, section.count()),
            Payload::ComponentImportSection(section) => self.add(Kind::Names, section.count()),
            Payload::ComponentExportSection(section) => self.add(Kind::Names, section.count()),
            _ => Ok(()),
        }
    }

    fn core(&mut self, module: &mut Module, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => {
                self.add(Kind::Types, section.count())?;
                module.add_types(section)
            }
            Payload::ImportSection(section) => {
                self.add(Kind::Names, section.count())?;
                for import in section.into_imports() {
                    if let TypeRef::Func(of) | TypeRef::FuncExact(of) = import.map_err(malformed)?.ty {
                        module.functions.push(of);
                        module.imported += 1;
                    }
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                self.add(Kind::Functions, section.count())?;
                for of in section {
                    module.functions.push(of.map_err(malformed)?);
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                self.add(Kind::Globals, section.count())?;
                section.into_iter().try_for_each(|table| {
                    let table = table.map_err(malformed)?;
                    let is_plain = matches!(table.init, TableInit::RefNull);
                    refuse_references(is_plain && table.ty.element_type == RefType::FUNCREF)
                })
            }
            Payload::MemorySection(section) => self.add(Kind::Globals, section.count()),
            Payload::GlobalSection(section) => self.add(Kind::Globals, section.count()),
            Payload::ExportSection(section) => self.add(Kind::Names, section.count()),
            Payload::ElementSection(section) => self.add(Kind::Elements, section.count()),
            Payload::DataSection(section) => self.add(Kind::Data, section.count()),
            Payload::CodeSectionEntry(body) => self.function(module, &body),
            _ => Ok(()),
        }
    }

    fn function(&mut self, module: &mut Module, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        let bytes = body.range().len() as u64;
        self.function_bytes = self.function_bytes.max(bytes);
        bounded("bytes in one function", bytes, MAX_FUNCTION_BYTES)?;
        let mut locals: u64 = 0;
        for declared in body.get_locals_reader().map_err(malformed)? {
            locals += u64::from(declared.map_err(malformed)?.0);
            bounded("locals in one function", locals, MAX_FUNCTION_LOCALS)?;
        }
        self.function_locals = self.function_locals.max(locals);
        self.add(Kind::Locals, u32::try_from(locals).unwrap_or(u32::MAX))?;
        let own = module.functions.get(module.imported + module.bodies).copied().unwrap_or(u32::MAX);
        module.bodies += 1;
        let values = module.values(own, body)?;
        self.function_values = self.function_values.max(values);
        self.add(Kind::Values, u32::try_from(values).unwrap_or(u32::MAX))
    }

    fn add(&mut self, kind: Kind, more: u32) -> Result<(), Refusal> {
        let (what, limit) = BOUNDS[kind as usize];
        let count = &mut self.counts[kind as usize];
        *count += u64::from(more);
        bounded(what, *count, limit)
    }
}

impl Module {
    fn add_types(&mut self, section: TypeSectionReader<'_>) -> Result<(), Refusal> {
        for group in section {
            for declared in group.map_err(malformed)?.into_types() {
                self.types.push(match declared.composite_type.inner {
                    CompositeInnerType::Func(of) => {
                        Signature { params: of.params().len() as u64, results: of.results().len() as u64 }
                    }
                    _ => Signature::default(),
                });
            }
        }
        Ok(())
    }

    fn signature(&self, of: u32) -> Signature {
        // The validator refuses an index that does not exist.
        self.types.get(of as usize).copied().unwrap_or_default()
    }

    fn callee(&self, function: u32) -> Signature {
        self.functions.get(function as usize).map_or_else(Signature::default, |of| self.signature(*of))
    }

    fn block(&self, of: BlockType) -> Signature {
        match of {
            BlockType::Empty => Signature::default(),
            BlockType::Type(_) => Signature { params: 0, results: 1 },
            BlockType::FuncType(of) => self.signature(of),
        }
    }

    /// Returns the number of values that the branches and calls of a function pass.
    fn values(&self, own: u32, body: &FunctionBody<'_>) -> Result<u64, Refusal> {
        let own = self.signature(own);
        // Number of values that a branch to each label passes, the innermost label last.
        let mut labels = vec![own.results];
        let mut operators = body.get_operators_reader().map_err(malformed)?;
        let mut values: u64 = 0;
        while !operators.eof() {
            let label = |depth: u32| labels.iter().rev().nth(depth as usize).copied().unwrap_or_default();
            values += match operators.read().map_err(malformed)? {
                Operator::Block { blockty } | Operator::If { blockty } => {
                    let block = self.block(blockty);
                    labels.push(block.results);
                    block.values()
                }
                Operator::Loop { blockty } => {
                    let block = self.block(blockty);
                    labels.push(block.params);
                    block.values()
                }
                Operator::TryTable { try_table } => {
                    let block = self.block(try_table.ty);
                    labels.push(block.results);
                    block.values() + try_table.catches.len() as u64
                }
                Operator::End => labels.pop().unwrap_or_default(),
                Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => label(relative_depth),
                Operator::BrTable { targets } => {
                    let mut sum = label(targets.default());
                    for target in targets.targets() {
                        sum += label(target.map_err(malformed)?);
                        bounded("values passed by the branches of one function", sum, MAX_FUNCTION_VALUES)?;
                    }
                    sum
                }
                Operator::Return => own.results,
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    self.callee(function_index).values()
                }
                Operator::CallIndirect { type_index, .. } | Operator::ReturnCallIndirect { type_index, .. } => {
                    self.signature(type_index).values()
                }
                _ => 0,
            };
            bounded("values passed by the branches and calls of one function", values, MAX_FUNCTION_VALUES)?;
        }
        Ok(values)
    }
}

fn bounded(what: &'static str, found: u64, limit: u64) -> Result<(), Refusal> {
    if found > limit { Err(Refusal::OverBound { what, found, limit }) } else { Ok(()) }
}

fn refuse_references(is_plain: bool) -> Result<(), Refusal> {
    let why = "it has a table of references that are not to functions, or an initialised one; rules need none";
    if is_plain { Ok(()) } else { Err(Refusal::NotAComponent(why.into())) }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn malformed(error: BinaryReaderError) -> Refusal {
    Refusal::NotAComponent(error.message().to_owned())
}
