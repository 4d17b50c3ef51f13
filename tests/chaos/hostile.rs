//! Components that harm the host that loads them, each built here from its description. Unless stated otherwise, they
//! are good components with an additional core module that nothing uses.

use std::fmt::Write as _;

/// A hostile artefact: its fault, its component and golden cases, and parts of its refusal.
pub struct Hostile {
    pub name: &'static str,
    pub component: Vec<u8>,
    pub cases: String,
    pub why: &'static [&'static str],
}

/// Parts of a refusal by the limits of the process. The machine decides which limit comes first.
const COSTLY: &[&str] = &["compiling and trying it takes more than"];

/// Returns every artefact that needs no other build of the chaos country than the well-behaved one.
pub fn all(good: &[u8]) -> Vec<Hostile> {
    let unused = |name, module: Vec<u8>, why| hostile(name, with_module(good, &module), why);
    let alone = |name, text: &str, why| hostile(name, wat::parse_str(text).unwrap(), why);
    vec![
        unused("a br_table over blocks with many results", br_table(1_000, 1_000), &["values passed by the branches"]),
        unused("many branches with many results", branches(1_000, 600), &["values passed by the branches"]),
        unused("many calls with many results", calls(1_000, 600), &["values passed by the branches"]),
        unused("many functions", functions(120_000), &["functions; a host compiles at most"]),
        unused("many locals in one function", locals(1, 49_000), &["locals in one function"]),
        unused("many locals in all", locals(200, 4_900), &["locals; a host compiles at most"]),
        unused("a large function", long_function(3_000_000), &["bytes in one function"]),
        unused("loops that change many locals", loops(8, 150, 4_900), COSTLY),
        unused("many types", types(21_000), &["types; a host compiles at most"]),
        unused("many data segments", data_segments(51_000), &["data segments; a host compiles at most"]),
        hostile("components in components", nested_components(5_000), &["levels of nested modules"]),
        hostile("types in types", nested_types(2_000_000), &["it crashed the process", "nest", "depth", "large"]),
        hostile("types that double", doubling_types(60), &["type size", "no WebAssembly component"]),
        alone("a memory of 64 bits", "(component (core module (memory i64 1)))", &["memory64"]),
        alone("pages of one byte", "(component (core module (memory 1 (pagesize 1))))", &["page size"]),
        alone("an exception", "(component (core module (tag)))", &["exception"]),
        alone("a structure", "(component (core module (type (struct))))", &["gc"]),
        alone("a shared memory", "(component (core module (memory 1 1 shared)))", &["thread", "shared"]),
        alone(
            "a reference to one type of function",
            "(component (core module (type $f (func)) (func (param (ref null $f)))))",
            &["function references", "reference types", "gc"],
        ),
        alone("a table of other references", "(component (core module (table 1 externref)))", &["table of references"]),
        alone(
            "an endless start function",
            "(component (core module $m (func $f loop br 0 end) (start $f)) (core instance (instantiate $m)))",
            &["budget of fuel"],
        ),
        alone(
            "a start function that takes memory",
            "(component (core module $m (memory 1) (func $f (drop (memory.grow (i32.const 60000)))) (start $f))
                (core instance (instantiate $m)))",
            &["limit `memory`"],
        ),
        alone(
            "a large table",
            "(component (core module $m (table 9000000 funcref)) (core instance (instantiate $m)))",
            &["limit `table`"],
        ),
        Hostile {
            name: "golden cases without an end",
            component: good.to_vec(),
            cases: endless_cases(20_000),
            why: COSTLY,
        },
    ]
}

