//! The contracts, and their functions and types as JSON, for the tools of languages that check types only when they run.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wit_parser::{Function, Resolve, Type, TypeDefKind};

/// Contract of a country in JavaScript or Python, as its `rules.toml` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::toolkit) enum Contract {
    /// Contract 1.0.0; the default of a `rules.toml` that names none.
    #[default]
    #[serde(rename = "1.0.0")]
    V1,
    #[serde(rename = "2.0.0")]
    V2,
}

impl Contract {
    /// Returns its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "1.0.0",
            Self::V2 => "2.0.0",
        }
    }

    /// Returns its text.
    fn wit(self) -> &'static str {
        WITS[self as usize].1
    }
}

/// The contracts, by the names of their files among the tools.
pub(super) const WITS: [(&str, &str); 2] = [
    ("rules-1.0.0.wit", include_str!("../../../../wit/1.0.0/rules.wit")),
    ("rules-2.0.0.wit", include_str!("../../../../wit/2.0.0/rules.wit")),
];

/// Interfaces of each contract with their functions: for each function its parameters (`given`), its result (`answer`),
/// and the type of its error (`error`) if it has one.
pub(super) static FUNCTIONS: LazyLock<String> = LazyLock::new(|| {
    let contracts = [Contract::V1, Contract::V2].map(|contract| (contract.version().to_owned(), interfaces(contract)));
    Value::Object(contracts.into_iter().collect()).to_string()
});

fn interfaces(contract: Contract) -> Value {
    let mut resolved = Resolve::default();
    resolved.push_source(contract.version(), contract.wit()).expect("the contract is valid");
    let interfaces = resolved.interfaces.iter().filter(|(_, interface)| !interface.functions.is_empty());
    let functions = interfaces.map(|(_, interface)| {
        let functions =
            interface.functions.iter().map(|(name, function)| (name.clone(), described(&resolved, function)));
        (interface.name.clone().expect("no interface is inline"), functions.collect::<Map<_, _>>().into())
    });
    Value::Object(functions.collect())
}

fn described(contract: &Resolve, function: &Function) -> Value {
    let given: Vec<Value> =
        function.params.iter().map(|given| json!([given.name, type_of(contract, &given.ty)])).collect();
    let answer = function.result.as_ref().expect("every function has a result");
    if let Type::Id(id) = answer
        && let TypeDefKind::Result(result) = &contract.types[*id].kind
    {
        let [answer, error] = [&result.ok, &result.err].map(|of| of.as_ref().map(|of| type_of(contract, of)));
        return json!({ "given": given, "answer": answer, "error": error });
    }
    json!({ "given": given, "answer": type_of(contract, answer) })
}

fn type_of(contract: &Resolve, of: &Type) -> Value {
    let integer = |least: i64, most: i64| json!({ "kind": "integer", "least": least, "most": most });
    match of {
        Type::Bool => json!({ "kind": "flag" }),
        Type::String => json!({ "kind": "text" }),
        Type::U8 => integer(0, u8::MAX.into()),
        Type::U16 => integer(0, u16::MAX.into()),
        Type::U32 => integer(0, u32::MAX.into()),
        Type::S16 => integer(i16::MIN.into(), i16::MAX.into()),
        Type::S64 => integer(i64::MIN, i64::MAX),
        Type::Id(id) => defined(contract, *id),
        other => unreachable!("the contract has no {other:?}"),
    }
}

fn defined(contract: &Resolve, id: wit_parser::TypeId) -> Value {
    let of = |of: &Type| type_of(contract, of);
    let defined = &contract.types[id];
    match &defined.kind {
        TypeDefKind::Type(alias) => of(alias),
        TypeDefKind::List(items) => json!({ "kind": "list", "of": of(items) }),
        TypeDefKind::Option(some) => json!({ "kind": "option", "of": of(some) }),
        TypeDefKind::Tuple(tuple) => {
            json!({ "kind": "tuple", "of": tuple.types.iter().map(of).collect::<Vec<_>>() })
        }
        TypeDefKind::Record(record) => {
            let members: Vec<Value> = record.fields.iter().map(|field| json!([field.name, of(&field.ty)])).collect();
            json!({ "kind": "record", "name": defined.name, "members": members })
        }
        TypeDefKind::Enum(names) => {
            let names: Vec<&String> = names.cases.iter().map(|case| &case.name).collect();
            json!({ "kind": "enum", "name": defined.name, "names": names })
        }
        TypeDefKind::Variant(variant) => {
            let cases: Vec<Value> =
                variant.cases.iter().map(|case| json!([case.name, case.ty.as_ref().map(of)])).collect();
            json!({ "kind": "variant", "name": defined.name, "cases": cases })
        }
        other => unreachable!("the contract has no {}", other.as_str()),
    }
}
