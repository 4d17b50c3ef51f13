//! Decides on the actions on a booked appointment: cancel, reschedule, no-show.

use citas_kit::actions::Change;
use citas_kit::fields::Fields;
use citas_kit::schedule::Whom;
use citas_kit::{Appointment, Context, Field, Plan, Violation};

use crate::house::{CHANGE_HOURS, COUNTRY, SCHEDULE, clock, visit};
use crate::patient::Patient;

/// Returns the plan of the action, or all its violations.
pub fn act(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Plan, Vec<Violation>> {
    let change = Change { country: COUNTRY, action, context, current };
    change.act(&[("cancel", cancel), ("reschedule", reschedule), ("no-show", no_show)], input)
}

fn cancel(change: &Change, input: Fields) -> Result<Plan, Vec<Violation>> {
    Ok(change.cancelled(CHANGE_HOURS, patient(change).key, input)?)
}

fn reschedule(change: &Change, input: Fields) -> Result<Plan, Vec<Violation>> {
    let booked = Fields::new(&change.current.attributes);
    let visit = visit(change.context, clock(change.context, booked), booked);
    let (start, attributes) = change.moved(CHANGE_HOURS, &SCHEDULE, &visit, input)?;
    let plan = SCHEDULE.plan(visit.clock, visit.length, start, patient(change), attributes);
    Ok(Plan { phase: change.current.phase, ..plan })
}

fn no_show(change: &Change, _input: Fields) -> Result<Plan, Vec<Violation>> {
    Ok(change.missed(patient(change).key)?)
}

/// Returns the patient of the appointment, by whose key it is found.
fn patient(change: &Change) -> Whom {
    let patient = Patient::booked(Fields::new(&change.current.attributes));
    patient.map(|patient| patient.whom()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{booked, codes, noon_in_santiago};
    use citas_kit::Phase;

    /// Returns the context that many hours before the appointment, which starts at 09:30 in Santiago on 1 December.
    fn hours_before(hours: i64, role: &str) -> Context {
        let noon = noon_in_santiago();
        Context { now: noon.now + 7 * 86_400 - 9000 - hours * 3600, role: role.into(), ..noon }
    }

    fn reason() -> Vec<Field> {
        vec![Field::text("/reason", "patient")]
    }

    fn to(date: &str, time: &str) -> Vec<Field> {
        vec![Field::text("/date", date), Field::text("/time", time)]
    }

    #[test]
    fn a_cancelled_appointment_holds_nobody_s_time_and_keeps_the_reason() {
        let plan = act(&noon_in_santiago(), &booked(), "cancel", &reason()).expect("in time");
        assert_eq!(plan.phase, Phase::Cancelled);
        assert!(plan.claims.is_empty() && plan.events.is_empty());
        assert_eq!(plan.patient, "run:12345678-5");
        assert_eq!(Fields::new(&plan.attributes).text("/cancellation/reason"), Some("patient"));
    }

    #[test]
    fn patients_change_until_a_day_before() {
        assert!(act(&hours_before(24, "patient"), &booked(), "cancel", &reason()).is_ok());
        let late = hours_before(23, "patient");
        assert_eq!(codes(act(&late, &booked(), "cancel", &reason())), ["cl.cancel.too-late"]);
        let moved = act(&late, &booked(), "reschedule", &to("2026-12-02", "09:30"));
        assert_eq!(codes(moved), ["cl.reschedule.too-late"]);
        assert!(act(&hours_before(-2, "staff"), &booked(), "cancel", &reason()).is_ok());
    }

    #[test]
    fn rescheduling_claims_the_new_time_and_keeps_the_rest() {
        let plan = act(&noon_in_santiago(), &booked(), "reschedule", &to("2026-12-02", "10:00")).expect("allowed");
        assert_eq!(plan.claims[0], "doctor/123456/2026-12-02T13:00Z");
        assert_eq!(plan.claims.len(), 6);
        assert_eq!(plan.phase, Phase::Booked);
        let attributes = Fields::new(&plan.attributes);
        assert_eq!(attributes.text("/time"), Some("10:00"));
        assert_eq!(attributes.text("/prevision/tramo"), Some("A"));
    }

    #[test]
    fn rescheduling_checks_the_new_time_like_a_booking() {
        let moved = act(&noon_in_santiago(), &booked(), "reschedule", &to("2026-12-08", "20:00"));
        assert_eq!(codes(moved), ["cl.date.holiday", "cl.time.closed"]);
    }

    #[test]
    fn nobody_failed_to_come_before_the_hour() {
        let early = act(&hours_before(1, "staff"), &booked(), "no-show", &[]);
        assert_eq!(codes(early), ["cl.no-show.too-early"]);
        let plan = act(&hours_before(0, "staff"), &booked(), "no-show", &[]).expect("its hour");
        assert_eq!(plan.phase, Phase::NoShow);
    }

    #[test]
    fn what_is_over_stays_as_it_is() {
        let over = Appointment { phase: Phase::NoShow, ..booked() };
        for action in ["cancel", "reschedule", "no-show"] {
            let refused = act(&hours_before(-1, "staff"), &over, action, &[]);
            assert_eq!(codes(refused), [format!("cl.{action}.not-allowed-now")]);
        }
    }

    #[test]
    fn an_action_that_chile_does_not_have_is_refused() {
        assert_eq!(codes(act(&noon_in_santiago(), &booked(), "confirm", &[])), ["cl.action.unknown"]);
    }
}
