//! Decides on the actions on a booked appointment: cancel, reschedule, no-show.

use citas_kit::actions::Change;
use citas_kit::fields::Fields;
use citas_kit::{Appointment, Context, Field, Plan, Violation};

use crate::booking;
use crate::house::{CHANGE_HOURS, COUNTRY, SCHEDULE, visit};
use crate::patient::Patient;

/// Returns the plan of the action, or all its violations.
pub fn act(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Plan, Vec<Violation>> {
    let change = Change { country: COUNTRY, action, context, current };
    change.act(&[("cancel", cancel), ("reschedule", reschedule), ("no-show", no_show)], input)
}

fn cancel(change: &Change, input: Fields) -> Result<Plan, Vec<Violation>> {
    let mut plan = change.cancelled(CHANGE_HOURS, patient(change), input)?;
    plan.events.push("cancelled".into());
    Ok(plan)
}

fn reschedule(change: &Change, input: Fields) -> Result<Plan, Vec<Violation>> {
    let booked = Fields::new(&change.current.attributes);
    let visit = visit(change.context, booked);
    let (start, attributes) = change.moved(CHANGE_HOURS, &SCHEDULE, &visit, input)?;
    let mut plan = booking::plan(change.context, start, &Patient::booked(booked), attributes);
    plan.phase = change.current.phase;
    plan.events.push("rescheduled".into());
    Ok(plan)
}

fn no_show(change: &Change, _input: Fields) -> Result<Plan, Vec<Violation>> {
    Ok(change.missed(patient(change))?)
}

/// Returns the key that finds the appointment.
fn patient(change: &Change) -> String {
    let Appointment { slot, attributes, .. } = change.current;
    let attributes = Fields::new(attributes);
    let start = slot.as_ref().and_then(|slot| change.context.start_of(slot)).unwrap_or_default();
    let doctor = attributes.text("/doctor").unwrap_or_default();
    Patient::booked(attributes).whom(doctor, start).key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{booked, codes, noon_in_lima};
    use citas_kit::Phase;

    /// Returns the context that many hours before the example's appointment, which starts at 09:30 in Lima on 1
    /// December.
    fn hours_before(hours: i64, role: &str) -> Context {
        let noon = noon_in_lima();
        Context { now: noon.now + 7 * 86_400 - 9000 - hours * 3600, role: role.into(), ..noon }
    }

    fn to(date: &str, time: &str) -> Vec<Field> {
        vec![Field::text("/date", date), Field::text("/time", time)]
    }

    #[test]
    fn a_cancelled_appointment_holds_nobody_s_time() {
        let reason = [Field::text("/reason", "viaje")];
        let plan = act(&noon_in_lima(), &booked(), "cancel", &reason).expect("in time");
        assert_eq!(plan.phase, Phase::Cancelled);
        assert!(plan.claims.is_empty());
        assert_eq!(plan.slot, booked().slot);
        assert_eq!(plan.patient, "dni:10117410");
        assert_eq!(plan.events, ["cancelled"]);
        assert_eq!(Fields::new(&plan.attributes).text("/cancellation/reason"), Some("viaje"));
    }

    #[test]
    fn patients_change_until_two_hours_before() {
        assert!(act(&hours_before(2, "patient"), &booked(), "cancel", &[]).is_ok());
        let late = hours_before(1, "patient");
        assert_eq!(codes(act(&late, &booked(), "cancel", &[])), ["pe.cancel.too-late"]);
        let moved = act(&late, &booked(), "reschedule", &to("2026-12-02", "09:30"));
        assert_eq!(codes(moved), ["pe.reschedule.too-late"]);
        assert!(act(&hours_before(1, "staff"), &booked(), "cancel", &[]).is_ok());
    }

    #[test]
    fn rescheduling_claims_the_new_time_and_keeps_the_rest() {
        let plan = act(&noon_in_lima(), &booked(), "reschedule", &to("2026-12-02", "10:15")).expect("allowed");
        assert_eq!(plan.claims[0], "doctor/45678/2026-12-02T15:15Z");
        assert_eq!(plan.claims[3], "patient/dni:10117410/2026-12-02T15:30Z");
        let attributes = Fields::new(&plan.attributes);
        assert_eq!(attributes.text("/date"), Some("2026-12-02"));
        assert_eq!(attributes.text("/time"), Some("10:15"));
        assert_eq!(attributes.text("/email"), Some("ana@example.com"));
        assert_eq!((plan.phase, plan.events), (Phase::Booked, vec!["rescheduled".to_string()]));
    }

    #[test]
    fn rescheduling_checks_the_new_time_like_a_booking() {
        let moved = act(&noon_in_lima(), &booked(), "reschedule", &to("2026-12-08", "20:00"));
        assert_eq!(codes(moved), ["pe.date.holiday", "pe.time.closed"]);
    }

    #[test]
    fn nobody_failed_to_come_before_the_hour() {
        let early = act(&hours_before(1, "staff"), &booked(), "no-show", &[]);
        assert_eq!(codes(early), ["pe.no-show.too-early"]);
        let plan = act(&hours_before(0, "staff"), &booked(), "no-show", &[]).expect("its hour");
        assert_eq!(plan.phase, Phase::NoShow);
        assert!(plan.claims.is_empty() && plan.events.is_empty());
    }

    #[test]
    fn what_is_over_stays_as_it_is() {
        let over = Appointment { phase: Phase::Cancelled, ..booked() };
        for action in ["cancel", "reschedule", "no-show"] {
            let refused = act(&hours_before(-1, "staff"), &over, action, &[]);
            assert_eq!(codes(refused), [format!("pe.{action}.not-allowed-now")]);
        }
    }

    #[test]
    fn an_action_that_peru_does_not_have_is_refused() {
        assert_eq!(codes(act(&noon_in_lima(), &booked(), "confirm", &[])), ["pe.action.unknown"]);
    }
}
