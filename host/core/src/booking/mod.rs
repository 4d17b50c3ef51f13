//! The use cases of appointments: book, act, get, list, history and free slots. Only rules decide, and only the ledger makes a
//! decision permanent. Knows no HTTP and no database.
//!
//! - [`decide`]: the decision on a request, by the version in force or by a canary, and the change that it makes
//! - [`error`]: reasons for which a use case fails
//! - [`verify`]: the host's own action, which confirms who booked an appointment
//! - [`filters`]: filters of a list that no appointment could match
//! - [`slots`]: free slots
//! - [`holds`]: slots that are kept for some minutes
//! - [`openings`]: the openings of a place, from agendas or the country
//! - [`agendas`]: the use cases of agendas
//! - [`readings`]: the read log
//! - [`privacy`]: requests of patients about their personal data
//! - [`alternatives`]: free slots near one that is taken
//! - [`idempotency`]: `Idempotency-Key`, and how long a key is remembered
//! - [`presentation`]: appointments as their country shows them, and the cache of these
//! - [`wake`]: scheduled actions
//! - [`mod@merged`]: pages of several queries
//! - [`link`]: links in mail
//!
//! This file also decides whether a caller learns which claim is taken.

mod agendas;
mod alternatives;
mod decide;
mod error;
mod filters;
mod holds;
mod idempotency;
mod link;
mod merged;
mod openings;
mod presentation;
mod privacy;
mod readings;
mod slots;
#[cfg(test)]
mod tests;
mod verify;
mod wake;

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::SignedDuration;
use serde_json::Value as Json;
use uuid::Uuid;

pub use self::agendas::{AGENDA_KEYS, AgendaChange, AgendaRequest, AgendaSearch, MAX_OUTSIDE};
use self::decide::{Decider, Prepared, RuleRequest};
pub use self::error::BookingError;
pub use self::filters::Spellings;
pub use self::holds::{MAX_HOLDS, NamedSlot};
pub use self::link::{LinkError, LinkOutcome, LinkView};
pub use self::presentation::View;
pub use self::privacy::{PrivacyAction, PrivacySearch};
pub use self::readings::ReadSearch;
pub use self::slots::{FreeSlot, MAX_DAYS, SlotPage, SlotPosition, SlotSearch};
pub use self::wake::{Waker, Woken};
use crate::booking::holds::{HOLD_TIME, OfAction, fingerprinted, set_free};
use crate::booking::idempotency::{InUse, KeyInUse, KeysInUse};
use crate::booking::merged::merged;
use crate::booking::openings::AgendaLists;
use crate::booking::presentation::{PresentationCache, show_page};
use crate::model::claim::resource_and_minute;
use crate::model::{Appointment, Caller, Claim, CountryCode, Pseudonyms, ReadOperation, Revision, Role, Scope, VERIFY};
use crate::people::{Access, AccessControl};
use crate::ports::{
    Clock, CommitError, Committed, FIRST_CONTRACT, Fault, Ids, Ledger, Page, PatientLinks, Position, Query, Receipt,
    Unavailable,
};
use crate::release::{Catalogue, InForce};
use crate::rules::{LoadedRules, MAX_PAGE_CALLS, Rejection, schema};
use crate::trial::{Routed, TrialRecorder};

/// Maximum number of evaluations of a request when other changes, or other agendas, are stored first.
const MAX_ATTEMPTS: usize = 5;

/// A request for a booking.
pub struct BookingRequest {
    /// The request, not checked yet.
    pub input: Json,
    /// Slot whose leaves the request gets.
    pub slot: Option<NamedSlot>,
}

impl From<Json> for BookingRequest {
    /// Returns a request that has its time itself.
    fn from(input: Json) -> Self {
        Self { input, slot: None }
    }
}

/// A request for an action on an appointment.
pub struct ActionRequest<'a> {
    /// Id of the appointment.
    pub id: Uuid,
    /// Name of the action.
    pub action: &'a str,
    /// Input of the action, not checked yet.
    pub input: Json,
    /// Slot whose leaves the input gets.
    pub slot: Option<NamedSlot>,
    /// Revisions that the caller accepts as current; none if any will do.
    pub if_match: Option<Vec<String>>,
    /// The request's `Idempotency-Key`.
    pub key: Option<&'a str>,
}

