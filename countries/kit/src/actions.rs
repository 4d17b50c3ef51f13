//! Actions on a booked appointment: the checks that countries share.
//!
//! Codes are `<country>.<action>.not-allowed-now`, `.too-late`, `.too-early`, and `<country>.action.unknown`.

use crate::fields::{Fields, set};
use crate::schedule::{Schedule, Visit};
use crate::violations::Findings;
use crate::{Action, Appointment, Civil, Context, Field, Phase, Plan, Violation};

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

/// A function that checks a change and returns its plan.
pub type Act = fn(&Change, Fields) -> Result<Plan, Vec<Violation>>;

impl Change<'_> {
    /// Runs the action of the change, if the appointment still holds its time.
    ///
    /// # Errors
    /// Returns violations if the country has no such action, if the appointment is over, and if the action refuses.
    pub fn act(&self, actions: &[(&str, Act)], input: &[Field]) -> Result<Plan, Vec<Violation>> {
        let Some((_, act)) = actions.iter().find(|(name, _)| *name == self.action) else {
            return Err(self.unknown().into());
        };
        self.still_open()?;
        act(self, Fields::new(input))
    }

    /// Returns the violation for an action that the country does not have.
    #[must_use]
    pub fn unknown(&self) -> Violation {
        Violation::new("", [self.country, ".action.unknown"].concat()).with("action", self.action)
    }

    /// Checks that the appointment still holds its time; no other can be changed.
    ///
    /// # Errors
    /// Returns a violation in any other phase.
    pub fn still_open(&self) -> Result<(), Violation> {
        let phase = self.current.phase;
        if phase.holds_claims() {
            return Ok(());
        }
        Err(self.violation("not-allowed-now").with("phase", phase.word()))
    }

    /// Checks the deadline for changes. Staff may act at any time, everybody else until `hours` hours before the start.
    ///
    /// # Errors
    /// Returns a violation after the deadline.
    pub fn in_time(&self, hours: i64) -> Result<(), Violation> {
        let late = self.starts_in().is_some_and(|seconds| seconds < hours * 3600);
        if self.context.is_staff() || !late {
            return Ok(());
        }
        Err(self.violation("too-late").with("hours", hours.to_string()))
    }

    /// Checks that the appointment's start has come.
    ///
    /// # Errors
    /// Returns a violation before the start, or if there is no start.
    pub fn begun(&self) -> Result<(), Violation> {
        if self.starts_in().is_none_or(|seconds| seconds > 0) {
            return Err(self.violation("too-early"));
        }
        Ok(())
    }

    /// Returns the start that the input names, and the attributes with the new date and time.
    ///
    /// # Errors
    /// Returns a violation if it is too late for a change, and one for every rule of `schedule` that the new start
    /// breaks.
    pub fn moved(
        &self,
        hours: i64,
        schedule: &Schedule,
        visit: &Visit,
        input: Fields,
    ) -> Result<(Civil, Vec<Field>), Vec<Violation>> {
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
    /// Returns a violation if it is too late, see [`Change::in_time`].
    pub fn cancelled(&self, hours: i64, patient: String, input: Fields) -> Result<Plan, Violation> {
        self.in_time(hours)?;
        let mut plan = self.release(Phase::Cancelled, patient);
        if let Some(reason) = input.text("/reason") {
            set(&mut plan.attributes, Field::text("/cancellation/reason", reason));
        }
        Ok(plan)
    }

    /// Returns the plan of an appointment that the patient missed.
    ///
    /// # Errors
    /// Returns a violation before the start.
    pub fn missed(&self, patient: String) -> Result<Plan, Violation> {
        self.begun()?;
        Ok(self.release(Phase::NoShow, patient))
    }

    /// Returns the plan that ends the appointment: it keeps everything but the claims on people's time.
    #[must_use]
    pub fn release(&self, phase: Phase, patient: String) -> Plan {
        let attributes = self.current.attributes.clone();
        let text = |path| Fields::new(&attributes).text(path).map(String::from);
        Plan {
            phase,
            slot: self.current.slot.clone(),
            claims: Vec::new(),
            patient,
            doctor: text("/doctor"),
            hospital: text("/hospital"),
            attributes,
            events: Vec::new(),
        }
    }

    fn starts_in(&self) -> Option<i64> {
        let start = self.context.start_of(self.current.slot.as_ref()?)?;
        Some(start - self.context.now)
    }

    fn violation(&self, why: &str) -> Violation {
        Violation::new("", [self.country, ".", self.action, ".", why].concat())
    }
}

