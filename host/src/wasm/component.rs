//! One loaded component and the calls to it, each in an instance of its own. Knows nothing of the use of the results.

use std::sync::Arc;
use std::time::Instant;

use citas_core::model::{Appointment, Context, Descriptor, Field, Notice, Offer, Slot, Verdict};
use citas_core::ports::{CONTRACT, Fault, Refusal, Rules};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Linker, Lower,
};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};

use super::error::first_line;
use super::limits::{ANSWER_BYTES, Bounds, INPUT_BYTES, Limiter, OverLimit, TICKS};
use super::meter::{Meter, Metered};
use super::{convert, wit};

type BookInput<'a> = (&'a wit::Context, &'a [wit::Field]);
type ActInput<'a> = (&'a wit::Context, &'a wit::Appointment, &'a str, &'a [wit::Field]);
type PresentInput<'a> = (&'a [wit::Appointment],);
type OffersInput<'a> = (&'a wit::Context, &'a [wit::Field], &'a [wit::Slot]);
type NoticesInput<'a> = (&'a str, &'a wit::Appointment);

type DescribeAnswer = (wit::Descriptor,);
type VerdictAnswer = (Result<wit::Plan, Vec<wit::Violation>>,);
type PresentAnswer = (Vec<Vec<wit::Field>>,);
type OffersAnswer = (Vec<wit::Offer>,);
type NoticesAnswer = (Vec<wit::Notice>,);

/// A linked component with the indices of its functions.
pub(super) struct WasmRules {
    component: InstancePre<Limiter>,
    bounds: Bounds,
    meter: Option<Arc<Meter>>,
    describe: Function,
    book: Function,
    act: Function,
    present: Function,
    offers: Option<Function>,
    notices: Option<Function>,
}

/// Name and index of a component's function.
struct Function {
    name: &'static str,
    place: ComponentExportIndex,
}

impl WasmRules {
    /// Finds the functions and checks their types on a first instance, which also shows that the component can be
    /// instantiated. Records calls if there is a meter.
    pub(super) fn link(
        engine: &Engine,
        component: &Component,
        bounds: Bounds,
        meter: Option<Arc<Meter>>,
    ) -> Result<Self, Refusal> {
        let linked = Linker::new(engine)
            .instantiate_pre(component)
            .map_err(|cause| Refusal::NotAComponent(first_line(&cause)))?;
        let mut store = store(engine, bounds);
        let instance = linked.instantiate(&mut store).map_err(|cause| Refusal::NoDescriptor(fault(&cause)))?;

        let mut rules = Interface::required("appointment-rules", component, &mut store, instance)?;
        let describe = rules.function::<(), DescribeAnswer>("describe")?;
        let book = rules.function::<BookInput, VerdictAnswer>("book")?;
        let act = rules.function::<ActInput, VerdictAnswer>("act")?;
        let present = rules.function::<PresentInput, PresentAnswer>("present")?;
        let offers = match Interface::find("slot-rules", component, &mut store, instance) {
            Some(mut slots) => Some(slots.function::<OffersInput, OffersAnswer>("offers")?),
            None => None,
        };
        let notices = match Interface::find("notice-rules", component, &mut store, instance) {
            Some(mut notices) => Some(notices.function::<NoticesInput, NoticesAnswer>("notices")?),
            None => None,
        };
        Ok(Self { component: linked, bounds, meter, describe, book, act, present, offers, notices })
    }

    fn call<Input, Answer>(&self, function: &Function, input: Input) -> Result<Answer, Fault>
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

impl Rules for WasmRules {
    fn describe(&self) -> Result<Descriptor, Fault> {
        let (descriptor,): DescribeAnswer = self.call(&self.describe, ())?;
        Ok(convert::descriptor_of(descriptor))
    }

    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        let (context, request) = (convert::context(context), input(request)?);
        let (verdict,): VerdictAnswer = self.call::<BookInput, _>(&self.book, (&context, &request))?;
        convert::verdict_of(verdict)
    }

    fn act(&self, context: &Context, current: &Appointment, action: &str, given: &[Field]) -> Result<Verdict, Fault> {
        let (context, current, given) = (convert::context(context), convert::appointment(current), input(given)?);
        let (verdict,): VerdictAnswer = self.call::<ActInput, _>(&self.act, (&context, &current, action, &given))?;
        convert::verdict_of(verdict)
    }

    fn present(&self, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        if self.fitting(appointments) < appointments.len() {
            return Err(Fault::InputTooLarge { limit: INPUT_BYTES });
        }
        let appointments: Vec<_> = appointments.iter().map(|appointment| convert::appointment(appointment)).collect();
        let (views,): PresentAnswer = self.call::<PresentInput, _>(&self.present, (&appointments,))?;
        views.into_iter().map(convert::fields_of).collect()
    }

    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        let mut weight = 0;
        let fitting = appointments.iter().take_while(|appointment| {
            weight += convert::weight(&appointment.attributes);
            weight <= INPUT_BYTES
        });
        fitting.count().max(1).min(appointments.len())
    }

    fn offers(&self, context: &Context, place: &[Field], openings: &[Slot]) -> Result<Option<Vec<Offer>>, Fault> {
        let Some(function) = &self.offers else { return Ok(None) };
        let (context, place) = (convert::context(context), input(place)?);
        let openings: Vec<_> = openings.iter().map(convert::slot).collect();
        let (offers,): OffersAnswer = self.call::<OffersInput, _>(function, (&context, &place, &openings))?;
        offers.into_iter().map(convert::offer_of).collect::<Result<_, _>>().map(Some)
    }

    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        let Some(function) = &self.notices else { return Ok(Vec::new()) };
        let current = convert::appointment(current);
        let (notices,): NoticesAnswer = self.call::<NoticesInput, _>(function, (event, &current))?;
        Ok(notices.into_iter().map(convert::notice_of).collect())
    }
}

/// One interface of a component that is being linked.
struct Interface<'a> {
    name: String,
    place: ComponentExportIndex,
    component: &'a Component,
    store: &'a mut Store<Limiter>,
    instance: Instance,
}

impl<'a> Interface<'a> {
    fn find(name: &str, component: &'a Component, store: &'a mut Store<Limiter>, instance: Instance) -> Option<Self> {
        let name = full_name(name);
        let place = component.get_export_index(None, name.as_str())?;
        Some(Self { name, place, component, store, instance })
    }

    fn required(
        name: &str,
        component: &'a Component,
        store: &'a mut Store<Limiter>,
        instance: Instance,
    ) -> Result<Self, Refusal> {
        Self::find(name, component, store, instance)
            .ok_or_else(|| Refusal::MissingExport { export: full_name(name), cause: "there is none".into() })
    }

    fn function<Input, Answer>(&mut self, name: &'static str) -> Result<Function, Refusal>
    where
        Input: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift,
    {
        let wrong = |cause| Refusal::MissingExport { export: format!("{}#{name}", self.name), cause };
        let Some(place) = self.component.get_export_index(Some(&self.place), name) else {
            return Err(wrong("there is none".into()));
        };
        match self.instance.get_typed_func::<Input, Answer>(&mut *self.store, &place) {
            Ok(_) => Ok(Function { name, place }),
            Err(cause) => Err(wrong(first_line(&cause))),
        }
    }
}

fn full_name(interface: &str) -> String {
    format!("citas:rules/{interface}@{CONTRACT}")
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

fn input(fields: &[Field]) -> Result<Vec<wit::Field>, Fault> {
    if convert::weight(fields) > INPUT_BYTES {
        return Err(Fault::InputTooLarge { limit: INPUT_BYTES });
    }
    Ok(convert::fields(fields))
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
