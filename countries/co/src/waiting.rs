//! Requests that wait for somebody: for staff while they have no date, then for the patient's confirmation. Both are open
//! requests, of which a patient has one in each specialty, and both have a time limit.

use citas_kit::civil::{Date, Time};
use citas_kit::clock::civil_text;
use citas_kit::fields::{Fields, set};
use citas_kit::{Claim, Context, Field, Phase, Plan, Wake};

use crate::house::{clock, confirm_until};

/// Beginning of the claim by which a patient has one open request in a specialty.
pub const REQUEST: &str = "request/";

/// Name of the action by which time tells that staff have not acted on a request.
pub const OVERDUE: &str = "overdue";

/// Name of the action by which time releases what was not confirmed.
pub const LAPSE: &str = "lapse";

/// Path of the last day on which staff act on a request in time.
pub const DUE: &str = "/due";

/// Path of the flag of staff's decision on an authorisation.
pub const AUTHORISED: &str = "/authorised";

/// Path of the time until which the patient confirms, by the clocks of Colombia.
pub const CONFIRM_BY: &str = "/confirmBy";

/// Adds to a plan that waits, and to no other, the claim of the open request and the action at its time limit. The patient
/// is not known once erased.
pub fn waiting(context: &Context, mut plan: Plan, patient: Option<&str>) -> Plan {
    plan.wake = match plan.phase {
        Phase::Requested => overdue(context, Fields::new(&plan.attributes)),
        Phase::Pending => lapse(context, &mut plan),
        _ => return plan,
    };
    let specialty = Fields::new(&plan.attributes).text("/specialty").unwrap_or_default();
    let open = patient.map(|patient| Claim::new([REQUEST, specialty, "/", patient].concat()).personal());
    plan.claims.extend(open);
    plan
}

/// Returns the wake after the last day on which staff act in time. Nothing is due of an authorised request.
fn overdue(context: &Context, request: Fields) -> Option<Wake> {
    let due = Date::parse(request.text(DUE)?).filter(|_| !request.flag(AUTHORISED))?;
    let midnight = due.plus(1).at(Time::new(0, 0));
    Wake::ahead(context, clock(context).read(midnight).instant(), OVERDUE)
}

/// Returns the wake at which the time to confirm ends, and notes that time in the attributes.
fn lapse(context: &Context, plan: &mut Plan) -> Option<Wake> {
    let clock = clock(context);
    let until = confirm_until(context.now, clock.read(plan.slot.as_ref()?.start).instant());
    set(&mut plan.attributes, Field::text(CONFIRM_BY, civil_text(clock.civil(until))));
    Wake::ahead(context, until, LAPSE)
}
