//! Contract 2.0.0: the calls of its functions.

mod convert;
mod wit;

use citas_core::model::{
    Appointment, Context, Demand, Descriptor, FactQuery, Field, Notice, Offered, Opening, Party, Place, Role, Verdict,
};
use citas_core::ports::{Fault, Refusal, Rules};
use jiff::civil::DateTime;

use wasmtime::component::{ComponentNamedList, Lift, Lower};

use super::component::{Calls, Exports, Function};
use super::limits::FACTS_BYTES;
use super::size;

/// Version of the contract.
pub(super) const CONTRACT: &str = "2.0.0";

type BookInput<'a> = (&'a wit::Context, &'a [wit::Field]);
type ActInput<'a> = (&'a wit::Context, &'a wit::Appointment, &'a str, &'a [wit::Field]);
type PresentInput<'a> = (wit::Role, &'a [wit::Appointment]);
type KeyInput<'a> = (wit::Party, &'a str);
type OpeningsInput<'a> = (&'a wit::Context, &'a wit::Place, wit::Civil, wit::Civil);
type OffersInput<'a> = (&'a wit::Context, &'a wit::Place, Option<&'a wit::Appointment>, &'a [wit::Opening]);
type NoticesInput<'a> = (&'a str, &'a wit::Appointment);
type DueInput<'a> = (&'a wit::Context, wit::Demand, i64);

type VerdictAnswer = (Result<wit::Plan, wit::Refusal>,);
/// Result of a function that can return an error text of the rules.
type OrFault<T> = (Result<T, String>,);

/// A component of this contract.
pub(super) struct RulesV2 {
    calls: Calls,
    describe: Function,
    book: Function,
    act: Function,
    present: Function,
    key: Function,
    facts: Option<FactFunctions>,
    slots: Option<SlotFunctions>,
    notices: Option<Function>,
    due: Option<Function>,
}

struct SlotFunctions {
    openings: Function,
    offers: Function,
}

struct FactFunctions {
    before_booking: Function,
    before_action: Function,
}

impl RulesV2 {
    /// Finds the functions and checks their types.
    pub(super) fn link(mut exports: Exports<'_>) -> Result<Self, Refusal> {
        let rules = exports.required(CONTRACT);
        let describe = exports.function::<(), OrFault<wit::Descriptor>>(&rules, "describe")?;
        let book = exports.function::<BookInput, VerdictAnswer>(&rules, "book")?;
        let act = exports.function::<ActInput, VerdictAnswer>(&rules, "act")?;
        let present = exports.function::<PresentInput, OrFault<Vec<Vec<wit::Field>>>>(&rules, "present")?;
        let key = exports.function::<KeyInput, OrFault<Option<String>>>(&rules, "key")?;
        let facts = match exports.find("fact-rules", CONTRACT) {
            Some(facts) => Some(FactFunctions {
                before_booking: exports.function::<BookInput, OrFault<Vec<wit::Query>>>(&facts, "before-booking")?,
                before_action: exports.function::<ActInput, OrFault<Vec<wit::Query>>>(&facts, "before-action")?,
            }),
            None => None,
        };
        let slots = match exports.find("slot-rules", CONTRACT) {
            Some(slots) => Some(SlotFunctions {
                openings: exports.function::<OpeningsInput, OrFault<Vec<wit::Opening>>>(&slots, "openings")?,
                offers: exports.function::<OffersInput, OrFault<wit::Offered>>(&slots, "offers")?,
            }),
            None => None,
        };
        let notices = match exports.find("notice-rules", CONTRACT) {
            Some(notices) => Some(exports.function::<NoticesInput, OrFault<Vec<wit::Notice>>>(&notices, "notices")?),
            None => None,
        };
        let due = match exports.find("privacy-rules", CONTRACT) {
            Some(privacy) => Some(exports.function::<DueInput, OrFault<i64>>(&privacy, "due")?),
            None => None,
        };
        Ok(Self { calls: exports.linked(), describe, book, act, present, key, facts, slots, notices, due })
    }
}

