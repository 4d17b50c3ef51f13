//! Decides on the actions on a request and on the appointment that it becomes, and on the events that they cause.

use citas_kit::actions::Change;
use citas_kit::fields::{Fields, set, unpad};
use citas_kit::quotas::{Quotas, booked_by};
use citas_kit::violations::Findings;
use citas_kit::{Appointment, Context, Field, Phase, Plan, Role, Value, Violation};

use crate::house::{COUNTRY, HOUSE, MAX_MOVES, visit};
use crate::specialties::{Specialty, Way};
use crate::waiting::{AUTHORISED, CONFIRM_BY, DUE, LAPSE, OVERDUE, waiting};

/// Path of the number of times that the patient did not confirm.
const LAPSES: &str = "/lapses";

/// Number of times that a patient may let an assigned time lapse: with the last one the request ends.
const MAX_LAPSES: i64 = 2;

/// Attributes of an assigned time.
const ASSIGNMENT: [&str; 7] = ["/doctor", "/hospital", "/date", "/time", "/room", "/assignment/reason", CONFIRM_BY];

type Decision = Result<Plan, Vec<Violation>>;

/// An action, with the patient's key.
struct Acting<'a> {
    change: Change<'a>,
    input: Fields<'a>,
    patient: Option<&'a str>,
}

/// Returns the plan of the action, or all its violations.
pub fn act(context: &Context, current: &Appointment, action: &str, input: &[Field]) -> Decision {
    let patient = (HOUSE.patient)(Fields::new(&current.attributes));
    let acting = Acting {
        change: Change { country: COUNTRY, action, context, current },
        input: Fields::new(input),
        patient: patient.as_deref(),
    };
    let (plan, event) = match action {
        "authorise" => (acting.authorised()?, Some("authorised")),
        "decline" => (acting.declined()?, Some("declined")),
        "assign" => (acting.assigned()?, Some("assigned")),
        "confirm" => (acting.confirmed()?, Some("confirmed")),
        LAPSE => (acting.lapsed()?, Some("lapsed")),
        OVERDUE => (acting.overdue()?, Some(acting.lateness())),
        "reschedule" => (acting.rescheduled(input)?, Some("rescheduled")),
        "cancel" => (HOUSE.act(context, current, action, input)?, Some("cancelled")),
        _ => (HOUSE.act(context, current, action, input)?, None),
    };
    let mut plan = waiting(context, plan, acting.patient);
    plan.events.extend(event.map(String::from));
    Ok(plan)
}

