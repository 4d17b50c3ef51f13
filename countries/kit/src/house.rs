//! A country whose appointments are a patient's visits to a doctor: its plans, the actions on them, and its house rules.
//! The requests, the identities and the law are each country's own.

use crate::actions::{Change, REMIND};
use crate::fields::Fields;
use crate::quotas::{ACCOUNT, PATIENT, Quotas, booked_by, sign};
use crate::schedule::{ANONYMOUS, Holders, Schedule, Visit};
use crate::settings::Setting;
use crate::{Action, Appointment, Civil, ClaimWords, Context, Field, Phase, Plan, Slot, Violation, Wake};

/// House rules. They are decisions of the platform, not law.
#[derive(Clone, Copy, Debug)]
pub struct House {
    /// Rules of date and time.
    pub schedule: Schedule,
    /// Hours before the start until which a patient may cancel or reschedule.
    pub change_hours: i64,
    /// Hours before the start from which staff may record that the patient has arrived.
    pub arrival_hours: i64,
    /// Hours before the start at which the patient is reminded; `None` for no reminder.
    pub reminder_hours: Option<i64>,
    /// Limits of live appointments.
    pub quotas: Quotas,
    /// Leaves of a request that a search for free slots may have and an agenda may fix: those that the schema marks
    /// `x-place`.
    pub places: &'static [&'static str],
    /// Returns the visit that a request, or a booked appointment, describes. An unknown zone is that of the opening.
    pub visit: for<'a> fn(&'a Context, Fields<'_>, opening: Option<&Slot>) -> Visit<'a>,
    /// Returns the setting that a request, or a booked appointment, asks for.
    pub setting: fn(Fields) -> Setting,
    /// Returns the key of the patient whom a request, or a booked appointment, names.
    pub patient: fn(Fields) -> Option<String>,
}

impl House {
    /// Returns the actions of this house. `cancel` and `reschedule` are the JSON Schemas of their inputs.
    #[must_use]
    pub fn actions(&self, cancel: &str, reschedule: &str) -> Vec<Action> {
        let mut actions = Action::standard(cancel, reschedule);
        actions.extend(self.reminder_hours.map(|_| Action::reminder()));
        actions
    }

    /// Returns the messages for taken claims. `identities` has the prefixes of the patients' keys, each with the JSON
    /// Pointer of that identity in a request.
    #[must_use]
    pub fn claim_words(&self, identities: &[(&str, &str)]) -> Vec<ClaimWords> {
        let words = |prefix: String, path: &str, what| {
            let code = [self.schedule.country, what].concat();
            ClaimWords { prefix, path: path.into(), code }
        };
        let taken = [
            words("doctor/".into(), "/time", ".doctor.taken"),
            words("patient/".into(), "/time", ".patient.taken"),
            words(ACCOUNT.into(), "", ".account.limit"),
        ];
        let limits = identities.iter().map(|(key, path)| words([PATIENT, key].concat(), path, ".patient.limit"));
        taken.into_iter().chain(limits).collect()
    }

    /// Returns the plan of a new appointment with an allowed start.
    #[must_use]
    pub fn book(&self, visit: &Visit, start: Civil, patient: Option<&str>, mut attributes: Vec<Field>) -> Plan {
        let caller = &visit.context.caller;
        sign(&mut attributes, caller);
        self.plan(visit, start, patient, attributes, self.quotas.of(caller))
    }

    /// Returns the plan of an action.
    ///
    /// # Errors
    /// Returns violations if the house has no such action, and if the action refuses.
    pub fn act(
        &self,
        context: &Context,
        current: &Appointment,
        action: &str,
        input: &[Field],
    ) -> Result<Plan, Vec<Violation>> {
        let change = &Change { country: self.schedule.country, action, context, current };
        let input = Fields::new(input);
        let patient = (self.patient)(Fields::new(&current.attributes));
        let patient = patient.as_deref();
        let key = || patient.unwrap_or(&current.patient).to_owned();
        let plan = match action {
            "cancel" => change.cancelled(self.change_hours, key(), input)?,
            "reschedule" => self.moved(change, patient, input)?,
            "no-show" => change.missed(key())?,
            "arrive" => {
                change.only_in(&[Phase::Booked])?;
                change.nearly_begun(self.arrival_hours)?;
                self.kept(change, Phase::Arrived, patient, key())
            }
            "complete" => change.completed(key())?,
            REMIND if self.reminder_hours.is_some() => {
                change.only_in(&[Phase::Booked])?;
                change.to_come()?;
                let kept = self.kept(change, Phase::Booked, patient, key());
                Plan { events: vec!["reminder".into()], ..kept }
            }
            _ => return Err(change.unknown().into()),
        };
        Ok(plan)
    }

    /// Returns the plan of an appointment at another time. A patient who had arrived is expected again.
    fn moved(&self, change: &Change, patient: Option<&str>, input: Fields) -> Result<Plan, Vec<Violation>> {
        let before = change.current;
        let visit = (self.visit)(change.context, Fields::new(&before.attributes), None);
        let (start, attributes) = change.moved(self.change_hours, &self.schedule, &visit, input)?;
        let mut plan = self.plan(&visit, start, patient, attributes, Quotas::NONE);
        if patient.is_none() && !before.patient.starts_with(ANONYMOUS) {
            plan.patient.clone_from(&before.patient);
        }
        if before.phase != Phase::Arrived {
            plan.phase = before.phase;
        }
        Ok(plan)
    }

    /// Returns the plan of an appointment in another phase, at its old time if it has one. The old time is not checked
    /// again.
    #[must_use]
    pub fn kept(&self, change: &Change, phase: Phase, patient: Option<&str>, key: String) -> Plan {
        let mut plan = Plan { off_agenda: true, ..change.release(phase, key) };
        if let (Some(slot), Some(start)) = (&plan.slot, change.current.starts_at) {
            let holders = Holders { doctor: plan.doctor.as_deref(), patient };
            plan.claims = self.schedule.claims(holders, start, slot.minutes);
            self.take_setting(&mut plan, start);
        }
        plan.claims.extend(Quotas::NONE.claims(patient, booked_by(Fields::new(&plan.attributes))));
        plan
    }

    /// Returns the plan of a booked appointment with an allowed start, and with its reminder.
    #[must_use]
    pub fn plan(
        &self,
        visit: &Visit,
        start: Civil,
        patient: Option<&str>,
        attributes: Vec<Field>,
        quotas: Quotas,
    ) -> Plan {
        let mut plan = self.schedule.plan(visit, start, patient, attributes);
        let start = visit.clock.read(start).instant();
        self.take_setting(&mut plan, start);
        plan.claims.extend(quotas.claims(patient, booked_by(Fields::new(&plan.attributes))));
        plan.wake = self.reminder(visit.context, start);
        plan
    }

    /// Adds the claims and choices of the setting to a plan that starts at this instant.
    fn take_setting(&self, plan: &mut Plan, start: i64) {
        let setting = (self.setting)(Fields::new(&plan.attributes));
        let (Some(hospital), Some(slot)) = (&plan.hospital, &plan.slot) else { return };
        let cell = self.schedule.claim_minutes;
        plan.claims.extend(setting.claims(hospital, start, slot.minutes, cell));
        plan.choices = setting.choices(hospital, start, slot.minutes, cell);
    }

    /// Returns the wake of the reminder, or `None` if its time is over.
    #[must_use]
    pub fn reminder(&self, context: &Context, start: i64) -> Option<Wake> {
        Wake::ahead(context, start - self.reminder_hours? * 3600, REMIND)
    }
}
