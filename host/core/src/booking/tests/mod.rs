mod agendas;
mod hospitals;
mod link;
mod privacy;
mod readings;
mod slots;
mod unverified;
mod waker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::{
    AgendaRevision, Canary, Candidate, Choice, ClaimWords, Event, FactQuery, FactSource, Field, HeldClaim, Hold, Offer,
    Party, PatientLink, Plan, PrivacyRequest, Relation, Slot, Tie, Value, Verdict, Violation, Wake,
};
use crate::ports::{
    AccountLinks, AgendaCondition, AgendaError, Agendas, Change, DueWake, NewHold, Order, OwnerFilter,
    PatientLinkChange, PatientLinkError, PatientLinks, PrivacyError, PrivacyQuery, PrivacyRequests, Receipt,
    RequestPosition, Taken, Tally, TrialReport, Trials, Unavailable,
};
use crate::release::OnTrial;
use crate::testing::{Deciding, ManualClock, patient_links, plan, revision};

/// A ledger with at most one appointment, and others in its lists, which records its changes.
#[derive(Default)]
struct OneAppointment {
    stored: Option<Revision>,
    /// Other appointments of lists.
    others: Vec<Revision>,
    /// Number of reads of appointments, pages and holders of claims.
    reads: AtomicUsize,
    /// Claim that the stored appointment holds, in the ledger's form.
    taken: Option<String>,
    changes: Mutex<Vec<Change>>,
    queries: Mutex<Vec<Query>>,
    agendas: Mutex<Vec<AgendaRevision>>,
    privacy: Mutex<BTreeMap<Uuid, PrivacyRequest>>,
    /// Revisions of agendas, the last of which is stored before the next commit.
    meanwhile: Mutex<Vec<AgendaRevision>>,
}

#[async_trait]
impl Agendas for OneAppointment {
    async fn put_agenda(&self, revision: AgendaRevision) -> Result<(), AgendaError> {
        self.agendas.lock().unwrap().push(revision);
        Ok(())
    }
    async fn agenda(&self, _: CountryCode, doctor: &str) -> Result<Option<AgendaRevision>, Unavailable> {
        Ok(self.agendas.lock().unwrap().iter().rfind(|revision| revision.doctor == doctor).cloned())
    }
    async fn agenda_history(
        &self,
        _: CountryCode,
        _: &str,
        _: u32,
        _: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        Ok(self.agendas.lock().unwrap().clone())
    }
    async fn agendas(
        &self,
        _: CountryCode,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        let agendas = self.agendas.lock().unwrap();
        let later = agendas.iter().filter(|revision| after.is_none_or(|after| *revision.doctor > *after));
        Ok(later.take(limit).cloned().collect())
    }
    async fn agenda_stamp(&self, _: CountryCode) -> Result<u64, Unavailable> {
        Ok(self.agendas.lock().unwrap().len() as u64)
    }
}

patient_links!(OneAppointment {
    async fn put_patient_link(&self, _: PatientLinkChange) -> Result<(), PatientLinkError> {
        unreachable!("these tests make no links")
    }
    async fn account_links(&self, _: CountryCode, _: &str) -> Result<AccountLinks, Unavailable> {
        Ok(AccountLinks::default())
    }
});

#[async_trait]
impl PrivacyRequests for OneAppointment {
    async fn put_privacy_request(&self, request: PrivacyRequest) -> Result<(), PrivacyError> {
        let mut stored = self.privacy.lock().unwrap();
        let before = stored.insert(request.id, request.clone()).map_or(0, |before| before.revision());
        if before + 1 == request.revision() { Ok(()) } else { Err(PrivacyError::Stale) }
    }
    async fn privacy_request(&self, _: CountryCode, id: Uuid) -> Result<Option<PrivacyRequest>, Unavailable> {
        Ok(self.privacy.lock().unwrap().get(&id).cloned())
    }
    async fn privacy_requests(&self, _: CountryCode, query: &PrivacyQuery) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let stored = self.privacy.lock().unwrap();
        let mut found: Vec<_> = stored.values().filter(|request| query.matches(request)).cloned().collect();
        found.sort_by_key(PrivacyRequest::position);
        found.truncate(query.limit);
        Ok(found)
    }
}