impl Acting<'_> {
    /// Returns the plan of a request that staff authorise.
    fn authorised(&self) -> Decision {
        self.undecided()?;
        let mut plan = self.kept(Phase::Requested);
        set(&mut plan.attributes, flag(AUTHORISED, true));
        Ok(plan)
    }

    /// Returns the plan of a request that staff decline, which ends it.
    fn declined(&self) -> Decision {
        self.undecided()?;
        let mut plan = self.change.release(Phase::Cancelled, self.key());
        set(&mut plan.attributes, flag(AUTHORISED, false));
        let reason = self.input.text("/reason").unwrap_or_default();
        set(&mut plan.attributes, Field::text("/cancellation/reason", reason));
        Ok(plan)
    }

    /// Checks that the request needs an authorisation that is not decided yet.
    fn undecided(&self) -> Result<(), Violation> {
        self.change.only_in(&[Phase::Requested])?;
        if !self.specialty().is_authorised() {
            return Err(self.change.violation(".not-needed").with("specialty", self.specialty().name));
        }
        if self.attributes().flag(AUTHORISED) {
            return Err(Violation { conflict: true, ..self.change.violation(".decided") });
        }
        Ok(())
    }

    /// Returns the plan of a request to which staff assign a doctor and a time. The patient is asked to confirm.
    fn assigned(&self) -> Decision {
        let Change { current, context, .. } = self.change;
        self.change.only_in(&[Phase::Requested])?;
        if self.specialty().is_authorised() && !self.attributes().flag(AUTHORISED) {
            return Err(Violation { conflict: true, ..self.change.violation(".not-authorised") }.into());
        }
        let mut attributes = current.attributes.clone();
        for path in ["/doctor", "/hospital", "/date", "/time"] {
            set(&mut attributes, Field::text(path, self.input.text(path).unwrap_or_default()));
        }
        unpad(&mut attributes, "/doctor");
        self.note_reason(&mut attributes);
        let visit = visit(context, self.attributes());
        let mut findings = Findings::default();
        let start = findings.check(HOUSE.schedule.start(&visit, self.input));
        findings.note(self.unexplained_delay());
        let start = findings.conclude(start)?;
        let plan = HOUSE.plan(&visit, start, self.patient, attributes, Quotas::NONE);
        Ok(Plan { phase: Phase::Pending, patient: self.key(), ..plan })
    }

    /// Returns a violation if staff choose a later day than the law allows and give no reason. A day that the patient asks
    /// for needs no reason (Resolución 1552 de 2013, art. 1).
    fn unexplained_delay(&self) -> Option<Violation> {
        let by_staff = self.change.context.caller.is_staff();
        if !by_staff || self.specialty().way != Way::Assigned || self.input.has("/reason") {
            return None;
        }
        let (date, due) = (self.input.text("/date")?, self.attributes().text(DUE)?);
        let violation = || Violation { path: "/reason".into(), ..self.change.violation(".reason-missing") };
        (date > due).then(|| violation().with("latest", due))
    }

    fn note_reason(&self, attributes: &mut Vec<Field>) {
        if let Some(reason) = self.input.text("/reason") {
            set(attributes, Field::text("/assignment/reason", reason));
        }
    }

    /// Returns the plan of an assigned time that is confirmed before its deadline.
    fn confirmed(&self) -> Decision {
        let Change { current, context, .. } = self.change;
        self.change.only_in(&[Phase::Pending])?;
        if current.wake.as_ref().is_some_and(|lapse| lapse.at < context.now) {
            return Err(self.change.violation(".too-late").into());
        }
        let mut plan = self.kept(Phase::Booked);
        plan.attributes.retain(|field| field.path != CONFIRM_BY);
        plan.wake = current.starts_at.and_then(|start| HOUSE.reminder(context, start));
        Ok(plan)
    }

    /// Returns the plan of an assigned time that was not confirmed: the request waits for another, once.
    fn lapsed(&self) -> Decision {
        self.change.only_in(&[Phase::Pending])?;
        let lapses = self.attributes().integer(LAPSES).unwrap_or_default() + 1;
        let phase = if lapses < MAX_LAPSES { Phase::Requested } else { Phase::Cancelled };
        let mut plan = self.change.release(phase, self.key());
        set(&mut plan.attributes, Field { path: LAPSES.into(), value: Value::Integer(lapses) });
        if phase == Phase::Requested {
            plan.attributes.retain(|field| !ASSIGNMENT.contains(&field.path.as_str()));
            plan.claims = Quotas::NONE.claims(self.patient, booked_by(Fields::new(&plan.attributes))).collect();
            plan = Plan { slot: None, doctor: None, hospital: None, ..plan };
        }
        Ok(plan)
    }

    /// Returns the plan of a request on which staff have not acted in time. It has an event and changes nothing else.
    fn overdue(&self) -> Decision {
        self.change.only_in(&[Phase::Requested])?;
        Ok(self.kept(Phase::Requested))
    }

    fn lateness(&self) -> &'static str {
        if self.specialty().is_authorised() { "authorisation-late" } else { "assignment-late" }
    }

    /// Returns the plan of an appointment at another time. An unconfirmed appointment stays unconfirmed.
    fn rescheduled(&self, input: &[Field]) -> Decision {
        let Change { current, context, action, .. } = self.change;
        let moves = current.steps.iter().filter(|step| step.action == action && step.role == Role::Patient).count();
        if !context.caller.is_staff() && moves >= MAX_MOVES {
            return Err(self.change.violation(".limit").with("times", MAX_MOVES.to_string()).into());
        }
        let mut plan = HOUSE.act(context, current, action, input)?;
        if let Some(delay) = self.unexplained_delay() {
            return Err(delay.into());
        }
        self.note_reason(&mut plan.attributes);
        Ok(plan)
    }

    fn kept(&self, phase: Phase) -> Plan {
        HOUSE.kept(&self.change, phase, self.patient, self.key())
    }

    /// Returns the patient's key, or the stored opaque one once the patient is erased.
    fn key(&self) -> String {
        self.patient.unwrap_or(&self.change.current.patient).to_owned()
    }

    fn attributes(&self) -> Fields<'_> {
        Fields::new(&self.change.current.attributes)
    }

    fn specialty(&self) -> &'static Specialty {
        Specialty::of(self.attributes())
    }
}

