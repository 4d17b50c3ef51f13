//! Clock, rules and appointments that the unit tests of this crate share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::model::{
    ActionDescriptor, Appointment, Claim, Context, CountryCode, Descriptor, FactQuery, Field, HeldClaim, Limits,
    Notice, Offer, Offered, Opening, PatientLink, Phase, Place, Plan, Provenance, Revision, Role, RulesId, Slot, Step,
    Verdict,
};
use crate::ports::{
    AccountLinks, Clock, Engine, Fault, PatientLinkChange, PatientLinkError, PatientLinks, Refusal, RequestPosition,
    Rules, Unavailable,
};
use crate::rules::LoadedRules;

/// A clock that moves only when a test moves it.
pub struct ManualClock {
    wall: Mutex<Timestamp>,
    monotonic: Mutex<Duration>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { wall: Mutex::new("2026-11-24T15:00:00Z".parse().unwrap()), monotonic: Mutex::default() }
    }
}

impl ManualClock {
    /// Moves the wall clock and the monotonic clock.
    pub fn advance(&self, by: SignedDuration) {
        self.shift_wall(by);
        *self.monotonic.lock().unwrap() += by.unsigned_abs();
    }

    /// Moves only the wall clock, as an operator or NTP does. No time passes.
    pub fn shift_wall(&self, by: SignedDuration) {
        *self.wall.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.wall.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.lock().unwrap()
    }
}

/// An engine that loads nothing.
pub struct NoEngine;

impl Engine for NoEngine {
    fn load(&self, _: &[u8], _: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        Err(Refusal::NoCompiler)
    }
    fn load_native(&self, _: &[u8], _: &Limits) -> Result<Arc<dyn Rules>, Refusal> {
        Err(Refusal::NoCompiler)
    }
    fn name(&self) -> &'static str {
        "none"
    }
}

/// Rules with a descriptor only: every other call fails. Other fakes fall back on them.
pub struct Described(pub Descriptor);

impl Default for Described {
    fn default() -> Self {
        Self(Descriptor {
            country: "pe".into(),
            version: "1.0.0".into(),
            zones: vec!["America/Lima".into()],
            locales: vec!["en".into()],
            request_schema: "{}".into(),
            appointment_schema: "{}".into(),
            actions: vec![],
            messages: vec![],
            claims: vec![],
            keep_days: None,
            horizon_days: None,
            adult_age: None,
        })
    }
}

impl Rules for Described {
    fn contract(&self) -> &'static str {
        "2.0.0"
    }
    fn describe(&self) -> Result<Descriptor, Fault> {
        Ok(self.0.clone())
    }
    fn book(&self, _: &Context, _: &[Field]) -> Result<Verdict, Fault> {
        Err(Fault::Busy)
    }
    fn act(&self, _: &Context, _: &Appointment, _: &str, _: &[Field]) -> Result<Verdict, Fault> {
        Err(Fault::Busy)
    }
    fn present(&self, _: Role, _: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        Err(Fault::Busy)
    }
    fn offers(&self, _: &Context, _: &Place, _: Option<&Appointment>, _: &[Opening]) -> Result<Option<Offered>, Fault> {
        Err(Fault::Busy)
    }
    fn notices(&self, _: &str, _: &Appointment) -> Result<Vec<Notice>, Fault> {
        Err(Fault::Busy)
    }
}

/// Rules with one verdict for every request, which keep the contexts of the calls that they got.
pub struct Deciding {
    pub descriptor: Descriptor,
    pub verdict: Result<Verdict, Fault>,
    pub openings: Option<Vec<Opening>>,
    pub offers: Option<Vec<Offer>>,
    pub queries: Vec<FactQuery>,
    pub notices: Vec<Notice>,
    pub calls: Mutex<Vec<Context>>,
}

impl Deciding {
    /// Rules that want a `day` of a booking, and a `reason` of `cancel`, which is for patients, and of `arrive`, which is
    /// for staff.
    pub fn new(verdict: Result<Verdict, Fault>) -> Self {
        let action = |name: &str, role: &str| ActionDescriptor {
            name: name.into(),
            roles: vec![role.into()],
            input_schema: r#"{ "required": ["reason"] }"#.into(),
        };
        let descriptor = Descriptor {
            request_schema: r#"{ "required": ["day"] }"#.into(),
            actions: vec![action("cancel", "patient"), action("arrive", "staff")],
            ..Described::default().0
        };
        Self {
            descriptor,
            verdict,
            openings: None,
            offers: None,
            queries: Vec::new(),
            notices: Vec::new(),
            calls: Mutex::default(),
        }
    }

    /// Loads rules with this verdict.
    pub fn load(verdict: Result<Verdict, Fault>) -> (Arc<Self>, Arc<LoadedRules>) {
        Self::new(verdict).loaded()
    }

    /// Loads these rules.
    pub fn loaded(self) -> (Arc<Self>, Arc<LoadedRules>) {
        let rules = Arc::new(self);
        let loaded = LoadedRules::of(rules.clone(), format!("sha256:{}", rules.descriptor.version)).unwrap();
        (rules, Arc::new(loaded))
    }

    pub fn calls(&self) -> Vec<Context> {
        self.calls.lock().unwrap().clone()
    }
}

