use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::{Canary, Candidate, Event, Offer, Plan, Slot, Verdict, Violation};
use crate::ports::{Change, Receipt, Tally, TrialReport, Trials, Unavailable};
use crate::release::OnTrial;
use crate::testing::{Deciding, ManualClock, plan, revision};

/// A ledger with one appointment at most, that keeps the changes which it stores.
#[derive(Default)]
struct OneAppointment {
    stored: Option<Revision>,
    /// The claim that the stored appointment holds.
    taken: Option<&'static str>,
    changes: Mutex<Vec<Change>>,
}

#[async_trait]
impl Ledger for OneAppointment {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        if let Some(claim) = self.taken.filter(|claim| change.take.iter().any(|taken| taken == claim)) {
            return Err(CommitError::ClaimTaken(claim.into()));
        }
        self.changes.lock().unwrap().push(change);
        Ok(())
    }
    async fn appointment(&self, _: CountryCode, _: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        Ok(self.stored.clone().map(Arc::new))
    }
    async fn revision(&self, _: CountryCode, _: Uuid, _: u32) -> Result<Option<Revision>, Unavailable> {
        Ok(self.stored.clone())
    }
    async fn history(&self, _: CountryCode, _: Uuid, _: u32, _: usize) -> Result<Vec<Revision>, Unavailable> {
        Ok(self.stored.clone().into_iter().collect())
    }
    async fn page(&self, _: CountryCode, _: &Query) -> Result<Page, Unavailable> {
        Ok(Page::default())
    }
    async fn receipt(&self, _: CountryCode, _: &str, _: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        Ok(None)
    }
    async fn taken(&self, _: CountryCode, claims: &[String]) -> Result<HashMap<String, Uuid>, Unavailable> {
        let held = claims.iter().find(|claim| Some(claim.as_str()) == self.taken);
        Ok(held
            .zip(self.stored.as_ref())
            .map(|(claim, holder)| (claim.clone(), holder.appointment.id))
            .into_iter()
            .collect())
    }
    async fn notified(&self, _: CountryCode, _: Uuid) -> Result<bool, Unavailable> {
        Ok(false)
    }
    async fn mark_notified(&self, _: CountryCode, _: Uuid, _: Timestamp) -> Result<(), Unavailable> {
        Ok(())
    }
    async fn ready(&self, _: CountryCode) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// Adds up the canary's decisions.
#[derive(Default)]
struct Counted(Mutex<Tally>);

#[async_trait]
impl Trials for Counted {
    async fn add(&self, _: CountryCode, _: u64, found: &TrialReport) -> Result<Tally, Unavailable> {
        let mut sum = self.0.lock().unwrap();
        *sum += found.canary;
        Ok(*sum)
    }
    async fn found(&self, _: CountryCode, _: u64) -> Result<TrialReport, Unavailable> {
        Ok(TrialReport { canary: *self.0.lock().unwrap(), ..TrialReport::default() })
    }
}

struct NewIds;

impl Ids for NewIds {
    fn next(&self) -> Uuid {
        Uuid::from_u128(1)
    }
}

fn pe() -> CountryCode {
    "pe".parse().unwrap()
}

fn ana() -> Caller {
    let scopes = Scope::ALL.map(|scope| scope.as_str().to_owned()).into();
    Caller { subject: "ana".into(), groups: [].into(), scopes, request_id: "r-1".into() }
}

fn booked() -> Plan {
    plan(revision(Uuid::nil()))
}

fn refused() -> Verdict {
    Err(vec![Violation::new("/day", "pe.day.past")])
}

/// The use cases over these rules and this ledger.
struct Desk {
    rules: Arc<Deciding>,
    catalogue: Arc<Catalogue>,
    ledger: Arc<OneAppointment>,
    booking: Booking,
}

impl Desk {
    fn new(rules: Deciding, ledger: OneAppointment) -> Self {
        let (catalogue, ledger) = (Arc::new(Catalogue::default()), Arc::new(ledger));
        let rules = Arc::new(rules);
        let loaded = LoadedRules::of(rules.clone(), "sha256:00".into()).unwrap();
        catalogue.install(loaded, Timestamp::UNIX_EPOCH);
        let clock = Arc::new(ManualClock::default());
        let booking = Booking::new(catalogue.clone(), ledger.clone(), clock, Arc::new(NewIds), "0.1.0");
        Self { rules, catalogue, ledger, booking }
    }

