//! Decides on the actions on a booked appointment, and on the events that they cause.

use citas_kit::{Appointment, Context, Field, Plan, Violation};

use crate::house::HOUSE;

/// Returns the plan of the action, or all its violations.
pub fn act(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Plan, Vec<Violation>> {
    let mut plan = HOUSE.act(context, current, action, input)?;
    let told = match action {
        "cancel" => Some("cancelled"),
        "reschedule" => Some("rescheduled"),
        _ => None,
    };
    plan.events.extend(told.map(String::from));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::book;
    use crate::samples::{booked, by, emergency, noon_in_lima, request};
    use citas_kit::fields::Fields;
    use citas_kit::testing::{codes, keys, stored};
    use citas_kit::{Claim, Phase, Role, Wake};

    /// Returns the context that many hours before the example's appointment, which starts at 09:30 in Lima on 1
    /// December.
    fn hours_before(hours: i64, role: Role) -> Context {
        let noon = by(role);
        Context { now: noon.now + 7 * 86_400 - 9000 - hours * 3600, ..noon }
    }

    fn in_phase(phase: Phase) -> Appointment {
        Appointment { phase, ..booked() }
    }

    /// Returns the appointment once the patient's data is erased.
    fn erased() -> Appointment {
        let mut appointment = booked();
        appointment.attributes.retain(|field| !["/dni", "/email", "/account"].contains(&field.path.as_str()));
        Appointment { patient: "x1".into(), ..appointment }
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
        assert!(act(&hours_before(2, Role::Patient), &booked(), "cancel", &[]).is_ok());
        let late = hours_before(1, Role::Patient);
        assert_eq!(codes(act(&late, &booked(), "cancel", &[])), ["pe.cancel.too-late"]);
        let moved = act(&late, &booked(), "reschedule", &to("2026-12-02", "09:30"));
        assert_eq!(codes(moved), ["pe.reschedule.too-late"]);
        assert!(act(&hours_before(1, Role::Staff), &booked(), "cancel", &[]).is_ok());
    }

    #[test]
    fn rescheduling_claims_the_new_time_and_keeps_the_rest() {
        let plan = act(&noon_in_lima(), &booked(), "reschedule", &to("2026-12-02", "10:15")).expect("allowed");
        assert_eq!(keys(&plan)[0], "doctor/45678/2026-12-02T15:15Z");
        assert_eq!(keys(&plan)[3], "patient/dni:10117410/2026-12-02T15:30Z");
        let counted = [
            Claim::new("live/patient/dni:10117410").with_places(1000).personal(),
            Claim::new("live/account/a1").with_places(1000),
        ];
        assert_eq!(plan.claims[4..], counted, "a change is never beyond the limits");
        assert_eq!(
            plan.wake,
            Some(Wake { at: booked().wake.expect("a wake").at + 86_400 + 2700, action: "remind".into() })
        );
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
        let early = act(&hours_before(1, Role::Staff), &booked(), "no-show", &[]);
        assert_eq!(codes(early), ["pe.no-show.too-early"]);
        let plan = act(&hours_before(0, Role::Staff), &booked(), "no-show", &[]).expect("its hour");
        assert_eq!(plan.phase, Phase::NoShow);
        assert!(plan.claims.is_empty() && plan.events.is_empty());
    }

    #[test]
    fn staff_records_an_arrival_from_two_hours_before() {
        let early = act(&hours_before(3, Role::Staff), &booked(), "arrive", &[]);
        assert_eq!(codes(early), ["pe.arrive.too-early"]);
        let plan = act(&hours_before(2, Role::Staff), &booked(), "arrive", &[]).expect("shortly before");
        assert_eq!((plan.phase, &plan.slot), (Phase::Arrived, &booked().slot));
        assert_eq!(keys(&plan)[..1], ["doctor/45678/2026-12-01T14:30Z"]);
        assert_eq!(plan.claims.len(), 6);
        assert!(plan.wake.is_none() && plan.events.is_empty());
        let again = act(&hours_before(0, Role::Staff), &in_phase(Phase::Arrived), "arrive", &[]);
        assert_eq!(codes(again), ["pe.arrive.not-allowed-now"]);
    }

    #[test]
    fn an_arrived_appointment_is_completed_from_the_start_on() {
        let arrived = in_phase(Phase::Arrived);
        let early = act(&hours_before(1, Role::Staff), &arrived, "complete", &[]);
        assert_eq!(codes(early), ["pe.complete.too-early"]);
        let plan = act(&hours_before(0, Role::Staff), &arrived, "complete", &[]).expect("its hour");
        assert_eq!(plan.phase, Phase::Fulfilled);
        assert!(plan.claims.is_empty() && plan.events.is_empty());
        let absent = act(&hours_before(0, Role::Staff), &booked(), "complete", &[]);
        assert_eq!(codes(absent), ["pe.complete.not-allowed-now"]);
    }

    #[test]
    fn an_arrived_appointment_that_is_moved_is_booked_again() {
        let plan = act(&by(Role::Staff), &in_phase(Phase::Arrived), "reschedule", &to("2026-12-02", "09:30"));
        assert_eq!(plan.expect("allowed").phase, Phase::Booked);
    }

    #[test]
    fn a_reminder_has_an_event_and_changes_nothing_else() {
        let plan = act(&hours_before(24, Role::Clock), &booked(), "remind", &[]).expect("a day before");
        assert_eq!(plan.events, ["reminder"]);
        assert_eq!((plan.phase, &plan.slot, plan.wake), (Phase::Booked, &booked().slot, None));
        assert_eq!((plan.patient, plan.attributes), (booked().patient, booked().attributes));
        assert_eq!(plan.claims.len(), 6);
        let late = act(&hours_before(0, Role::Clock), &booked(), "remind", &[]);
        assert_eq!(codes(late), ["pe.remind.too-late"]);
    }

    #[test]
    fn an_appointment_of_1_0_is_reminded_of_once_it_is_moved() {
        let mut stored_by_1_0 = Appointment { wake: None, ..booked() };
        stored_by_1_0.attributes.retain(|field| field.path != "/account");
        let plan = act(&noon_in_lima(), &stored_by_1_0, "reschedule", &to("2026-12-02", "09:30")).expect("allowed");
        assert_eq!(plan.wake.map(|wake| wake.action).as_deref(), Some("remind"));
        assert_eq!(plan.claims.last(), Some(&Claim::new("live/patient/dni:10117410").with_places(1000).personal()));
    }

    #[test]
    fn an_erased_appointment_keeps_its_opaque_patient_and_claims_nobody_s_time() {
        for (action, input) in [("cancel", Vec::new()), ("reschedule", to("2026-12-02", "09:30"))] {
            let plan = act(&by(Role::Staff), &erased(), action, &input).expect(action);
            assert_eq!(plan.patient, "x1");
            assert!(keys(&plan).iter().all(|key| key.starts_with("doctor/")), "{action}");
        }
    }

    #[test]
    fn an_emergency_of_nobody_known_is_found_by_its_time() {
        let mut fields = request(&[("/date", "2026-12-08"), ("/time", "23:45")]);
        fields.retain(|field| !["/dni", "/email"].contains(&field.path.as_str()));
        fields.push(emergency());
        let staff = by(Role::Staff);
        let current = stored(&staff, book(&staff, fields).expect("an emergency"));
        let moved = act(&staff, &current, "reschedule", &to("2026-12-09", "03:00")).expect("allowed");
        assert_eq!(moved.patient, "anonymous/45678/2026-12-09T08:00Z");
        assert!(moved.off_agenda);
        let cancelled = act(&staff, &current, "cancel", &[]).expect("allowed");
        assert_eq!(cancelled.patient, current.patient);
    }

    #[test]
    fn what_is_over_stays_as_it_is() {
        for action in ["cancel", "reschedule", "no-show", "arrive", "complete", "remind"] {
            let refused = act(&hours_before(-1, Role::Staff), &in_phase(Phase::Cancelled), action, &[]);
            assert_eq!(codes(refused), [format!("pe.{action}.not-allowed-now")]);
        }
    }

    #[test]
    fn an_action_that_peru_does_not_have_is_refused() {
        assert_eq!(codes(act(&noon_in_lima(), &booked(), "confirm", &[])), ["pe.action.unknown"]);
    }
}