/// The use cases of appointments.
pub struct Booking {
    clock: Arc<dyn Clock>,
    access_control: AccessControl,
    decider: Decider,
    keys: KeysInUse,
    views: Arc<PresentationCache>,
    hold_time: SignedDuration,
    agenda_lists: AgendaLists,
}

impl Booking {
    /// Creates the use cases over these adapters.
    pub fn new(
        catalogue: Arc<Catalogue>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        names: Pseudonyms,
        host_version: &'static str,
    ) -> Self {
        let (of_catalogue, of_ledger) = (Arc::clone(&catalogue), Arc::clone(&ledger) as Arc<dyn PatientLinks>);
        Self {
            access_control: AccessControl::new(of_catalogue, of_ledger, Arc::clone(&clock), names.clone()),
            clock,
            decider: Decider { catalogue, ledger, trying: None, ids, names, host_version },
            keys: KeysInUse::default(),
            views: Arc::default(),
            hold_time: HOLD_TIME,
            agenda_lists: AgendaLists::default(),
        }
    }

    /// Returns the use cases of the links of accounts to patients.
    pub fn access_control(&self) -> &AccessControl {
        &self.access_control
    }

    /// Tries candidates on requests, and records how they decide.
    #[must_use]
    pub fn trying(mut self, trying: TrialRecorder) -> Self {
        self.decider.trying = Some(trying);
        self
    }

