//! Actions on a booked appointment: the checks that countries share.
//!
//! Codes are `<country>.<action>.not-allowed-now`, `.too-late`, `.too-early`, and `<country>.action.unknown`.

use crate::fields::{Fields, set};
use crate::schedule::{Schedule, Visit};
use crate::violations::{Findings, NOT_ALLOWED_NOW};
use crate::{Action, Appointment, Civil, Context, Field, Phase, Plan, Role, Violation, Wake};

/// Name of the scheduled action that reminds the patient of an appointment.
pub const REMIND: &str = "remind";

/// A request to change an appointment.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// First part of the country's codes.
    pub country: &'static str,
    /// Name of the action.
    pub action: &'a str,
    /// Circumstances of the call.
    pub context: &'a Context,
    /// Current state of the appointment.
    pub current: &'a Appointment,
}

impl Change<'_> {
    /// Returns the violation for an action that the country does not have.
    #[must_use]
    pub fn unknown(&self) -> Violation {
        Violation::new("", [self.country, ".action.unknown"].concat()).with("action", self.action)
    }

    /// Checks that the appointment is not over yet.
    ///
    /// # Errors
    /// Returns a violation if it is fulfilled, cancelled, or missed.
    pub fn still_open(&self) -> Result<(), Violation> {
        self.allowed_if(!self.current.phase.is_over())
    }

    /// Checks that the appointment is in one of these phases.
    ///
    /// # Errors
    /// Returns a violation in any other phase.
    pub fn only_in(&self, phases: &[Phase]) -> Result<(), Violation> {
        self.allowed_if(phases.contains(&self.current.phase))
    }

    /// Checks the deadline for changes. Staff may act at any time, everybody else until `hours` hours before the start.
    ///
    /// # Errors
    /// Returns a violation after the deadline.
    pub fn in_time(&self, hours: i64) -> Result<(), Violation> {
        let late = self.starts_in().is_some_and(|seconds| seconds < hours * 3600);
        if self.context.caller.is_staff() || !late {
            return Ok(());
        }
        Err(self.violation(".too-late").with("hours", hours.to_string()))
    }

    /// Checks that the appointment's start has come.
    ///
    /// # Errors
    /// Returns a violation before the start, or if there is no start.
    pub fn begun(&self) -> Result<(), Violation> {
        if self.starts_within(0) { Ok(()) } else { Err(self.violation(".too-early")) }
    }

    /// Checks that the appointment's start is at most `hours` hours ahead.
    ///
    /// # Errors
    /// Returns a violation before that, or if there is no start.
    pub fn nearly_begun(&self, hours: i64) -> Result<(), Violation> {
        if self.starts_within(hours) {
            return Ok(());
        }
        Err(self.violation(".too-early").with("hours", hours.to_string()))
    }

    /// Checks that the appointment's start has not come yet.
    ///
    /// # Errors
    /// Returns a violation from the start on.
    pub fn to_come(&self) -> Result<(), Violation> {
        if self.starts_within(0) { Err(self.violation(".too-late")) } else { Ok(()) }
    }

    /// Returns the start that the input names, and the attributes with the new date and time.
    ///
    /// # Errors
    /// Returns a violation if the appointment is over, has no date yet or it is too late for a change, and one for every
    /// rule of `schedule` that the new start breaks.
    pub fn moved(
        &self,
        hours: i64,
        schedule: &Schedule,
        visit: &Visit,
        input: Fields,
    ) -> Result<(Civil, Vec<Field>), Vec<Violation>> {
        self.allowed_if(!self.current.phase.is_over() && self.current.slot.is_some())?;
        let mut findings = Findings::default();
        findings.check(self.in_time(hours));
        let start = findings.check(schedule.start(visit, input));
        let start = findings.conclude(start)?;
        let mut attributes = self.current.attributes.clone();
        for path in ["/date", "/time"] {
            set(&mut attributes, Field::text(path, input.text(path).unwrap_or_default()));
        }
        Ok((start, attributes))
    }

    /// Returns the plan of a cancellation, with the reason from the input.
    ///
    /// # Errors
    /// Returns a violation if the appointment is over, and if it is too late, see [`Change::in_time`].
    pub fn cancelled(&self, hours: i64, patient: String, input: Fields) -> Result<Plan, Violation> {
        self.still_open()?;
        self.in_time(hours)?;
        let mut plan = self.release(Phase::Cancelled, patient);
        if let Some(reason) = input.text("/reason") {
            set(&mut plan.attributes, Field::text("/cancellation/reason", reason));
        }
        Ok(plan)
    }

    /// Returns the plan of an appointment that the patient missed. A patient who arrived may have left again.
    ///
    /// # Errors
    /// Returns a violation if the appointment is neither booked nor arrived, and before the start.
    pub fn missed(&self, patient: String) -> Result<Plan, Violation> {
        self.only_in(&[Phase::Booked, Phase::Arrived])?;
        self.begun()?;
        Ok(self.release(Phase::NoShow, patient))
    }

    /// Returns the plan of an appointment whose patient was seen.
    ///
    /// # Errors
    /// Returns a violation if the patient has not arrived, and before the start.
    pub fn completed(&self, patient: String) -> Result<Plan, Violation> {
        self.only_in(&[Phase::Arrived])?;
        self.begun()?;
        Ok(self.release(Phase::Fulfilled, patient))
    }

    /// Returns the plan that ends the appointment: it keeps everything but the claims and the next scheduled action.
    #[must_use]
    pub fn release(&self, phase: Phase, patient: String) -> Plan {
        let Appointment { slot, doctor, hospital, attributes, .. } = self.current.clone();
        Plan {
            phase,
            slot,
            claims: Vec::new(),
            choices: Vec::new(),
            patient,
            doctor,
            hospital,
            attributes,
            events: Vec::new(),
            wake: None,
            off_agenda: false,
        }
    }

    /// Returns a violation of the action: `.too-late` is `<country>.<action>.too-late`.
    #[must_use]
    pub fn violation(&self, why: &str) -> Violation {
        Violation::new("", [self.country, ".", self.action, why].concat())
    }

    fn allowed_if(&self, allowed: bool) -> Result<(), Violation> {
        if allowed {
            return Ok(());
        }
        Err(self.violation(NOT_ALLOWED_NOW).with("phase", self.current.phase.word()))
    }

    fn starts_within(&self, hours: i64) -> bool {
        self.starts_in().is_some_and(|seconds| seconds <= hours * 3600)
    }

    fn starts_in(&self) -> Option<i64> {
        Some(self.current.starts_at? - self.context.now)
    }
}

