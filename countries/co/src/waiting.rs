//! Open requests: they wait for staff while they have no date, then for the patient's confirmation. A patient has one
//! open request in each specialty, and each has a deadline.

use citas_kit::civil::{Date, Time};
use citas_kit::clock::civil_text;
use citas_kit::fields::{Fields, set};
use citas_kit::{Claim, Context, Field, Phase, Plan, Wake};

use crate::house::{clock, confirm_until};

/// Prefix of the claim that limits a patient to one open request in a specialty.
pub const REQUEST: &str = "request/";

/// Name of the scheduled action that reports a request on which staff have not acted in time.
pub const OVERDUE: &str = "overdue";

/// Name of the scheduled action that releases an unconfirmed time.
pub const LAPSE: &str = "lapse";

/// Path of the day by which staff must act on a request.
pub const DUE: &str = "/due";

/// Path of the flag that staff have authorised the request.
pub const AUTHORISED: &str = "/authorised";

/// Path of the local time until which the patient can confirm.
pub const CONFIRM_BY: &str = "/confirmBy";

/// Adds the claim and the deadline of an open request to a plan that is requested or pending. `patient` is `None` once
/// erased.
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

/// Returns the wake after the last day on which staff act in time. An authorised request has none.
fn overdue(context: &Context, request: Fields) -> Option<Wake> {
    let due = Date::parse(request.text(DUE)?).filter(|_| !request.flag(AUTHORISED))?;
    let midnight = due.plus(1).at(Time::new(0, 0));
    Wake::ahead(context, clock(context).read(midnight).instant(), OVERDUE)
}

/// Returns the wake at the end of the time to confirm, and sets that time in the attributes.
fn lapse(context: &Context, plan: &mut Plan) -> Option<Wake> {
    let clock = clock(context);
    let until = confirm_until(context.now, clock.read(plan.slot.as_ref()?.start).instant());
    set(&mut plan.attributes, Field::text(CONFIRM_BY, civil_text(clock.civil(until))));
    Wake::ahead(context, until, LAPSE)
}