    /// Books an appointment.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn book(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: impl Into<BookingRequest>,
        key: Option<&str>,
    ) -> Result<View, BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Write).await?;
        let BookingRequest { mut input, slot } = request.into();
        let held = set_free(slot, &mut input, None)?;
        let key = self.use_key(caller, country, "", &fingerprinted(&input, held), key)?;
        if let Some(earlier) = self.earlier(&rules, &access, key.as_ref()).await? {
            return Ok(earlier);
        }
        let now = self.clock.now();
        let hold = match held {
            Some(id) => Some(self.set_held(caller, country, id, &mut input, None, now).await?),
            None => None,
        };
        let request = RuleRequest { access, action: "book".to_owned(), input, if_match: None, hold, now };
        match self.decide_and_store(&rules, Arc::new(request), key.as_ref(), None).await {
            Err(BookingError::Stale { .. }) => Err(BookingError::InProgress),
            stored => stored,
        }
    }

    /// Applies one of the country's actions to an appointment, or the host's own.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn act(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: ActionRequest<'_>,
    ) -> Result<View, BookingError> {
        if request.action == VERIFY {
            return self.verify(caller, country, request).await;
        }
        let (rules, access) = self.enter(caller, country, Scope::Write).await?;
        let ActionRequest { id, action, mut input, slot, if_match, key } = request;
        let mut current = self.visible(&access, country, id).await?;
        // The version that decides is selected later. A version that no longer has the action refuses it.
        let role = access.role;
        let allowed =
            rules.used.allow(action, role).or_else(|_| rules.of(&current.appointment.patient).allow(action, role));
        let allowed = allowed.map_err(|cause| BookingError::not_decided(&rules.used, cause))?;
        let known: Vec<&str> = schema::named_members(&allowed.schema).collect();
        let of_action = OfAction { rules: &rules.used, current: &current.appointment, members: &known };
        let held = set_free(slot, &mut input, Some(&of_action))?;
        let printed = fingerprinted(&input, held);
        let key = self.use_key(caller, country, &format!("{id}/{action}"), &printed, key)?;
        if let Some(earlier) = self.earlier(&rules, &access, key.as_ref()).await? {
            return Ok(earlier);
        }
        let now = self.clock.now();
        let hold = match held {
            Some(id) => Some(self.set_held(caller, country, id, &mut input, Some(&of_action), now).await?),
            None => None,
        };
        let (asking, action) = (access.clone(), action.to_owned());
        let request = Arc::new(RuleRequest { access: asking, action, input, if_match, hold, now });
        for _ in 0..MAX_ATTEMPTS {
            match self.decide_and_store(&rules, Arc::clone(&request), key.as_ref(), Some(&current)).await {
                Err(BookingError::Stale { .. }) => current = self.visible(&access, country, id).await?,
                stored => return stored,
            }
        }
        Err(BookingError::Stale { current: current.appointment.revision })
    }

    /// Returns one appointment.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn get(&self, caller: &Caller, country: CountryCode, id: Uuid) -> Result<View, BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Read).await?;
        let revision = self.visible(&access, country, id).await?;
        let view = self.view(&rules, access.role, revision).await?;
        self.log_shown(&access, ReadOperation::Get, country, [&*view.revision]).await?;
        Ok(view)
    }

    /// Returns a page of the appointments with these keys that match the query and that the caller may see, and the position
    /// of the next page if there is one.
    /// A page takes at most [`MAX_PAGE_CALLS`] calls, so it may be shorter than requested, but it is never empty while
    /// appointments are left.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn list(
        &self,
        caller: &Caller,
        country: CountryCode,
        spelt: Spellings,
        mut query: Query,
    ) -> Result<(Vec<View>, Option<Position>), BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Read).await?;
        if spelt != Spellings::default() {
            let known = rules.clone();
            let keys = self.decider.catalogue.executor().run(country, move || filters::keys(&known, &spelt)).await??;
            query.person = keys.patient.map(|patient| self.decider.names.patient(country, &patient));
            (query.doctor, query.hospital) = (keys.doctor, keys.hospital);
        }
        filters::narrow(&rules, &mut query)?;
        let queries = access.queries(query, country, &self.decider.names);
        let Page { items, mut next } = merged(&*self.decider.ledger, country, queries).await?;
        let found = items.len();
        let views = self.listed(&rules, access.role, items).await?;
        if views.len() < found {
            next = views.last().map(|view| Position::of(&view.revision));
        }
        self.log_shown(&access, ReadOperation::List, country, views.iter().map(|view| &*view.revision)).await?;
        Ok((views, next))
    }

    /// Returns at most `limit` revisions of an appointment after revision `after`, the oldest first, and true if there
    /// are more. A page may be shorter than requested, as in [`Booking::list`].
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn history(
        &self,
        caller: &Caller,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<View>, bool), BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Read).await?;
        self.visible(&access, country, id).await?;
        let mut revisions = self.decider.ledger.history(country, id, after, limit + 1).await?;
        let more = revisions.len() > limit;
        revisions.truncate(limit);
        let found = revisions.len();
        let views = self.listed(&rules, access.role, revisions).await?;
        let is_short = views.len() < found;
        self.log_shown(&access, ReadOperation::History, country, views.iter().map(|view| &*view.revision)).await?;
        Ok((views, more || is_short))
    }

    /// Presents a stored appointment with its patient's version.
    async fn view(&self, rules: &InForce, role: Role, revision: Arc<Revision>) -> Result<View, Fault> {
        let patient = &revision.appointment.patient;
        if let Some(view) = self.views.get(rules.of(patient), role, &revision) {
            return Ok(view);
        }
        let (views, shown) = (self.views.clone(), revision.clone());
        let routed = Routed::new(rules, patient, move |rules: &LoadedRules| views.show(rules, role, &shown));
        let answer = self.decider.catalogue.executor().run(rules.used.country, move || routed.call()).await?;
        answer.settle(rules, self.decider.trying.as_ref()).await
    }

    /// Presents stored appointments in order, each with its patient's version. Returns fewer if the calls of the page
    /// are used up.
    async fn listed(&self, rules: &InForce, role: Role, revisions: Vec<Revision>) -> Result<Vec<View>, Fault> {
        let Some(first) = revisions.first() else { return Ok(Vec::new()) };
        let is_canary = |revision: &Revision| rules.canary_of(&revision.appointment.patient).is_some();
        let first_is_canary = is_canary(first);
        let order: Vec<Arc<Revision>> = revisions.into_iter().map(Arc::new).collect();
        // The group of the first revision comes first, so that the page has at least that revision.
        let groups: (Vec<_>, Vec<_>) =
            order.iter().cloned().partition(|revision| is_canary(revision) == first_is_canary);
        let (mut shown, mut budget) = (HashMap::new(), MAX_PAGE_CALLS);
        for group in [groups.0, groups.1] {
            let Some(patient) = group.first().map(|first| first.appointment.patient.clone()).filter(|_| budget > 0)
            else {
                continue;
            };
            let show = move |rules: &LoadedRules| {
                let mut left = budget;
                show_page(rules, role, &group, &mut left).map(|views| (views, left))
            };
            let routed = Routed::new(rules, &patient, show);
            let answer = self.decider.catalogue.executor().run(rules.used.country, move || routed.call()).await?;
            let (views, left) = answer.settle(rules, self.decider.trying.as_ref()).await?;
            budget = left;
            shown.extend(views.into_iter().map(|view| (place(&view.revision), view)));
        }
        Ok(order.iter().map_while(|revision| shown.remove(&place(revision))).collect())
    }

    /// Returns the rules of the country and the caller's access there, with the patients for whom the caller acts.
    async fn enter(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(InForce, Access), BookingError> {
        Ok(self.access_control.enter(caller, country, scope).await?)
    }

    async fn visible(&self, access: &Access, country: CountryCode, id: Uuid) -> Result<Arc<Revision>, BookingError> {
        let found = self.decider.ledger.appointment(country, id).await?;
        found.filter(|revision| access.sees(revision)).ok_or(BookingError::UnknownAppointment)
    }

    fn use_key(
        &self,
        caller: &Caller,
        country: CountryCode,
        target: &str,
        request: &Json,
        key: Option<&str>,
    ) -> Result<Option<InUse<'_>>, BookingError> {
        let Some(key) = key else { return Ok(None) };
        let scope = [caller.subject.as_str(), country.as_str(), target, key];
        self.keys.enter(&scope, request).map(Some).map_err(|KeyInUse| BookingError::InProgress)
    }

    /// Returns the outcome of an earlier request with the same key, if the caller may still see it.
    async fn earlier(
        &self,
        rules: &InForce,
        access: &Access,
        key: Option<&InUse<'_>>,
    ) -> Result<Option<View>, BookingError> {
        let country = rules.used.country;
        let Some(receipt) = self.receipt(country, key).await? else { return Ok(None) };
        let revision = self.decider.ledger.revision(country, receipt.appointment, receipt.revision).await?;
        let revision = revision.filter(|revision| access.sees(revision)).ok_or(BookingError::UnknownAppointment)?;
        Ok(Some(self.view(rules, access.role, Arc::new(revision)).await?))
    }

    /// Returns the receipt of an earlier request with the same key.
    async fn receipt(&self, country: CountryCode, key: Option<&InUse<'_>>) -> Result<Option<Receipt>, BookingError> {
        let Some(key) = key else { return Ok(None) };
        let receipt = self.decider.ledger.receipt(country, &key.key, self.clock.now()).await?;
        match receipt {
            Some(receipt) if receipt.fingerprint != key.fingerprint => Err(BookingError::KeyReused),
            receipt => Ok(receipt),
        }
    }

    /// Decides on a request and stores the decision. Decides again if the doctor's agenda has changed meanwhile, and, without
    /// the hold, if the hold has lost a place.
    async fn decide_and_store(
        &self,
        rules: &InForce,
        mut request: Arc<RuleRequest>,
        key: Option<&InUse<'_>>,
        before: Option<&Arc<Revision>>,
    ) -> Result<View, BookingError> {
        for _ in 0..MAX_ATTEMPTS {
            let prepared = self.decider.decide(rules, &request, before).await?;
            match self.store(rules, &request, key, before.map(|before| &**before), prepared).await {
                Err(BookingError::HoldExpired { .. }) if request.live_hold().is_some() => {
                    request = Arc::new(self.without_hold(rules.used.country, &request).await?);
                }
                Err(BookingError::AgendaChanged) => {}
                stored => return stored,
            }
        }
        Err(BookingError::AgendaChanged)
    }

    /// Commits a decision, whole or not at all.
    async fn store(
        &self,
        rules: &InForce,
        request: &RuleRequest,
        key: Option<&InUse<'_>>,
        before: Option<&Revision>,
        prepared: Prepared,
    ) -> Result<View, BookingError> {
        let Prepared { rules: decided, claims, mut change, shown, .. } = prepared;
        let Appointment { id, revision, .. } = change.revision.appointment;
        change.receipt = key.map(|key| key.receipt(id, revision, request.now));
        let wanted = change.revision.clone();
        let named = request.hold.as_ref().map(|named| (named, change.choices.clone()));
        match self.decider.ledger.commit(change).await {
            Ok(Committed { revision, choice }) => {
                let fields = shown.into_iter().nth(choice.unwrap_or_default()).expect("one for each choice");
                Ok(View::new(&decided, revision, fields))
            }
            Err(CommitError::ClaimTaken(kept)) => {
                let conflict = ClaimConflict { decided: &decided, request, before, wanted: &wanted };
                let is_of_hold = named.is_some_and(|(named, choices)| named.had(&kept, &choices));
                Err(match self.taken(&conflict, claims, &kept).await {
                    BookingError::SlotTaken { claim, free, rejection } if is_of_hold => {
                        BookingError::HoldExpired { claim, free, rejection }
                    }
                    taken => taken,
                })
            }
            Err(CommitError::KeyUsed) => {
                self.earlier(rules, &request.access, key).await?.ok_or(BookingError::InProgress)
            }
            Err(CommitError::Stale) => {
                Err(BookingError::Stale { current: before.map_or(0, |before| before.appointment.revision) })
            }
            Err(CommitError::AgendaChanged) => Err(BookingError::AgendaChanged),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }

    /// Returns the error for a taken claim, with the claim, the country's words for it, and, for a claim on time, free slots
    /// nearby. Leaves these out if the claim is personal and the caller may not see a holder: the caller may not know that
    /// person's appointments and free time.
    ///
    /// `claims` are those of the plan, one of which the ledger keeps as `kept`.
    async fn taken(&self, conflict: &ClaimConflict<'_>, claims: Vec<Claim>, kept: &str) -> BookingError {
        let ClaimConflict { decided, wanted, .. } = conflict;
        let Revision { country, appointment, owner, .. } = wanted;
        let effective =
            claims.into_iter().map(|claim| Claim { personal: claim.is_about(&appointment.patient), ..claim });
        let is_kept = |claim: &Claim| self.decider.names.claim(*country, claim.clone(), owner.as_deref()).key == kept;
        let claim = effective.into_iter().find(is_kept).unwrap_or_else(|| Claim::new(kept));
        if claim.personal && !self.may_see_holders(conflict, kept).await {
            return BookingError::SlotTaken { claim: None, free: Vec::new(), rejection: None };
        }
        // Contract 1.0.0 did not set the form of a claim on time.
        let is_on_time = resource_and_minute(&claim.key).1.is_some() || decided.contract() == FIRST_CONTRACT;
        let free = if is_on_time { self.free_slots(conflict).await } else { Vec::new() };
        let violation = decided.claim_violation(&claim.key);
        let rejection =
            violation.map(|violation| Rejection { violations: vec![violation], rules: Arc::clone(decided) });
        BookingError::SlotTaken { claim: Some(claim.key), free, rejection }
    }

    /// True if the caller may see every appointment that holds this personal claim. False if there is none or the ledger
    /// does not answer. The claims of an appointment with an owner are in the way of the owner's alone.
    async fn may_see_holders(&self, ClaimConflict { request, wanted, .. }: &ClaimConflict<'_>, kept: &str) -> bool {
        let (country, access, ledger) = (wanted.country, &request.access, &self.decider.ledger);
        if access.sees_all() || wanted.owner.as_ref() == Some(&access.subject) {
            return true;
        }
        let see = async {
            let taken = ledger.taken(country, &[Claim::new(kept)], request.now).await?;
            let holders = taken.into_values().flatten().map(|(_, holder)| ledger.appointment(country, holder));
            let holders = try_join_all(holders).await?;
            let is_seen = |holder: &Option<Arc<Revision>>| holder.as_ref().is_some_and(|holder| access.sees(holder));
            Ok::<_, Unavailable>(!holders.is_empty() && holders.iter().all(is_seen))
        };
        see.await.unwrap_or_else(|error| {
            tracing::debug!(%country, %error, "the holders of the claim are not known");
            false
        })
    }

    /// Finds free slots near the taken one. They are a courtesy: if the search fails, the response has none.
    async fn free_slots(&self, ClaimConflict { decided, before, wanted, .. }: &ClaimConflict<'_>) -> Vec<FreeSlot> {
        let found = alternatives::near(self, decided, wanted, *before).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(country = %wanted.country, %error, "no free slots are named");
            Vec::new()
        })
    }
}

/// Identifies a revision in a list.
fn place(revision: &Revision) -> (Uuid, u32) {
    (revision.appointment.id, revision.appointment.revision)
}

/// A decision whose claim another appointment holds.
struct ClaimConflict<'a> {
    decided: &'a Arc<LoadedRules>,
    request: &'a RuleRequest,
    before: Option<&'a Revision>,
    wanted: &'a Revision,
}