fn flag(path: &str, value: bool) -> Field {
    Field { path: path.into(), value: Value::Flag(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{
        assigned, authorised, booked, by, done, moved, requested, slot, special_request, specialist, tuesday, with,
    };
    use citas_kit::testing::{codes, keys, stored};
    use citas_kit::{Claim, Wake};

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    /// Nine o'clock on Friday, when the example takes place.
    fn friday_at_nine() -> i64 {
        tuesday().now + 3 * DAY - 3 * HOUR
    }

    fn at(now: i64, role: Role) -> Context {
        Context { now, ..by(role) }
    }

    fn wake(at: i64, action: &str) -> Wake {
        Wake { at, action: action.into() }
    }

    fn phase_and_events(plan: &Plan) -> (Phase, Vec<&str>) {
        (plan.phase, plan.events.iter().map(String::as_str).collect())
    }

    #[test]
    fn staff_authorise_a_specialist_s_request_once_and_nothing_is_due_any_more() {
        let plan = act(&by(Role::Staff), &specialist(), "authorise", &[]).expect("to decide");
        assert_eq!(phase_and_events(&plan), (Phase::Requested, vec!["authorised"]));
        assert_eq!((plan.wake, plan.slot), (None, None));
        assert_eq!(plan.claims.last(), Some(&Claim::new("request/cardiologia/cc:1032456789").personal()));
        for action in ["authorise", "decline"] {
            let again = act(&by(Role::Staff), &authorised(), action, &[]).expect_err("decided");
            assert_eq!((again[0].code.as_str(), again[0].conflict), (format!("co.{action}.decided").as_str(), true));
            let general = act(&by(Role::Staff), &requested(), action, &[]);
            assert_eq!(codes(general), [format!("co.{action}.not-needed")]);
        }
    }

    #[test]
    fn a_declined_request_is_over_and_keeps_the_reason() {
        let reason = [Field::text("/reason", "falta la orden")];
        let plan = act(&by(Role::Staff), &specialist(), "decline", &reason).expect("to decide");
        assert_eq!(phase_and_events(&plan), (Phase::Cancelled, vec!["declined"]));
        assert!(plan.claims.is_empty() && plan.wake.is_none());
        assert_eq!(Fields::new(&plan.attributes).text("/cancellation/reason"), Some("falta la orden"));
    }

    #[test]
    fn a_missed_deadline_of_staff_has_an_event_and_changes_nothing() {
        for (current, event) in [(requested(), "assignment-late"), (specialist(), "authorisation-late")] {
            let due = current.wake.clone().expect("a term");
            assert_eq!(due.action, OVERDUE);
            let plan = act(&at(due.at, Role::Clock), &current, OVERDUE, &[]).expect("late");
            assert_eq!(phase_and_events(&plan), (Phase::Requested, vec![event]));
            assert_eq!((plan.wake, plan.attributes), (None, current.attributes));
        }
    }

    #[test]
    fn an_assigned_time_holds_it_and_waits_two_days_for_the_patient() {
        let plan = act(&by(Role::Staff), &requested(), "assign", &slot("2026-11-27", "09:00")).expect("in time");
        assert_eq!(phase_and_events(&plan), (Phase::Pending, vec!["assigned"]));
        assert_eq!(plan.wake, Some(wake(tuesday().now + 2 * DAY, LAPSE)));
        assert_eq!(
            keys(&plan),
            [
                "doctor/52123456/2026-11-27T14:00Z",
                "doctor/52123456/2026-11-27T14:10Z",
                "patient/cc:1032456789/2026-11-27T14:00Z",
                "patient/cc:1032456789/2026-11-27T14:10Z",
                "live/patient/cc:1032456789",
                "live/account/a1",
                "request/medicina-general/cc:1032456789",
            ]
        );
        assert_eq!((plan.doctor.as_deref(), plan.hospital.as_deref()), (Some("52123456"), Some("110010000101")));
    }

    #[test]
    fn the_time_to_confirm_ends_two_hours_before_a_start_that_is_near() {
        let plan = act(&by(Role::Staff), &requested(), "assign", &slot("2026-11-24", "15:20")).expect("in time");
        assert_eq!(plan.wake, Some(wake(tuesday().now + HOUR + 20 * 60, LAPSE)));
        let sooner = act(&by(Role::Staff), &requested(), "assign", &slot("2026-11-24", "14:40"));
        assert_eq!(codes(sooner), ["co.time.too-soon"]);
    }

    #[test]
    fn staff_explain_a_general_appointment_after_three_business_days() {
        let late = slot("2026-11-30", "09:00");
        assert_eq!(codes(act(&by(Role::Staff), &requested(), "assign", &late)), ["co.assign.reason-missing"]);
        let explained = [late.clone(), vec![Field::text("/reason", "agenda completa")]].concat();
        let plan = act(&by(Role::Staff), &requested(), "assign", &explained).expect("explained");
        assert_eq!(Fields::new(&plan.attributes).text("/assignment/reason"), Some("agenda completa"));
        assert!(act(&by(Role::Staff), &authorised(), "assign", &late).is_ok(), "a specialist's has no term");
        assert_eq!(codes(act(&by(Role::Staff), &booked(), "reschedule", &late)), ["co.reschedule.reason-missing"]);
        assert!(act(&tuesday(), &booked(), "reschedule", &late).is_ok(), "the patient asks for it");
    }

    #[test]
    fn a_specialist_s_appointment_is_assigned_once_it_is_authorised() {
        let refused = act(&by(Role::Staff), &specialist(), "assign", &slot("2026-12-01", "09:00"));
        let refused = refused.expect_err("not authorised");
        assert_eq!((refused[0].code.as_str(), refused[0].conflict), ("co.assign.not-authorised", true));
        let plan = act(&by(Role::Staff), &authorised(), "assign", &slot("2026-12-08", "09:10"));
        assert_eq!(codes(plan), ["co.date.holiday", "co.time.off-grid"]);
    }

    #[test]
    fn therapy_takes_any_of_three_rooms() {
        let mut request = special_request();
        set(&mut request, Field::text("/specialty", "terapia"));
        let requested = stored(&tuesday(), crate::booking::book(&tuesday(), request).expect("allowed"));
        let authorised = done(&by(Role::Staff), &requested, "authorise", &[]);
        let plan = act(&by(Role::Staff), &authorised, "assign", &slot("2026-12-01", "09:00")).expect("allowed");
        let rooms: Vec<_> = plan.choices.iter().map(|choice| choice.claims[0].key.as_str()).collect();
        assert_eq!(rooms, ["1", "2", "3"].map(|room| format!("room/110010000101/{room}/2026-12-01T14:00Z")));
    }

    #[test]
    fn a_confirmation_in_time_books_and_schedules_a_reminder() {
        for role in [Role::Patient, Role::Staff] {
            let plan = act(&by(role), &assigned(), "confirm", &[]).expect("in time");
            assert_eq!(phase_and_events(&plan), (Phase::Booked, vec!["confirmed"]));
            assert_eq!(plan.wake, Some(wake(friday_at_nine() - DAY, "remind")));
            assert_eq!(plan.claims.len(), 6, "the request is open no more");
        }
        let until = assigned().wake.expect("a term").at;
        assert!(act(&at(until, Role::Patient), &assigned(), "confirm", &[]).is_ok());
        assert_eq!(codes(act(&at(until + 1, Role::Patient), &assigned(), "confirm", &[])), ["co.confirm.too-late"]);
        assert_eq!(codes(act(&tuesday(), &booked(), "confirm", &[])), ["co.confirm.not-allowed-now"]);
    }

    #[test]
    fn an_unconfirmed_time_is_released_and_requested_again_once() {
        let clock = at(tuesday().now + 2 * DAY, Role::Clock);
        let plan = act(&clock, &assigned(), LAPSE, &[]).expect("its time");
        assert_eq!(phase_and_events(&plan), (Phase::Requested, vec!["lapsed"]));
        assert_eq!((&plan.slot, &plan.doctor, &plan.hospital), (&None, &None, &None));
        assert_eq!(keys(&plan).last(), Some(&"request/medicina-general/cc:1032456789"));
        assert!(keys(&plan).iter().all(|key| !key.starts_with("doctor/") && !key.starts_with("patient/")));
        let attributes = Fields::new(&plan.attributes);
        assert!(ASSIGNMENT.iter().all(|path| !attributes.has(path)));
        assert_eq!(plan.wake, requested().wake, "staff still have until the end of Friday");

        let again = citas_kit::testing::next(&clock, &assigned(), LAPSE, plan);
        let again =
            done(&Context { now: clock.now, ..by(Role::Staff) }, &again, "assign", &slot("2026-11-27", "15:00"));
        let plan = act(&clock, &again, LAPSE, &[]).expect("its time");
        assert_eq!(phase_and_events(&plan), (Phase::Cancelled, vec!["lapsed"]));
        assert!(plan.claims.is_empty() && plan.wake.is_none());
    }

    #[test]
    fn a_patient_moves_an_appointment_twice_and_staff_as_often_as_need_be() {
        let to = slot("2026-11-30", "10:00");
        assert!(act(&tuesday(), &moved(1), "reschedule", &to).is_ok());
        assert_eq!(codes(act(&tuesday(), &moved(2), "reschedule", &to)), ["co.reschedule.limit"]);
        let explained = [to.clone(), vec![Field::text("/reason", "médico enfermo")]].concat();
        assert!(act(&by(Role::Staff), &moved(2), "reschedule", &explained).is_ok());
        let pending = act(&tuesday(), &assigned(), "reschedule", &to).expect("allowed");
        assert_eq!(phase_and_events(&pending), (Phase::Pending, vec!["rescheduled"]));
        assert_eq!(pending.wake, Some(wake(tuesday().now + 2 * DAY, LAPSE)));
        assert_eq!(codes(act(&tuesday(), &requested(), "reschedule", &to)), ["co.reschedule.not-allowed-now"]);
    }

    #[test]
    fn patients_cancel_until_a_day_before_and_a_request_at_any_time() {
        let (day_before, later) = (friday_at_nine() - DAY, friday_at_nine() - DAY + 1);
        assert!(act(&at(day_before, Role::Patient), &booked(), "cancel", &[]).is_ok());
        assert_eq!(codes(act(&at(later, Role::Patient), &booked(), "cancel", &[])), ["co.cancel.too-late"]);
        let plan = act(&at(later, Role::Staff), &booked(), "cancel", &[]).expect("staff");
        assert_eq!(phase_and_events(&plan), (Phase::Cancelled, vec!["cancelled"]));
        let undated = act(&at(later, Role::Patient), &requested(), "cancel", &[]).expect("no date");
        assert!(undated.claims.is_empty() && undated.slot.is_none());
    }

    #[test]
    fn an_unconfirmed_appointment_has_no_arrival_completion_or_no_show() {
        let staff = at(friday_at_nine(), Role::Staff);
        let arrived = done(&staff, &booked(), "arrive", &[]);
        assert_eq!(act(&staff, &arrived, "complete", &[]).expect("seen").phase, Phase::Fulfilled);
        assert_eq!(act(&staff, &booked(), "no-show", &[]).expect("missed").phase, Phase::NoShow);
        for current in [requested(), assigned()] {
            for action in ["arrive", "complete", "no-show", "remind"] {
                let refused = act(&staff, &current, action, &[]);
                assert_eq!(codes(refused), [format!("co.{action}.not-allowed-now")]);
            }
        }
    }

    #[test]
    fn an_erased_patient_keeps_the_opaque_key_and_claims_nobody_s_time() {
        let erased = |appointment: Appointment| {
            let mut erased = Appointment { patient: "x1".into(), ..appointment };
            erased.attributes.retain(|field| !field.path.starts_with("/document") && field.path != "/account");
            erased
        };
        let staff = by(Role::Staff);
        for (current, action, input) in [
            (requested(), "assign", slot("2026-11-27", "09:00")),
            (assigned(), "confirm", Vec::new()),
            (assigned(), LAPSE, Vec::new()),
            (with(booked(), "/name", "x"), "reschedule", slot("2026-11-27", "10:00")),
        ] {
            let plan = act(&staff, &erased(current), action, &input).expect(action);
            assert_eq!(plan.patient, "x1");
            assert!(keys(&plan).iter().all(|key| key.starts_with("doctor/")), "{action}: {:?}", plan.claims);
        }
    }
}