#[async_trait]
impl Ledger for OneAppointment {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let meanwhile = self.meanwhile.lock().unwrap().pop();
        self.agendas.lock().unwrap().extend(meanwhile);
        if let Some(AgendaCondition { doctor, revision }) = &change.agenda {
            let stored = self.agenda(change.revision.country, doctor).await?;
            if stored.map_or(0, |stored| stored.revision) != *revision {
                return Err(CommitError::AgendaChanged);
            }
        }
        let taken = |claim: &Claim| -> Result<_, Unavailable> {
            let is_taken = self.taken.as_ref() == Some(&claim.key);
            Ok(if is_taken { (0..claim.places).collect() } else { BTreeSet::new() })
        };
        let settled = change.places().settle(taken)?.map_err(CommitError::ClaimTaken)?;
        let revision = Arc::new(change.revision_with(&settled));
        self.changes.lock().unwrap().push(change);
        Ok(Committed { revision, choice: settled.choice })
    }
    async fn appointment(&self, _: CountryCode, _: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.stored.clone().map(Arc::new))
    }
    async fn revision(&self, _: CountryCode, _: Uuid, _: u32) -> Result<Option<Revision>, Unavailable> {
        Ok(self.stored.clone())
    }
    async fn history(&self, _: CountryCode, _: Uuid, _: u32, _: usize) -> Result<Vec<Revision>, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.stored.clone().into_iter().collect())
    }
    async fn page(&self, _: CountryCode, query: &Query) -> Result<Page, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.queries.lock().unwrap().push(query.clone());
        let is_listed = |item: &Revision| {
            let is_owned = query.owner == OwnerFilter::Any || query.owner == OwnerFilter::from(item.owner.clone());
            let is_after = |after: &Position| match query.order {
                Order::Ascending => Position::of(item) > *after,
                Order::Descending => Position::of(item) < *after,
            };
            is_owned
                && query.person.is_none_or(|person| person == item.person)
                && query.after.as_ref().is_none_or(is_after)
        };
        let mut items: Vec<Revision> =
            self.stored.iter().chain(&self.others).filter(|item| is_listed(item)).cloned().collect();
        items.sort_by_key(Position::of);
        if query.order == Order::Descending {
            items.reverse();
        }
        let has_more = items.len() > query.limit;
        items.truncate(query.limit);
        let next = items.last().filter(|_| has_more).map(Position::of);
        Ok(Page { items, next })
    }
    async fn receipt(&self, _: CountryCode, _: &str, _: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        Ok(None)
    }
    async fn taken(&self, _: CountryCode, claims: &[Claim], _: Timestamp) -> Result<Taken, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let held = claims.iter().map(|claim| &claim.key).find(|key| self.taken.as_ref() == Some(*key));
        let holder = held.zip(self.stored.as_ref());
        Ok(holder.map(|(key, holder)| (key.clone(), vec![(0, holder.appointment.id)])).into_iter().collect())
    }
    async fn put_hold(&self, _: NewHold) -> Result<Hold, CommitError> {
        unreachable!("these tests hold nothing")
    }
    async fn hold(&self, _: CountryCode, _: Uuid) -> Result<Option<Hold>, Unavailable> {
        Ok(None)
    }
    async fn drop_hold(&self, _: &Hold) -> Result<(), Unavailable> {
        Ok(())
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

fn names() -> Pseudonyms {
    Pseudonyms::new(b"key")
}

/// Returns the key of a personal claim in the ledger's form.
fn kept(key: &str) -> String {
    kept_of(key, None)
}

/// Returns the key of a personal claim of an owner in the ledger's form.
fn kept_of(key: &str, owner: Option<&str>) -> String {
    names().claim(pe(), Claim { personal: true, ..Claim::new(key) }, owner).key
}

fn held(key: &str) -> HeldClaim {
    HeldClaim { key: key.into(), ordinal: 0 }
}

fn field(path: &str, text: &str) -> Field {
    Field { path: path.into(), value: Value::Text(text.into()) }
}

fn pe() -> CountryCode {
    "pe".parse().unwrap()
}

fn ana() -> Caller {
    let scopes = Scope::ALL.map(|scope| scope.as_str().to_owned()).into();
    Caller { subject: "ana".into(), groups: [].into(), scopes, identities: [].into(), request_id: "r-1".into() }
}

const PATIENT: &str = "dni:10117410";

/// Returns the access of somebody in these groups.
fn access(subject: &str, groups: &[&str]) -> Access {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Access::of_token(&Caller { subject: subject.into(), groups, ..ana() }, pe(), &names()).unwrap()
}

/// Returns the access of somebody who acts for the patient.
fn parent(subject: &str) -> Access {
    let tie = Tie { patient: PATIENT.into(), relation: Relation::Parent };
    Access { ties: vec![tie], ..access(subject, &[]) }
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
        let booking = Booking::new(catalogue.clone(), ledger.clone(), clock, Arc::new(NewIds), names(), "0.1.0");
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

    /// Books, or does an action, with this access.
    async fn decide_as(&self, access: Access, action: &str) -> Result<View, BookingError> {
        let rules = self.catalogue.entry(pe()).unwrap().in_force().unwrap();
        let (input, now) = (json!({ "day": "2026-12-01", "reason": "x" }), ManualClock::default().now());
        let request = RuleRequest { access, action: action.into(), input, if_match: None, hold: None, now };
        let before = self.ledger.stored.clone().filter(|_| action != "book").map(Arc::new);
        self.booking.decide_and_store(&rules, Arc::new(request), None, before.as_ref()).await
    }

    fn reads(&self) -> usize {
        self.ledger.reads.load(Ordering::Relaxed)
    }

    async fn cancel(&self, if_match: Option<&[&str]>) -> Result<View, BookingError> {
        let input = json!({ "reason": "x" });
        let if_match = if_match.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
        let request = ActionRequest { id: Uuid::nil(), action: "cancel", input, slot: None, if_match, key: None };
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
    let Revision { appointment, owner, provenance, .. } = &change.revision;
    assert_eq!((appointment.id, appointment.revision, owner.as_deref()), (Uuid::from_u128(1), 1, Some("ana")));
    assert_eq!(appointment.starts_at, Some("2026-12-01T14:30:00Z".parse().unwrap()));
    assert_eq!((provenance.action.as_str(), &provenance.context), ("book", &desk.rules.calls()[0]));
    assert_eq!(
        (change.revision.person, provenance.contract.as_str()),
        (names().patient(pe(), "dni:10117410"), "2.0.0")
    );
    assert_eq!(appointment.steps.iter().map(|step| step.action.as_str()).collect::<Vec<_>>(), ["book"]);
    assert_eq!(change.claims, [Claim::new("doctor/45678/2026-12-01T14:30Z")]);
    assert_eq!(change.events.iter().map(Event::name).collect::<Vec<_>>(), ["booked"]);
    let stored = Revision { claims: vec![held("doctor/45678/2026-12-01T14:30Z")], ..change.revision.clone() };
    assert_eq!((&*view.revision, view.shown_by.as_str()), (&stored, "sha256:00"));
}

#[tokio::test]
async fn a_change_takes_only_the_claims_that_are_new_and_releases_those_that_go() {
    let mut moved = plan(revision(Uuid::nil()));
    moved.claims = ["kept", "new"].map(Claim::new).into();
    let mut stored = revision(Uuid::nil());
    stored.claims = ["kept", "gone"].map(held).into();
    let desk =
        Desk::new(Deciding::new(Ok(Ok(moved))), OneAppointment { stored: Some(stored), ..OneAppointment::default() });
    desk.cancel(None).await.unwrap();
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    let settled = change.places().plain().unwrap();
    let keys = |claims: Vec<&HeldClaim>| claims.into_iter().map(|claim| claim.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(change.take(&settled).collect()), ["new"]);
    assert_eq!(keys(change.release(&settled).collect()), ["gone"]);
    assert_eq!(change.revision.appointment.steps.len(), 2);
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
    let stored = Revision { owner: Some("luis".into()), ..revision(Uuid::nil()) };
    let desk = Desk::new(
        Deciding::new(Ok(Ok(booked()))),
        OneAppointment { stored: Some(stored), ..OneAppointment::default() },
    );
    assert!(matches!(desk.cancel(None).await, Err(BookingError::UnknownAppointment)));
    let found = desk.booking.get(&ana(), pe(), Uuid::nil()).await;
    assert!(matches!(found, Err(BookingError::UnknownAppointment)));
}

/// Books a claim for the patient that another appointment holds. Returns the claim and the codes in the caller's error.
async fn refused_for(access: Access, claim: Claim, holder: Option<Revision>) -> (Option<String>, Vec<String>) {
    let mut wanted = booked();
    wanted.claims.push(claim.clone());
    let mut rules = Deciding::new(Ok(Ok(wanted)));
    let words = |prefix: &str, code: &str| ClaimWords { prefix: prefix.into(), path: "/day".into(), code: code.into() };
    rules.descriptor.claims = vec![words("", "pe.taken"), words("patient/", "pe.patient.taken"), words("z/", "pe.z")];
    let owner = access.owner_for(PATIENT);
    let taken = Some(if claim.is_about(PATIENT) { kept_of(&claim.key, owner.as_deref()) } else { claim.key });
    let desk = Desk::new(rules, OneAppointment { taken, stored: holder, ..OneAppointment::default() });
    let refused = desk.decide_as(access, "book").await;
    let Err(BookingError::SlotTaken { claim, rejection, .. }) = refused else { panic!("the time is taken") };
    let violations = rejection.into_iter().flat_map(|rejection| rejection.violations);
    (claim, violations.map(|violation| violation.code).collect())
}

/// A revision that a booking with a verified tie made.
fn verified() -> Revision {
    Revision { owner: None, ..revision(Uuid::nil()) }
}

#[tokio::test]
async fn the_claim_of_a_patient_is_named_only_to_whoever_sees_what_holds_it() {
    const CLAIM: &str = "patient/dni:10117410/2026-12-01T14:30Z";
    let taken = |access, holder| refused_for(access, Claim::new(CLAIM), holder);
    let nothing = (None, vec![]);
    assert_eq!(taken(parent("ana"), None).await, nothing, "it was released meanwhile");
    let somebodys = Revision { owner: Some("luis".into()), ..verified() };
    assert_eq!(taken(parent("ana"), Some(somebodys)).await, nothing);
    let named = (Some(CLAIM.to_owned()), vec!["pe.patient.taken".to_owned()]);
    assert_eq!(taken(parent("ana"), Some(verified())).await, named);
    assert_eq!(taken(access("ana", &[]), Some(revision(Uuid::nil()))).await, named, "it is the account's own");
    assert_eq!(taken(access("eva", &["pe:staff"]), None).await, named);
}

#[tokio::test]
async fn a_claim_that_the_rules_mark_as_personal_is_hidden_like_the_patient_s() {
    let personal = Claim { personal: true, ..Claim::new("ward/7/2026-12-01T14:30Z") };
    let mut other = verified();
    other.appointment.patient = "ce:PER:000123".into();
    let taken = |claim: Claim| refused_for(parent("ana"), claim, Some(other.clone()));
    assert_eq!(taken(personal.clone()).await.0, None);
    assert_eq!(taken(Claim { personal: false, ..personal.clone() }).await.0, Some(personal.key));
}

#[tokio::test]
async fn a_taken_claim_has_the_words_of_the_longest_prefix_and_all_holders_decide() {
    let session = Claim { places: 10, ..Claim::new("session/1") };
    let refused = refused_for(access("ana", &[]), session, Some(verified())).await;
    assert_eq!(refused, (Some("session/1".into()), vec!["pe.taken".into()]));
}

#[tokio::test]
async fn the_appointment_is_presented_with_the_choice_that_it_gets() {
    let room = |name: &str| Choice {
        claims: vec![Claim::new(format!("room/{name}"))],
        attributes: vec![field("/room", name)],
    };
    let mut wanted = booked();
    wanted.choices = vec![room("1"), room("2"), room("3")];
    let rules = Deciding::new(Ok(Ok(wanted)));
    let desk = Desk::new(rules, OneAppointment { taken: Some("room/1".into()), ..OneAppointment::default() });
    let view = desk.book().await.unwrap();
    assert_eq!(view.fields["room"], "2");
    assert_eq!(view.revision.appointment.attributes, [field("/room", "2")]);
    assert_eq!(view.revision.claims[1], held("room/2"));
    assert!(view.revision.personal.contains("/room"), "no schema describes it");
}

#[tokio::test]
async fn the_rules_get_the_facts_that_they_ask_for_and_provenance_names_their_revisions() {
    let mut rules = Deciding::new(Ok(Ok(booked())));
    let query = |of, key: &str| FactQuery {
        name: key.into(),
        of,
        key: key.into(),
        phases: vec![],
        since: Some(0),
        until: None,
        at_most: 3,
    };
    rules.queries = vec![query(Party::Patient, "dni:10117410"), query(Party::Doctor, "45678")];
    let stored = Revision { person: names().patient(pe(), PATIENT), ..revision(Uuid::from_u128(7)) };
    let desk = Desk::new(rules, OneAppointment { stored: Some(stored.clone()), ..OneAppointment::default() });
    let view = desk.book().await.unwrap();
    let [context] = &desk.rules.calls()[..] else { panic!("one call") };
    assert_eq!(context.facts.len(), 2);
    assert_eq!((&context.facts[0].appointments[0], context.facts[0].more), (&stored.appointment, false));
    let source =
        |name: &str| FactSource { name: name.into(), appointments: vec![(Uuid::from_u128(7), 1)], more: false };
    assert_eq!(view.revision.provenance.facts, [source("dni:10117410"), source("45678")]);
    let queries = desk.ledger.queries.lock().unwrap();
    let [patient, doctor] = &queries[..] else { panic!("two queries") };
    assert_eq!(
        (patient.person, patient.limit, patient.order),
        (Some(names().patient(pe(), "dni:10117410")), 3, Order::Descending)
    );
    assert_eq!((doctor.doctor.as_deref(), doctor.from), (Some("45678"), Some(Timestamp::UNIX_EPOCH)));
}

/// A wake of the stored appointment's first revision.
fn due(action: &str) -> DueWake {
    let wake = Wake { at: Timestamp::UNIX_EPOCH, action: action.into() };
    DueWake { appointment: Uuid::nil(), revision: 1, wake, failed: 0 }
}

fn waking(verdict: Result<Verdict, Fault>) -> Desk {
    let mut rules = Deciding::new(verdict);
    rules.descriptor.actions[0].roles = vec!["clock".into()];
    rules.descriptor.actions[0].input_schema = "{}".into();
    Desk::new(rules, OneAppointment { stored: Some(revision(Uuid::nil())), ..OneAppointment::default() })
}

#[tokio::test]
async fn a_wake_is_an_action_of_the_clock_and_no_client_can_do_it() {
    let desk = waking(Ok(Ok(booked())));
    assert!(matches!(desk.booking.wake(pe(), &due("cancel")).await, Ok(Woken::Done)));
    let [change] = &desk.changes()[..] else { panic!("one change is stored") };
    let Revision { appointment, owner, provenance, .. } = &change.revision;
    assert_eq!((appointment.revision, owner.as_deref(), provenance.subject.as_str()), (2, Some("ana"), "clock"));
    assert_eq!(provenance.context.caller, Role::Clock.into());
    assert!(matches!(desk.cancel(None).await, Err(BookingError::UnknownAction(_))));
}

#[tokio::test]
async fn a_wake_of_an_older_revision_does_nothing() {
    let desk = waking(Ok(Ok(booked())));
    let older = DueWake { revision: 0, ..due("cancel") };
    assert!(matches!(desk.booking.wake(pe(), &older).await, Ok(Woken::Replaced)));
    assert_eq!((desk.changes().len(), desk.rules.calls().len()), (0, 0));
}

#[tokio::test]
async fn a_wake_that_the_rules_refuse_or_do_not_know_changes_nothing() {
    let desk = waking(Ok(refused()));
    assert!(matches!(desk.booking.wake(pe(), &due("cancel")).await, Ok(Woken::Refused(_))));
    for action in ["fly", "arrive"] {
        assert!(matches!(desk.booking.wake(pe(), &due(action)).await, Ok(Woken::Unknown)), "{action}");
    }
    let desk = waking(Err(Fault::OverBudget("fuel")));
    assert!(matches!(desk.booking.wake(pe(), &due("cancel")).await, Err(BookingError::RulesUnavailable(_))));
    assert_eq!(desk.changes().len(), 0);
}

#[tokio::test]
async fn each_free_time_is_named_once_and_never_the_one_that_the_appointment_has() {
    const CLAIM: &str = "doctor/45678/2026-12-01T15:00Z";
    let stored = revision(Uuid::nil());
    let mut moved = plan(stored.clone());
    moved.claims = vec![Claim::new(CLAIM)];
    moved.slot.as_mut().unwrap().start = "2026-12-01T10:00".parse().unwrap();
    let offer = |start: &str, room: &str| Offer {
        opening: 0,
        slot: Slot { start: start.parse().unwrap(), minutes: 30, zone: "America/Lima".into() },
        claims: vec![Claim::new(format!("{room}/{start}"))],
        choices: vec![],
        request: vec![],
    };
    let mut rules = Deciding::new(Ok(Ok(moved)));
    let times = ["2026-12-01T11:00", "2026-12-01T09:30", "2026-12-01T10:30", "2026-12-01T12:00"];
    rules.offers = Some(times.iter().flat_map(|start| ["a", "b", "c"].map(|room| offer(start, room))).collect());
    let desk = Desk::new(
        rules,
        OneAppointment { taken: Some(CLAIM.into()), stored: Some(stored), ..OneAppointment::default() },
    );
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