    /// Puts a canary on trial that decides for every patient. Returns its decisions.
    fn with_canary(mut self, verdict: Result<Verdict, Fault>) -> (Self, Arc<Counted>) {
        let mut canary = Deciding::new(verdict);
        canary.descriptor.version = "1.1.0".into();
        let (_, canary) = canary.loaded();
        let terms = Canary { share: 100, margin: 100 };
        let terms = Candidate { version: "1.1.0".parse().unwrap(), trial: 2, canary: Some(terms) };
        self.catalogue.try_out(pe(), Some(OnTrial::new(canary, terms)));
        let counted = Arc::new(Counted::default());
        self.booking = self.booking.trying(TrialRecorder::new(counted.clone(), self.catalogue.clone()));
        (self, counted)
    }

    async fn book(&self) -> Result<View, BookingError> {
        self.booking.book(&ana(), pe(), json!({ "day": "2026-12-01" }), None).await
    }

    async fn cancel(&self, if_match: Option<&[&str]>) -> Result<View, BookingError> {
        let input = json!({ "reason": "x" });
        let if_match = if_match.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
        let request = ActionRequest { id: Uuid::nil(), action: "cancel", input, if_match, key: None };
        self.booking.act(&ana(), pe(), request).await
    }

    fn changes(&self) -> Vec<Change> {
        self.ledger.changes.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_booking_stores_the_plan_with_all_that_explains_it() {
    let desk = Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default());
    let view = desk.book().await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    let Revision { appointment, owner, starts_at, provenance, .. } = &change.revision;
    assert_eq!((appointment.id, appointment.revision, owner.as_str()), (Uuid::from_u128(1), 1, "ana"));
    assert_eq!(*starts_at, Some("2026-12-01T14:30:00Z".parse().unwrap()));
    assert_eq!((provenance.action.as_str(), &provenance.context), ("book", &desk.rules.calls()[0]));
    assert_eq!(change.take, change.revision.claims);
    assert_eq!(change.events.iter().map(Event::name).collect::<Vec<_>>(), ["booked"]);
    assert_eq!((&*view.revision, view.shown_by.as_str()), (&change.revision, "sha256:00"));
}

#[tokio::test]
async fn a_change_takes_only_the_claims_that_are_new_and_releases_those_that_go() {
    let mut moved = plan(revision(Uuid::nil()));
    moved.claims = vec!["kept".into(), "new".into()];
    let mut stored = revision(Uuid::nil());
    stored.claims = vec!["kept".into(), "gone".into()];
    let desk =
        Desk::new(Deciding::new(Ok(Ok(moved))), OneAppointment { stored: Some(stored), ..OneAppointment::default() });
    desk.cancel(None).await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    assert_eq!((&change.take[..], &change.release[..]), (&["new".to_owned()][..], &["gone".to_owned()][..]));
    assert_eq!((change.revision.appointment.id, change.revision.appointment.revision), (Uuid::nil(), 2));
}

#[tokio::test]
async fn an_action_on_a_revision_that_the_caller_has_not_seen_is_stale_and_the_rules_are_not_asked() {
    let stored = || OneAppointment { stored: Some(revision(Uuid::nil())), ..OneAppointment::default() };
    let desk = Desk::new(Deciding::new(Ok(Ok(booked()))), stored());
    for other in ["2", "01", "+1", "1-anything", ""] {
        assert!(matches!(desk.cancel(Some(&[other])).await, Err(BookingError::Stale { current: 1 })), "{other}");
    }
    assert_eq!(desk.rules.calls(), []);
    assert!(desk.cancel(Some(&["2", "1"])).await.is_ok());
}

#[tokio::test]
async fn an_appointment_of_somebody_else_is_unknown() {
    let stored = Revision { owner: "luis".into(), ..revision(Uuid::nil()) };
    let desk = Desk::new(
        Deciding::new(Ok(Ok(booked()))),
        OneAppointment { stored: Some(stored), ..OneAppointment::default() },
    );
    assert!(matches!(desk.cancel(None).await, Err(BookingError::UnknownAppointment)));
    let found = desk.booking.get(&ana(), pe(), Uuid::nil()).await;
    assert!(matches!(found, Err(BookingError::UnknownAppointment)));
}

#[tokio::test]
async fn the_claim_of_a_patient_is_named_only_to_whoever_booked_what_holds_it() {
    const CLAIM: &str = "patient/dni:10117410/2026-12-01T14:30Z";
    let mut wanted = revision(Uuid::nil());
    wanted.claims.push(CLAIM.into());
    let taken = |stored: Option<Revision>| async {
        let rules = Deciding::new(Ok(Ok(plan(wanted.clone()))));
        let desk = Desk::new(rules, OneAppointment { taken: Some(CLAIM), stored, ..OneAppointment::default() });
        let Err(BookingError::SlotTaken { claim, .. }) = desk.book().await else { panic!("the time is taken") };
        claim
    };
    let own = || revision(Uuid::nil());
    assert_eq!(taken(None).await, None, "it was released meanwhile");
    assert_eq!(taken(Some(Revision { owner: "luis".into(), ..own() })).await, None);
    assert_eq!(taken(Some(own())).await.as_deref(), Some(CLAIM));
    let past = Some("2020-01-01T00:00:00Z".parse().unwrap());
    for starts_at in [None, past] {
        let held = Revision { starts_at, patient: "ce:PER:000123".into(), ..own() };
        assert_eq!(taken(Some(held)).await.as_deref(), Some(CLAIM), "its date and its patient do not matter");
    }
}

#[tokio::test]
async fn each_free_time_is_named_once_and_never_the_one_that_the_appointment_has() {
    const CLAIM: &str = "doctor/45678/2026-12-01T15:00Z";
    let stored = revision(Uuid::nil());
    let mut moved = plan(stored.clone());
    moved.claims = vec![CLAIM.into()];
    moved.slot.as_mut().unwrap().start = "2026-12-01T10:00".parse().unwrap();
    let offer = |start: &str, room: &str| Offer {
        slot: Slot { start: start.parse().unwrap(), minutes: 30, zone: "America/Lima".into() },
        claims: vec![format!("{room}/{start}")],
    };
    let mut rules = Deciding::new(Ok(Ok(moved)));
    let times = ["2026-12-01T11:00", "2026-12-01T09:30", "2026-12-01T10:30", "2026-12-01T12:00"];
    rules.offers = Some(times.iter().flat_map(|start| ["a", "b", "c"].map(|room| offer(start, room))).collect());
    let desk =
        Desk::new(rules, OneAppointment { taken: Some(CLAIM), stored: Some(stored), ..OneAppointment::default() });
    let Err(BookingError::SlotTaken { free, .. }) = desk.cancel(None).await else { panic!("the time is taken") };
    let named: Vec<String> = free.iter().map(|free| free.slot.start.to_string()).collect();
    assert_eq!(named, ["2026-12-01T10:30:00", "2026-12-01T11:00:00", "2026-12-01T12:00:00"]);
}

#[tokio::test]
async fn a_canary_decides_for_the_patients_whom_it_meets_and_its_decisions_are_counted() {
    let (desk, counted) =
        Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default()).with_canary(Ok(refused()));
    assert!(matches!(desk.book().await, Err(BookingError::Violations(_))));
    assert_eq!(*counted.0.lock().unwrap(), Tally { decided: 1, refused: 1, unanswered: 0 });
    let (desk, counted) =
        Desk::new(Deciding::new(Ok(refused())), OneAppointment::default()).with_canary(Ok(Ok(booked())));
    assert_eq!(desk.book().await.unwrap().revision.provenance.rules.version, "1.1.0");
    assert_eq!(*counted.0.lock().unwrap(), Tally { decided: 1, refused: 0, unanswered: 0 });
}

#[tokio::test]
async fn a_canary_that_gives_no_answer_leaves_the_decision_to_the_rules_in_use() {
    let (desk, counted) = Desk::new(Deciding::new(Ok(Ok(booked()))), OneAppointment::default())
        .with_canary(Err(Fault::Trapped("it panicked".into())));
    assert_eq!(desk.book().await.unwrap().revision.provenance.rules.version, "1.0.0");
    assert_eq!(*counted.0.lock().unwrap(), Tally { decided: 1, refused: 0, unanswered: 1 });
}

#[tokio::test]
async fn a_fault_stores_nothing() {
    let rules = Deciding::new(Err(Fault::OverBudget("fuel")));
    let desk = Desk::new(rules, OneAppointment::default());
    assert!(matches!(desk.book().await, Err(BookingError::RulesUnavailable(Some(_)))));
    assert_eq!(desk.changes().len(), 0);
}