impl Rules for Deciding {
    fn contract(&self) -> &'static str {
        "2.0.0"
    }
    fn describe(&self) -> Result<Descriptor, Fault> {
        Ok(self.descriptor.clone())
    }
    fn book(&self, context: &Context, _: &[Field]) -> Result<Verdict, Fault> {
        self.calls.lock().unwrap().push(context.clone());
        self.verdict.clone()
    }
    fn act(&self, context: &Context, _: &Appointment, _: &str, input: &[Field]) -> Result<Verdict, Fault> {
        self.book(context, input)
    }
    fn present(&self, _: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        Ok(appointments.iter().map(|appointment| appointment.attributes.clone()).collect())
    }
    fn has_openings(&self) -> bool {
        self.openings.is_some()
    }
    fn openings(&self, _: &Context, _: &Place, _: DateTime, _: DateTime) -> Result<Vec<Opening>, Fault> {
        Ok(self.openings.clone().unwrap_or_default())
    }
    fn has_facts(&self) -> bool {
        !self.queries.is_empty()
    }
    fn queries(&self, _: &Context, _: Option<(&str, &Appointment)>, _: &[Field]) -> Result<Vec<FactQuery>, Fault> {
        Ok(self.queries.clone())
    }
    fn offers(&self, _: &Context, _: &Place, _: Option<&Appointment>, _: &[Opening]) -> Result<Option<Offered>, Fault> {
        Ok(self.offers.clone().map(|offers| Offered { offers, reason: None }))
    }
    fn notices(&self, _: &str, _: &Appointment) -> Result<Vec<Notice>, Fault> {
        Ok(self.notices.clone())
    }
}

/// Implements [`PatientLinks`] for a fake with these methods. Its other reads find nothing.
macro_rules! patient_links {
    ($fake:ty { $($methods:tt)* }) => {
        #[async_trait::async_trait]
        impl PatientLinks for $fake {
            $($methods)*
            async fn patient_link(&self, _: CountryCode, _: Uuid, _: &str) -> Result<Option<PatientLink>, Unavailable> {
                Ok(None)
            }
            async fn person_links(
                &self,
                _: CountryCode,
                _: Uuid,
                _: Option<&str>,
                _: usize,
            ) -> Result<Vec<PatientLink>, Unavailable> {
                Ok(Vec::new())
            }
            async fn patient_link_history(
                &self,
                _: CountryCode,
                _: Uuid,
                _: &str,
                _: u32,
                _: usize,
            ) -> Result<Vec<PatientLink>, Unavailable> {
                Ok(Vec::new())
            }
            async fn requested_links(
                &self,
                _: CountryCode,
                _: Option<&RequestPosition>,
                _: usize,
            ) -> Result<Vec<PatientLink>, Unavailable> {
                Ok(Vec::new())
            }
        }
    };
}
pub(crate) use patient_links;

/// The links of accounts, which have one revision each.
#[derive(Default)]
pub struct MemoryLinks(Mutex<Vec<PatientLink>>);

patient_links!(MemoryLinks {
    async fn put_patient_link(&self, change: PatientLinkChange) -> Result<(), PatientLinkError> {
        self.0.lock().unwrap().push(change.revision);
        Ok(())
    }
    async fn account_links(&self, country: CountryCode, subject: &str) -> Result<AccountLinks, Unavailable> {
        let links = self.0.lock().unwrap();
        let own = links.iter().filter(|link| link.country == country && link.subject == subject).cloned();
        Ok(AccountLinks { changes: links.len().try_into().unwrap(), links: own.collect() })
    }
});

/// The plan of an appointment as it is stored.
pub fn plan(stored: Revision) -> Plan {
    let Appointment { phase, slot, patient, doctor, hospital, wake, attributes, .. } = stored.appointment;
    Plan {
        phase,
        slot,
        claims: stored.claims.into_iter().map(|held| Claim::new(held.key)).collect(),
        choices: vec![],
        patient,
        doctor,
        hospital,
        attributes,
        events: vec!["booked".into()],
        wake,
        off_agenda: false,
    }
}

/// Returns a notice with text, HTML and an invitation.
pub fn notice() -> Notice {
    Notice {
        to: "ana@example.com".into(),
        locale: "es-PE".into(),
        subject: "Cita reservada, mañana".into(),
        text: "Le esperamos.\nTraiga su DNI.".into(),
        html: Some("<p>Le esperamos.</p>".into()),
        invite: true,
    }
}

/// Returns the first revision of a Peruvian appointment.
pub fn revision(id: Uuid) -> Revision {
    let now = ManualClock::default().now();
    Revision {
        country: "pe".parse().unwrap(),
        person: Uuid::nil(),
        appointment: Appointment {
            id,
            phase: Phase::Booked,
            slot: Some(Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() }),
            starts_at: Some("2026-12-01T14:30:00Z".parse().unwrap()),
            created_at: now,
            patient: "dni:10117410".into(),
            doctor: Some("45678".into()),
            hospital: None,
            unverified: false,
            wake: None,
            revision: 1,
            steps: vec![Step { action: "book".into(), role: Role::Patient, at: now }],
            attributes: vec![],
        },
        claims: vec![HeldClaim { key: "doctor/45678/2026-12-01T14:30Z".into(), ordinal: 0 }],
        owner: Some("ana".into()),
        personal_places: [].into(),
        updated_at: now,
        provenance: Provenance {
            action: "book".into(),
            input: vec![],
            context: Context { now: now.as_second(), clocks: vec![], caller: Role::Patient.into(), facts: vec![] },
            facts: vec![],
            rules: RulesId { version: "1.0.0".into(), digest: "sha256:00".into() },
            contract: "2.0.0".into(),
            host: "0.1.0".into(),
            subject: "ana".into(),
            request_id: "r-1".into(),
        },
        personal: [].into(),
    }
}