pub fn hostile(name: &'static str, component: Vec<u8>, why: &'static [&'static str]) -> Hostile {
    Hostile { name, component, cases: "[]".into(), why }
}

/// Returns a component followed by a core module that nothing instantiates.
pub fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    [component, &section(1, module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Encodes a vector as WebAssembly does.
fn vector(items: &[Vec<u8>]) -> Vec<u8> {
    [leb(items.len()), items.concat()].concat()
}

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Returns a module of functions without parameters and results, from their bodies.
pub fn module_of(bodies: &[Vec<u8>]) -> Vec<u8> {
    let sized = |body: &Vec<u8>| [leb(body.len()), body.clone()].concat();
    let code: Vec<_> = bodies.iter().map(sized).collect();
    [
        MODULE,
        &section(1, &vector(&[vec![0x60, 0, 0]])),
        &section(3, &vector(&vec![vec![0]; bodies.len()])),
        &section(10, &vector(&code)),
    ]
    .concat()
}

/// Returns one function: `blocks` nested blocks, each with `results` results, and one `br_table` over all of them.
fn br_table(blocks: usize, results: usize) -> Vec<u8> {
    with_results(results, |text| {
        text.push_str(&"block (type $many)\n".repeat(blocks));
        text.push_str(&"i32.const 0\n".repeat(results));
        text.push_str("i32.const 0\nbr_table");
        (0..blocks).for_each(|label| write!(text, " {label}").unwrap());
        text.push_str(&"\nend".repeat(blocks));
    })
}

fn branches(results: usize, branches: usize) -> Vec<u8> {
    with_results(results, |text| {
        text.push_str(&"i32.const 0\n".repeat(results));
        text.push_str(&"i32.const 0\nbr_if 0\n".repeat(branches));
    })
}

/// Returns `functions` functions of nested loops, each of which may restart with every local changed. They are within
/// the bounds, and yet the compiled code has an operand for each local at each branch.
fn loops(functions: usize, loops: usize, locals: usize) -> Vec<u8> {
    let mut body = [vec![1], leb(locals), vec![0x7e], [0x03, 0x40].repeat(loops)].concat();
    for local in 0..locals {
        let next = (local + 1) % locals;
        body.extend([vec![0x20], leb(next), vec![0x42, 1, 0x7c, 0x21], leb(local)].concat());
    }
    for label in 0..loops {
        body.extend([vec![0x20, 0, 0xa7, 0x0d], leb(label)].concat());
    }
    body.extend(vec![0x0b; loops + 1]);
    module_of(&vec![body; functions])
}

fn calls(results: usize, calls: usize) -> Vec<u8> {
    with_results(results, |text| {
        text.push_str(&format!("call 0\n{}", "drop\n".repeat(results)).repeat(calls));
        text.push_str("unreachable");
    })
}

fn with_results(results: usize, body: impl FnOnce(&mut String)) -> Vec<u8> {
    let mut text = format!("(module (type $many (func (result{}))) (func (type $many)\n", " i32".repeat(results));
    body(&mut text);
    text.push_str("))");
    wat::parse_str(text).unwrap()
}

fn functions(count: usize) -> Vec<u8> {
    module_of(&vec![vec![0, 0x0b]; count])
}

fn locals(functions: usize, locals: usize) -> Vec<u8> {
    let body = [vec![1], leb(locals), vec![0x7e, 0x0b]].concat();
    module_of(&vec![body; functions])
}

fn long_function(bytes: usize) -> Vec<u8> {
    module_of(&[[vec![0], vec![0x01; bytes], vec![0x0b]].concat()])
}

fn types(count: usize) -> Vec<u8> {
    [MODULE, &section(1, &vector(&vec![vec![0x60, 0, 0]; count]))].concat()
}

fn data_segments(count: usize) -> Vec<u8> {
    [MODULE, &section(11, &vector(&vec![vec![1, 0]; count]))].concat()
}

fn nested_components(depth: usize) -> Vec<u8> {
    let mut component = COMPONENT.to_vec();
    for _ in 0..depth {
        component = [COMPONENT, &section(4, &component)].concat();
    }
    component
}

/// Returns a component type that declares a component type, and so on, `depth` times.
fn nested_types(depth: usize) -> Vec<u8> {
    let types = [vec![1], [0x41, 1, 1].repeat(depth), vec![0x41, 0]].concat();
    [COMPONENT, &section(7, &types)].concat()
}

/// Returns a component of types, each a pair of the one before.
fn doubling_types(types: usize) -> Vec<u8> {
    let mut text = "(component (type $t0 (tuple u8 u8))".to_owned();
    (1..types).for_each(|number| {
        write!(text, "(type $t{number} (tuple $t{} $t{}))", number - 1, number - 1).unwrap();
    });
    text.push(')');
    wat::parse_str(text).unwrap()
}

/// Returns `count` cases that each use up the budget of a call.
pub fn endless_cases(count: usize) -> String {
    let case = |number| {
        format!(
            r#"{{"name":"{number}","now":"2026-11-24T15:00:00Z","book":{{"mode":"loop","doctor":"1","date":"2026-12-01","time":"09:30","email":"a@example.com"}},"expect":{{"plan":{{}}}}}}"#
        )
    };
    format!("[{}]", (0..count).map(case).collect::<Vec<_>>().join(","))
}