impl Wake {
    /// Schedules an action at a time in Unix seconds, unless that is over, or nearer than a plan may name.
    #[must_use]
    pub fn ahead(context: &Context, at: i64, action: &str) -> Option<Self> {
        const SOONEST: i64 = 60;
        (at >= context.now + SOONEST).then(|| Self { at, action: action.into() })
    }
}

impl Action {
    /// Creates an action for these roles, with the JSON Schema of its input.
    #[must_use]
    pub fn new(name: &str, roles: &[Role], input_schema: impl Into<String>) -> Self {
        Self { name: name.into(), roles: roles.into(), input_schema: input_schema.into() }
    }

    /// Creates an action without input for these roles. The title is that of its schema.
    #[must_use]
    pub fn without_input(name: &str, roles: &[Role], title: &str) -> Self {
        let schema = [
            "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"",
            title,
            "\",\n  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"properties\": {},\n  \"examples\": [{}]\n}\n",
        ];
        Self::new(name, roles, schema.concat())
    }

    /// Returns the actions of every country: everybody may cancel and reschedule, with inputs of these JSON Schemas, and
    /// staff may record that a patient did not come, arrived, and was seen.
    #[must_use]
    pub fn standard(cancel: &str, reschedule: &str) -> Vec<Self> {
        const STAFF: [Role; 2] = [Role::Staff, Role::Platform];
        const ANYBODY: [Role; 3] = [Role::Patient, Role::Staff, Role::Platform];
        vec![
            Self::new("cancel", &ANYBODY, cancel),
            Self::new("reschedule", &ANYBODY, reschedule),
            Self::without_input("no-show", &STAFF, "The patient did not come"),
            Self::without_input("arrive", &STAFF, "The patient has arrived"),
            Self::without_input("complete", &STAFF, "The patient was seen"),
        ]
    }

    /// Returns the action of a reminder, which only the clock may do.
    #[must_use]
    pub fn reminder() -> Self {
        Self::without_input(REMIND, &[Role::Clock], "Reminding the patient of the appointment")
    }
}