impl Rules for RulesV2 {
    fn contract(&self) -> &'static str {
        CONTRACT
    }

    fn describe(&self) -> Result<Descriptor, Fault> {
        self.answer(&self.describe, ()).map(convert::descriptor_of)
    }

    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        let (context, request) = (checked(context)?, input(request)?);
        let (verdict,): VerdictAnswer = self.calls.call::<BookInput, _>(&self.book, (&context, &request))?;
        convert::verdict_of(verdict)
    }

    fn act(&self, context: &Context, current: &Appointment, action: &str, given: &[Field]) -> Result<Verdict, Fault> {
        let (context, current, given) = (checked(context)?, convert::appointment(current), input(given)?);
        let given: ActInput = (&context, &current, action, &given);
        let (verdict,): VerdictAnswer = self.calls.call(&self.act, given)?;
        convert::verdict_of(verdict)
    }

    fn present(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        size::check_all(appointments)?;
        let appointments: Vec<_> = appointments.iter().map(|appointment| convert::appointment(appointment)).collect();
        let given: PresentInput = (convert::role(role), &appointments);
        let views: Vec<Vec<wit::Field>> = self.answer(&self.present, given)?;
        views.into_iter().map(convert::fields_of).collect()
    }

    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        size::fitting(appointments)
    }

    fn key(&self, of: Party, spelling: &str) -> Result<Option<String>, Fault> {
        self.answer::<KeyInput, _>(&self.key, (convert::party(of), spelling))
    }

    fn has_facts(&self) -> bool {
        self.facts.is_some()
    }

    fn queries(
        &self,
        context: &Context,
        acting: Option<(&str, &Appointment)>,
        given: &[Field],
    ) -> Result<Vec<FactQuery>, Fault> {
        let Some(functions) = &self.facts else { return Ok(Vec::new()) };
        let (context, given) = (checked(context)?, input(given)?);
        let queries: Vec<wit::Query> = match acting {
            None => self.answer::<BookInput, _>(&functions.before_booking, (&context, &given))?,
            Some((action, current)) => {
                let current = convert::appointment(current);
                self.answer::<ActInput, _>(&functions.before_action, (&context, &current, action, &given))?
            }
        };
        Ok(queries.into_iter().map(convert::query_of).collect())
    }

    fn has_openings(&self) -> bool {
        self.slots.is_some()
    }

    fn openings(&self, context: &Context, at: &Place, since: DateTime, until: DateTime) -> Result<Vec<Opening>, Fault> {
        let Some(functions) = &self.slots else { return Ok(Vec::new()) };
        let (context, at) = (checked(context)?, place(at)?);
        let given: OpeningsInput = (&context, &at, convert::civil(since), convert::civil(until));
        let openings: Vec<wit::Opening> = self.answer(&functions.openings, given)?;
        openings.into_iter().map(convert::opening_of).collect()
    }

    fn offers(
        &self,
        context: &Context,
        at: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        let Some(functions) = &self.slots else { return Ok(None) };
        let (context, at, current) = (checked(context)?, place(at)?, current.map(convert::appointment));
        let openings: Vec<_> = openings.iter().map(convert::opening).collect();
        let given: OffersInput = (&context, &at, current.as_ref(), &openings);
        let offered: wit::Offered = self.answer(&functions.offers, given)?;
        convert::offered_of(offered).map(Some)
    }

    fn due(&self, context: &Context, demand: Demand, received: i64) -> Result<Option<i64>, Fault> {
        let Some(function) = &self.due else { return Ok(None) };
        let context = checked(context)?;
        self.answer::<DueInput, _>(function, (&context, convert::demand(demand), received)).map(Some)
    }

    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        let Some(function) = &self.notices else { return Ok(Vec::new()) };
        let current = convert::appointment(current);
        let notices: Vec<wit::Notice> = self.answer::<NoticesInput, _>(function, (event, &current))?;
        Ok(notices.into_iter().map(convert::notice_of).collect())
    }
}

impl RulesV2 {
    /// Calls a function that can return an error text of the rules.
    fn answer<Input, Answer>(&self, function: &Function, input: Input) -> Result<Answer, Fault>
    where
        Input: ComponentNamedList + Lower,
        OrFault<Answer>: ComponentNamedList + Lift,
    {
        let (answer,): OrFault<Answer> = self.calls.call(function, input)?;
        answer.map_err(Fault::Failed)
    }
}

fn place(place: &Place) -> Result<wit::Place, Fault> {
    let Place { doctor, hospital, fields } = place;
    Ok(wit::Place { doctor: doctor.clone(), hospital: hospital.clone(), fields: input(fields)? })
}

fn input(fields: &[Field]) -> Result<Vec<wit::Field>, Fault> {
    size::check(fields)?;
    Ok(convert::fields(fields))
}

/// Converts a context. Refuses facts that are too large together.
fn checked(context: &Context) -> Result<wit::Context, Fault> {
    let appointments = context.facts.iter().flat_map(|fact| &fact.appointments);
    if appointments.map(|found| size::weight(&found.attributes)).sum::<usize>() > FACTS_BYTES {
        return Err(Fault::InputTooLarge { limit: FACTS_BYTES });
    }
    Ok(convert::context(context))
}
