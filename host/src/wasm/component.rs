//! One loaded component and the mechanics of its calls, each in an instance of its own. The modules of the contracts know
//! its functions.

use std::sync::Arc;
use std::time::Instant;

use citas_core::ports::{CONTRACTS, Fault, Refusal, Rules};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower,
};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};

use super::error::first_line;
use super::limits::{ANSWER_BYTES, Bounds, Limiter, OverLimit, TICKS};
use super::meter::{Meter, Metered};
use super::{v1, v2};

/// Makes a component callable by the contract that it exports, or by the latest of several. Records calls if there is a
/// meter.
pub(super) fn link(
    engine: &Engine,
    component: &Component,
    bounds: Bounds,
    meter: Option<Arc<Meter>>,
) -> Result<Arc<dyn Rules>, Refusal> {
    let exports = Exports::of(engine, component, bounds, meter)?;
    let has = |contract: &&&str| exports.has(&full_name("appointment-rules", contract));
    match CONTRACTS.iter().rev().find(has) {
        Some(&v1::CONTRACT) => Ok(Arc::new(v1::RulesV1::link(exports)?)),
        Some(_) => Ok(Arc::new(v2::RulesV2::link(exports)?)),
        None => {
            let cause = format!("there is none; the host runs the contracts {}", CONTRACTS.join(" and "));
            Err(Refusal::MissingExport { export: "citas:rules/appointment-rules".into(), cause })
        }
    }
}

/// A linked component, of which each call gets an instance.
pub(super) struct Calls {
    component: InstancePre<Limiter>,
    bounds: Bounds,
    meter: Option<Arc<Meter>>,
}

/// Name and index of a component's function.
pub(super) struct Function {
    name: &'static str,
    place: ComponentExportIndex,
}

impl Calls {
    /// Calls a function in an instance of its own.
    pub(super) fn call<Input, Answer>(&self, function: &Function, input: Input) -> Result<Answer, Fault>
    where
        Input: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift,
    {
        let Some(meter) = &self.meter else {
            return self.call_in(&mut store(self.component.engine(), self.bounds), function, input);
        };
        let started = Instant::now();
        let mut store = store(self.component.engine(), self.bounds);
        let answer = self.call_in(&mut store, function, input);
        let fuel = self.bounds.fuel - store.get_fuel().expect("the engine consumes fuel");
        let memory = store.data().memory();
        // The end of the instance is part of the call.
        drop(store);
        meter.note(Metered { function: function.name, fuel, memory, time: started.elapsed() });
        answer
    }

    fn call_in<Input, Answer>(
        &self,
        store: &mut Store<Limiter>,
        function: &Function,
        input: Input,
    ) -> Result<Answer, Fault>
    where
        Input: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift,
    {
        let instance = self.component.instantiate(&mut *store).map_err(|cause| fault(&cause))?;
        let function =
            instance.get_typed_func::<Input, Answer>(&mut *store, function.place).map_err(|cause| fault(&cause))?;
        function.call(store, input).map_err(|cause| fault(&cause))
    }
}

/// The exports of a component that is being linked. Functions are found, and their types checked, on a first instance,
/// which also shows that the component can be instantiated.
pub(super) struct Exports<'a> {
    calls: Calls,
    component: &'a Component,
    store: Store<Limiter>,
    instance: Instance,
}

/// One interface of a component that is being linked.
pub(super) struct Interface {
    name: String,
    place: ComponentExportIndex,
}

impl<'a> Exports<'a> {
    fn of(
        engine: &Engine,
        component: &'a Component,
        bounds: Bounds,
        meter: Option<Arc<Meter>>,
    ) -> Result<Self, Refusal> {
        let linked = Linker::new(engine)
            .instantiate_pre(component)
            .map_err(|cause| Refusal::NotAComponent(first_line(&cause)))?;
        let mut store = store(engine, bounds);
        let instance = linked.instantiate(&mut store).map_err(|cause| Refusal::NoDescriptor(fault(&cause)))?;
        Ok(Self { calls: Calls { component: linked, bounds, meter }, component, store, instance })
    }

    /// Returns the linked component, once its functions are found.
    pub(super) fn linked(self) -> Calls {
        self.calls
    }

    fn has(&self, name: &str) -> bool {
        self.component.get_export_index(None, name).is_some()
    }

    /// Returns an interface of a contract if the component exports it.
    pub(super) fn find(&self, name: &str, contract: &str) -> Option<Interface> {
        let name = full_name(name, contract);
        let place = self.component.get_export_index(None, name.as_str())?;
        Some(Interface { name, place })
    }

    /// Returns the interface that every component of a contract exports.
    pub(super) fn required(&self, contract: &str) -> Interface {
        self.find("appointment-rules", contract).expect("the contract was found by it")
    }

    /// Returns a function of an interface if it has the contract's type.
    pub(super) fn function<Input, Answer>(
        &mut self,
        interface: &Interface,
        name: &'static str,
    ) -> Result<Function, Refusal>
    where
        Input: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift,
    {
        let wrong = |cause| Refusal::MissingExport { export: format!("{}#{name}", interface.name), cause };
        let Some(place) = self.component.get_export_index(Some(&interface.place), name) else {
            return Err(wrong("there is none".into()));
        };
        match self.instance.get_typed_func::<Input, Answer>(&mut self.store, &place) {
            Ok(_) => Ok(Function { name, place }),
            Err(cause) => Err(wrong(first_line(&cause))),
        }
    }
}

fn full_name(interface: &str, contract: &str) -> String {
    format!("citas:rules/{interface}@{contract}")
}

/// Creates a store for one call, with its limits.
fn store(engine: &Engine, bounds: Bounds) -> Store<Limiter> {
    let mut store = Store::new(engine, Limiter::new(bounds));
    store.limiter(|limiter| limiter);
    store.set_fuel(bounds.fuel).expect("the engine consumes fuel");
    store.set_epoch_deadline(TICKS);
    store.set_hostcall_fuel(ANSWER_BYTES);
    store
}

/// Converts an error of a call to a fault, without the backtrace and without anything from the guest's input.
fn fault(error: &wasmtime::Error) -> Fault {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap);
    }
    if let Some(limit) = error.downcast_ref::<OverLimit>() {
        return Fault::Trapped(limit.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Busy;
    }
    let cause = first_line(error);
    // wasmtime does not export the type of this error.
    if cause.ends_with("fuel allocated for hostcalls has been exhausted") {
        return Fault::AnswerTooLarge { limit: ANSWER_BYTES };
    }
    Fault::BadAnswer(cause)
}

fn trapped(trap: Trap) -> Fault {
    match trap {
        Trap::OutOfFuel => Fault::OverBudget("fuel"),
        Trap::Interrupt => Fault::OverBudget("time"),
        Trap::UnreachableCodeReached => Fault::Trapped("it panicked".into()),
        Trap::StackOverflow => Fault::Trapped("it recursed too deep".into()),
        Trap::MemoryOutOfBounds => {
            Fault::Trapped("it reached outside its memory, as a stack that overflows does".into())
        }
        other => Fault::Trapped(other.to_string().trim_start_matches("wasm trap: ").to_owned()),
    }
}