impl Context {
    /// True if staff of the country, or of the platform, is asking.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        matches!(self.role.as_str(), "staff" | "platform")
    }
}

impl Action {
    /// Creates an action for these roles, with the JSON Schema of its input.
    #[must_use]
    pub fn new(name: &str, roles: &[&str], input_schema: &str) -> Self {
        Self {
            name: name.into(),
            roles: roles.iter().copied().map(String::from).collect(),
            input_schema: input_schema.into(),
        }
    }

    /// Returns the actions of every country, each with the JSON Schema of its input: everybody may cancel and
    /// reschedule, and staff may record a no-show.
    #[must_use]
    pub fn standard(cancel: &str, reschedule: &str, no_show: &str) -> Vec<Self> {
        const STAFF: [&str; 2] = ["staff", "platform"];
        const ANYBODY: [&str; 3] = ["patient", "staff", "platform"];
        vec![
            Self::new("cancel", &ANYBODY, cancel),
            Self::new("reschedule", &ANYBODY, reschedule),
            Self::new("no-show", &STAFF, no_show),
        ]
    }
}

impl Phase {
    /// True if an appointment in this phase keeps others out of its time.
    #[must_use]
    pub const fn holds_claims(self) -> bool {
        matches!(self, Self::Requested | Self::Pending | Self::Booked | Self::Arrived)
    }

    /// Returns the name of the phase in the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
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
    use crate::civil::{Date, Time};
    use crate::{Shift, Slot, ZoneClock};

    /// Returns an appointment at noon UTC of 1 December 2026.
    fn appointment(phase: Phase) -> Appointment {
        let start = Date::parse("2026-12-01").expect("a date").at(Time::new(12, 0));
        Appointment {
            id: "1".into(),
            phase,
            slot: Some(Slot { start, minutes: 30, zone: "UTC".into() }),
            revision: 1,
            attributes: Vec::new(),
        }
    }

    /// Returns the context that many seconds before noon.
    fn before(seconds: i64, role: &str) -> Context {
        let day = Date::parse("2026-12-01").expect("a date");
        Context {
            now: day.days() * 86_400 + 12 * 3600 - seconds,
            clocks: vec![ZoneClock {
                zone: "UTC".into(),
                now: day.at(Time::new(9, 0)),
                shifts: vec![Shift { at: 0, offset_minutes: 0 }],
            }],
            role: role.into(),
        }
    }

    fn change<'a>(context: &'a Context, current: &'a Appointment) -> Change<'a> {
        Change { country: "xx", action: "cancel", context, current }
    }

    #[test]
    fn patients_act_until_the_deadline_and_staff_at_any_time() {
        let booked = appointment(Phase::Booked);
        for (seconds, role, allowed) in [
            (7200, "patient", true),
            (7199, "patient", false),
            (-60, "patient", false),
            (7199, "staff", true),
            (-60, "platform", true),
            (0, "somebody", false),
        ] {
            let context = before(seconds, role);
            let change = change(&context, &booked);
            assert_eq!(change.in_time(2).is_ok(), allowed, "{seconds} {role}");
        }
    }

    #[test]
    fn only_a_live_appointment_is_changed() {
        let context = before(9000, "patient");
        for phase in [Phase::Requested, Phase::Pending, Phase::Booked, Phase::Arrived] {
            assert!(change(&context, &appointment(phase)).still_open().is_ok());
        }
        for phase in [Phase::Fulfilled, Phase::Cancelled, Phase::NoShow] {
            let refused = change(&context, &appointment(phase)).still_open().expect_err("closed");
            assert_eq!(refused.code, "xx.cancel.not-allowed-now");
            assert_eq!(refused.params, [("phase".to_string(), phase.word().to_string())]);
        }
    }

    #[test]
    fn a_cancellation_keeps_its_reason_where_there_is_one() {
        let (context, booked) = (before(9000, "patient"), appointment(Phase::Booked));
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
        assert!(change(&before(0, "staff"), &booked).begun().is_ok());
        assert!(change(&before(1, "staff"), &booked).begun().is_err());
    }
}