impl Phase {
    /// True if the phase is final: fulfilled, cancelled or no-show.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Fulfilled | Self::Cancelled | Self::NoShow)
    }

    /// Returns the name of the phase in the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Waitlisted => "waitlisted",
            Self::Pending => "pending",
            Self::Booked => "booked",
            Self::Arrived => "arrived",
            Self::Fulfilled => "fulfilled",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no-show",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use crate::testing::{caller, civil, clock};

    const EVERY_PHASE: [Phase; 8] = [
        Phase::Requested,
        Phase::Waitlisted,
        Phase::Pending,
        Phase::Booked,
        Phase::Arrived,
        Phase::Fulfilled,
        Phase::Cancelled,
        Phase::NoShow,
    ];

    /// Returns an appointment at noon UTC of 1 December 2026.
    fn appointment(phase: Phase) -> Appointment {
        let noon = before(0, Role::Patient);
        Appointment {
            id: "0193".into(),
            phase,
            slot: Some(Slot { start: noon.clocks[0].now, minutes: 30, zone: "UTC".into() }),
            starts_at: Some(noon.now),
            created_at: noon.now - 86_400,
            patient: "p".into(),
            doctor: None,
            hospital: None,
            unverified: false,
            wake: None,
            revision: 1,
            steps: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Returns the context that many seconds before noon.
    fn before(seconds: i64, role: Role) -> Context {
        let noon = civil("2026-12-01", "12:00");
        let clock = clock("UTC", noon, 0, None);
        Context {
            now: clock.read(noon).instant() - seconds,
            clocks: vec![clock],
            caller: caller(role, "a1"),
            facts: Vec::new(),
        }
    }

    fn change<'a>(context: &'a Context, current: &'a Appointment) -> Change<'a> {
        Change { country: "xx", action: "cancel", context, current }
    }

    #[test]
    fn patients_act_until_the_deadline_and_staff_at_any_time() {
        let booked = appointment(Phase::Booked);
        for (seconds, role, allowed) in [
            (7200, Role::Patient, true),
            (7199, Role::Patient, false),
            (-60, Role::Patient, false),
            (7199, Role::Staff, true),
            (-60, Role::Platform, true),
            (0, Role::Clock, false),
        ] {
            let context = before(seconds, role);
            let change = change(&context, &booked);
            assert_eq!(change.in_time(2).is_ok(), allowed, "{seconds} {role:?}");
        }
    }

    #[test]
    fn what_is_over_is_not_changed() {
        let context = before(9000, Role::Patient);
        for phase in EVERY_PHASE {
            let current = appointment(phase);
            let change = change(&context, &current);
            let over = [Phase::Fulfilled, Phase::Cancelled, Phase::NoShow].contains(&phase);
            assert_eq!(change.still_open().is_err(), over, "{phase:?}");
            if let Err(refused) = change.cancelled(2, "p".into(), Fields::new(&[])) {
                assert!(over && refused.conflict, "{phase:?}");
                assert_eq!(refused.code, "xx.cancel.not-allowed-now");
                assert_eq!(refused.params, [("phase".to_string(), phase.word().to_string())]);
            }
        }
    }

    #[test]
    fn only_an_arrived_appointment_is_completed() {
        for phase in EVERY_PHASE {
            let current = appointment(phase);
            let (early, context) = (before(1, Role::Staff), before(0, Role::Staff));
            let completed = change(&context, &current).completed("p".into());
            assert_eq!(completed.is_ok(), phase == Phase::Arrived, "{phase:?}");
            assert!(change(&early, &current).completed("p".into()).is_err());
        }
    }

    #[test]
    fn a_cancellation_keeps_its_reason_where_there_is_one() {
        let (context, booked) = (before(9000, Role::Patient), appointment(Phase::Booked));
        let change = change(&context, &booked);
        let reason = [Field::text("/reason", "viaje")];
        let plan = change.cancelled(2, "p".into(), Fields::new(&reason)).expect("in time");
        assert_eq!(Fields::new(&plan.attributes).text("/cancellation/reason"), Some("viaje"));
        let plan = change.cancelled(2, "p".into(), Fields::new(&[])).expect("in time");
        assert!(plan.attributes.is_empty());
    }

    #[test]
    fn a_start_has_come_from_its_minute_on() {
        let booked = appointment(Phase::Booked);
        assert!(change(&before(0, Role::Staff), &booked).begun().is_ok());
        assert!(change(&before(1, Role::Staff), &booked).begun().is_err());
        assert!(change(&before(7200, Role::Staff), &booked).nearly_begun(2).is_ok());
        assert!(change(&before(7201, Role::Staff), &booked).nearly_begun(2).is_err());
        let undated = Appointment { starts_at: None, ..booked };
        assert!(change(&before(0, Role::Staff), &undated).begun().is_err());
    }

    #[test]
    fn an_action_without_input_has_a_schema_that_allows_none() {
        let action = Action::reminder();
        assert_eq!((action.name.as_str(), &action.roles[..]), ("remind", &[Role::Clock][..]));
        for part in ["\"title\": \"Reminding the", "\"additionalProperties\": false", "\"examples\": [{}]"] {
            assert!(action.input_schema.contains(part), "{part}");
        }
    }
}
