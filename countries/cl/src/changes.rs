//! Decides on the actions on a booked appointment. None of them sends a notice.

use citas_kit::{Appointment, Context, Field, Plan, Violation};

use crate::house::HOUSE;

/// Returns the plan of the action, or all its violations.
pub fn act(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Plan, Vec<Violation>> {
    HOUSE.act(context, current, action, input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{booked, noon_in_santiago};
    use citas_kit::fields::Fields;
    use citas_kit::testing::{caller, codes, keys};
    use citas_kit::{Phase, Role};

    /// Returns the context that many hours before the appointment, which starts at 09:30 in Santiago on 1 December.
    fn hours_before(hours: i64, role: Role) -> Context {
        let noon = noon_in_santiago();
        Context { now: noon.now + 7 * 86_400 - 9000 - hours * 3600, caller: caller(role, "a1"), ..noon }
    }

    fn in_phase(phase: Phase) -> Appointment {
        Appointment { phase, ..booked() }
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
        assert!(act(&hours_before(24, Role::Patient), &booked(), "cancel", &reason()).is_ok());
        let late = hours_before(23, Role::Patient);
        assert_eq!(codes(act(&late, &booked(), "cancel", &reason())), ["cl.cancel.too-late"]);
        let moved = act(&late, &booked(), "reschedule", &to("2026-12-02", "09:30"));
        assert_eq!(codes(moved), ["cl.reschedule.too-late"]);
        assert!(act(&hours_before(-2, Role::Staff), &booked(), "cancel", &reason()).is_ok());
    }

    #[test]
    fn rescheduling_claims_the_new_time_and_keeps_the_rest() {
        let plan = act(&noon_in_santiago(), &booked(), "reschedule", &to("2026-12-02", "10:00")).expect("allowed");
        assert_eq!(keys(&plan)[0], "doctor/123456/2026-12-02T13:00Z");
        assert_eq!(plan.claims.len(), 8);
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
        let early = act(&hours_before(1, Role::Staff), &booked(), "no-show", &[]);
        assert_eq!(codes(early), ["cl.no-show.too-early"]);
        let plan = act(&hours_before(0, Role::Staff), &booked(), "no-show", &[]).expect("its hour");
        assert_eq!(plan.phase, Phase::NoShow);
    }

    #[test]
    fn staff_records_arrival_and_completion() {
        let arrived = act(&hours_before(2, Role::Staff), &booked(), "arrive", &[]).expect("shortly before");
        assert_eq!((arrived.phase, arrived.claims.len()), (Phase::Arrived, 8));
        let seen = act(&hours_before(0, Role::Staff), &in_phase(Phase::Arrived), "complete", &[]).expect("its hour");
        assert_eq!((seen.phase, seen.claims.len()), (Phase::Fulfilled, 0));
    }

    #[test]
    fn an_erased_appointment_keeps_its_opaque_patient() {
        let mut erased = booked();
        erased.attributes.retain(|field| !["/run", "/email", "/account"].contains(&field.path.as_str()));
        erased.patient = "x1".into();
        for (action, input) in [("cancel", reason()), ("reschedule", to("2026-12-02", "10:00"))] {
            let plan = act(&hours_before(48, Role::Staff), &erased, action, &input).expect(action);
            assert_eq!(plan.patient, "x1");
            assert!(keys(&plan).iter().all(|key| key.starts_with("doctor/")), "{action}");
        }
    }

    #[test]
    fn what_is_over_stays_as_it_is() {
        for action in ["cancel", "reschedule", "no-show", "arrive", "complete"] {
            let refused = act(&hours_before(-1, Role::Staff), &in_phase(Phase::NoShow), action, &[]);
            assert_eq!(codes(refused), [format!("cl.{action}.not-allowed-now")]);
        }
    }

    #[test]
    fn an_action_that_chile_does_not_have_is_refused() {
        for action in ["confirm", "remind"] {
            assert_eq!(codes(act(&noon_in_santiago(), &booked(), action, &[])), ["cl.action.unknown"]);
        }
    }
}
