//! Contract 1.0.0: the calls of its functions. It has neither facts nor keys, and its appointments have fewer members.

mod convert;
mod wit;

use citas_core::model::{Appointment, Context, Descriptor, Field, Notice, Offered, Opening, Place, Role, Verdict};
use citas_core::ports::{Fault, Refusal, Rules};

use super::component::{Calls, Exports, Function};
use super::size;

/// Version of the contract.
pub(super) const CONTRACT: &str = "1.0.0";

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

/// A component of this contract.
pub(super) struct RulesV1 {
    calls: Calls,
    describe: Function,
    book: Function,
    act: Function,
    present: Function,
    offers: Option<Function>,
    notices: Option<Function>,
}

impl RulesV1 {
    /// Finds the functions and checks their types.
    pub(super) fn link(mut exports: Exports<'_>) -> Result<Self, Refusal> {
        let rules = exports.required(CONTRACT);
        let describe = exports.function::<(), DescribeAnswer>(&rules, "describe")?;
        let book = exports.function::<BookInput, VerdictAnswer>(&rules, "book")?;
        let act = exports.function::<ActInput, VerdictAnswer>(&rules, "act")?;
        let present = exports.function::<PresentInput, PresentAnswer>(&rules, "present")?;
        let offers = match exports.find("slot-rules", CONTRACT) {
            Some(slots) => Some(exports.function::<OffersInput, OffersAnswer>(&slots, "offers")?),
            None => None,
        };
        let notices = match exports.find("notice-rules", CONTRACT) {
            Some(notices) => Some(exports.function::<NoticesInput, NoticesAnswer>(&notices, "notices")?),
            None => None,
        };
        Ok(Self { calls: exports.linked(), describe, book, act, present, offers, notices })
    }
}

impl Rules for RulesV1 {
    fn contract(&self) -> &'static str {
        CONTRACT
    }

    fn describe(&self) -> Result<Descriptor, Fault> {
        let (descriptor,): DescribeAnswer = self.calls.call(&self.describe, ())?;
        Ok(convert::descriptor_of(descriptor))
    }

    fn book(&self, context: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        let (context, request) = (convert::context(context), input(request)?);
        let (verdict,): VerdictAnswer = self.calls.call::<BookInput, _>(&self.book, (&context, &request))?;
        convert::verdict_of(verdict)
    }

    fn act(&self, context: &Context, current: &Appointment, action: &str, given: &[Field]) -> Result<Verdict, Fault> {
        let (context, current, given) = (convert::context(context), convert::appointment(current), input(given)?);
        let given: ActInput = (&context, &current, action, &given);
        let (verdict,): VerdictAnswer = self.calls.call(&self.act, given)?;
        convert::verdict_of(verdict)
    }

    fn present(&self, _: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        size::check_all(appointments)?;
        let appointments: Vec<_> = appointments.iter().map(|appointment| convert::appointment(appointment)).collect();
        let (views,): PresentAnswer = self.calls.call::<PresentInput, _>(&self.present, (&appointments,))?;
        views.into_iter().map(convert::fields_of).collect()
    }

    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        size::fitting(appointments)
    }

    fn offers(
        &self,
        context: &Context,
        place: &Place,
        _: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        let Some(function) = &self.offers else { return Ok(None) };
        let (context, place) = (convert::context(context), input(&place.fields)?);
        let slots: Vec<_> = openings.iter().map(|opening| convert::slot(&opening.slot)).collect();
        let (offers,): OffersAnswer = self.calls.call::<OffersInput, _>(function, (&context, &place, &slots))?;
        convert::offered_of(offers, openings).map(Some)
    }

    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        let Some(function) = &self.notices else { return Ok(Vec::new()) };
        let current = convert::appointment(current);
        let (notices,): NoticesAnswer = self.calls.call::<NoticesInput, _>(function, (event, &current))?;
        Ok(notices.into_iter().map(convert::notice_of).collect())
    }
}

fn input(fields: &[Field]) -> Result<Vec<wit::Field>, Fault> {
    size::check(fields)?;
    Ok(convert::fields(fields))
}
