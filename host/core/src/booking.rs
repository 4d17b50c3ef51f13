//! Booking an appointment, changing it, looking at it. Rules decide, the ledger makes it true, nothing else does.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::access::{Caller, Forbidden, Scope};
use crate::appointment::{Appointment, CountryCode, Field, Provenance, Revision, Slot};
use crate::catalogue::Catalogue;
use crate::event::Event;
use crate::idempotency::{InUse, KeyInUse, KeysInUse};
use crate::json::{TooManyLeaves, flatten};
use crate::ledger::{Change, CommitError, Ledger, Page, Position, Query, Unavailable};
use crate::loaded::LoadedRules;
use crate::rules::{CONTRACT, Context, Fault, Plan, Role, Violation};
use crate::time::{Clock, Ids, Instant};
use crate::views::{View, Views, shown};

/// How often an action without `If-Match` is judged anew because somebody else was faster.
const MOST_ATTEMPTS: usize = 5;

/// Largest revision, in bytes of JSON: an event with one fits a message of SNS (256 KiB), and an item of DynamoDB (400 KB).
const LARGEST_REVISION: usize = 240 << 10;

/// How many of a caller's appointments to come are looked through for one that stands in the way.
const MOST_OWN: usize = 100;

/// A code that ends so means: not in this phase.
const NOT_ALLOWED_NOW: &str = ".not-allowed-now";

/// Why a booking or an action did not come about: one variant for each different answer.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// Nothing is known of that country.
    #[error("there is no country `{0}` here")]
    UnknownCountry(CountryCode),
    /// Unknown, or somebody else's.
    #[error("there is no such appointment")]
    UnknownAppointment,
    /// The country has no action of that name.
    #[error("there is no action `{0}` here")]
    UnknownAction(String),
    /// The token is good, and not for this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Schema or rules say no.
    #[error("the rules say no")]
    Violations(Vec<Violation>),
    /// The action is not possible in this phase.
    #[error("this cannot be done to the appointment as it stands")]
    NotAllowedNow(Vec<Violation>),
    /// Somebody else has it.
    #[error("somebody else has {}", .claim.as_deref().unwrap_or("that time"))]
    SlotTaken {
        /// What is taken, where the caller may know it.
        claim: Option<String>,
        /// Free slots near the one asked for, the nearest first.
        free: Vec<FreeSlot>,
    },
    /// The appointment is not at the revision that the caller saw.
    #[error("the appointment has changed since; it is at revision {current}")]
    Stale {
        /// Where it is now.
        current: u32,
    },
    /// The same key is at work right now.
    #[error("a request with this Idempotency-Key is at work right now")]
    InProgress,
    /// The key came with another request before.
    #[error("this Idempotency-Key came with another request before")]
    KeyReused,
    /// It is more than the rules can be given.
    #[error("the request is more than can be dealt with: it, or what comes of it, has more than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The country's rules gave no answer.
    #[error("the rules gave no answer")]
    RulesUnavailable(#[source] Option<Fault>),
    /// The ledger gave no answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<Fault> for BookingError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InputTooLarge { limit } => Self::TooLarge { limit },
            fault => Self::RulesUnavailable(Some(fault)),
        }
    }
}

/// A slot that can be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSlot {
    /// As the clocks there show it.
    pub slot: Slot,
    /// When it starts.
    pub starts_at: Timestamp,
}

/// What a caller asks of an appointment.
pub struct ActionRequest<'a> {
    /// Which appointment.
    pub id: Uuid,
    /// The action's name.
    pub action: &'a str,
    /// Its input, not checked yet.
    pub input: Json,
    /// The revisions that the caller would change; none when any will do.
    pub if_match: Option<Vec<u32>>,
    /// Idempotency-Key.
    pub key: Option<&'a str>,
}

/// The use cases of appointments.
pub struct Booking {
    catalogue: Arc<Catalogue>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    host_version: &'static str,
    keys: KeysInUse,
    views: Views,
}

/// One request to change something, at the point where the rules have their say.
struct Asked<'a> {
    caller: &'a Caller,
    rules: Arc<LoadedRules>,
    action: &'a str,
    input: Vec<Field>,
    context: Context,
    now: Timestamp,
    key: Option<InUse<'a>>,
}

impl Booking {
    /// The use cases over these adapters.
    pub fn new(
        catalogue: Arc<Catalogue>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        host_version: &'static str,
    ) -> Self {
        Self { catalogue, ledger, clock, ids, host_version, keys: KeysInUse::default(), views: Views::default() }
    }

    /// Books an appointment.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn book(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: Json,
        key: Option<&str>,
    ) -> Result<View, BookingError> {
        let (rules, role) = self.enter(caller, country, Scope::Write)?;
        let key = self.use_key(caller, country, "", &request, key)?;
        if let Some(earlier) = self.earlier(&rules, key.as_ref()).await? {
            return Ok(earlier);
        }
        refuse(rules.check_request(&request))?;
        let now = self.clock.now();
        let (input, context) = (leaves(&request)?, rules.context(now, role));
        let asked = Asked { caller, rules, action: "book", input, context, now, key };
        let plan = asked.rules.book(&asked.context, &asked.input).await?;
        let plan = plan.map_err(refusal)?;
        match self.store(&asked, None, plan).await {
            Err(BookingError::Stale { .. }) => Err(BookingError::InProgress),
            stored => stored,
        }
    }

    /// Does one of the country's actions to an appointment.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn act(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: ActionRequest<'_>,
    ) -> Result<View, BookingError> {
        let (rules, role) = self.enter(caller, country, Scope::Write)?;
        let ActionRequest { id, action: name, input, if_match, key } = request;
        let mut current = self.visible(caller, country, role, id).await?;
        let action = rules.actions.get(name).ok_or_else(|| BookingError::UnknownAction(name.to_owned()))?;
        if !action.roles.contains(role.as_str()) {
            return Err(Forbidden(format!("`{name}` is not for the role {}", role.as_str())).into());
        }
        let key = self.use_key(caller, country, &format!("{id}/{name}"), &input, key)?;
        if let Some(earlier) = self.earlier(&rules, key.as_ref()).await? {
            return Ok(earlier);
        }
        refuse(action.check(&input))?;
        let now = self.clock.now();
        let (input, context) = (leaves(&input)?, rules.context(now, role));
        let asked = Asked { caller, rules: rules.clone(), action: name, input, context, now, key };
        for _ in 0..MOST_ATTEMPTS {
            let at = current.appointment.revision;
            if if_match.as_ref().is_some_and(|seen| !seen.contains(&at)) {
                return Err(BookingError::Stale { current: at });
            }
            let plan = rules.act(&asked.context, &current.appointment, name, &asked.input).await?;
            let plan = plan.map_err(refusal)?;
            match self.store(&asked, Some(&current), plan).await {
                Err(BookingError::Stale { .. }) => current = self.visible(caller, country, role, id).await?,
                stored => return stored,
            }
        }
        Err(BookingError::Stale { current: current.appointment.revision })
    }

    /// One appointment.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn get(&self, caller: &Caller, country: CountryCode, id: Uuid) -> Result<View, BookingError> {
        let (rules, role) = self.enter(caller, country, Scope::Read)?;
        let revision = self.visible(caller, country, role, id).await?;
        Ok(self.views.stored(&rules, revision).await?)
    }

    /// Some appointments: of a patient's, only their own.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn list(
        &self,
        caller: &Caller,
        country: CountryCode,
        mut query: Query,
    ) -> Result<(Vec<View>, Option<Position>), BookingError> {
        let (rules, role) = self.enter(caller, country, Scope::Read)?;
        query.owner = (role == Role::Patient).then(|| caller.subject.clone());
        let Page { items, next } = self.ledger.page(country, &query).await?;
        Ok((shown(&rules, items.into_iter().map(Arc::new).collect()).await?, next))
    }

    /// Revisions of an appointment after the `after`th, the first one first, at most `limit`; and whether there are more.
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
        let (rules, role) = self.enter(caller, country, Scope::Read)?;
        self.visible(caller, country, role, id).await?;
        let mut revisions = self.ledger.history(country, id, after, limit + 1).await?;
        let more = revisions.len() > limit;
        revisions.truncate(limit);
        Ok((shown(&rules, revisions.into_iter().map(Arc::new).collect()).await?, more))
    }

    /// The rules of the country, and the caller's part in it.
    fn enter(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(Arc<LoadedRules>, Role), BookingError> {
        let entry = self.catalogue.entry(country).ok_or(BookingError::UnknownCountry(country))?;
        let role = caller.role(country)?;
        caller.needs(scope)?;
        Ok((entry.rules.ok_or(BookingError::RulesUnavailable(None))?, role))
    }

    async fn visible(
        &self,
        caller: &Caller,
        country: CountryCode,
        role: Role,
        id: Uuid,
    ) -> Result<Arc<Revision>, BookingError> {
        let found = self.ledger.appointment(country, id).await?;
        found.filter(|revision| caller.sees(role, revision)).ok_or(BookingError::UnknownAppointment)
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

    /// What an earlier request with the same key brought about.
    async fn earlier(&self, rules: &LoadedRules, key: Option<&InUse<'_>>) -> Result<Option<View>, BookingError> {
        let Some(key) = key else { return Ok(None) };
        let receipt = self.ledger.receipt(rules.country, &key.key, self.clock.now()).await?;
        let Some(receipt) = receipt else { return Ok(None) };
        if receipt.fingerprint != key.fingerprint {
            return Err(BookingError::KeyReused);
        }
        let revision = self.ledger.revision(rules.country, receipt.appointment, receipt.revision).await?;
        let revision = Arc::new(revision.ok_or(BookingError::UnknownAppointment)?);
        Ok(Some(self.views.stored(rules, revision).await?))
    }

    /// Makes a plan true, whole or not at all.
    async fn store(&self, asked: &Asked<'_>, before: Option<&Revision>, plan: Plan) -> Result<View, BookingError> {
        let rules = &asked.rules;
        let starts_at = starts_at(rules, plan.slot.as_ref())?;
        let revision = self.revision(asked, before, &plan, starts_at);
        let held: HashSet<&String> = before.into_iter().flat_map(|before| &before.claims).collect();
        let kept: HashSet<&String> = plan.claims.iter().collect();
        let receipt = asked
            .key
            .as_ref()
            .map(|key| key.receipt(revision.appointment.id, revision.appointment.revision, asked.now));
        let change = Change {
            take: plan.claims.iter().filter(|claim| !held.contains(claim)).cloned().collect(),
            release: held.difference(&kept).map(|claim| (*claim).clone()).collect(),
            events: plan.events.iter().map(|name| Event::new(self.ids.next(), name, &revision)).collect(),
            receipt,
            revision: revision.clone(),
        };
        fits(&change.revision)?;
        // Whatever the rules may still fail at comes before the change is stored: an answer of 503 means that it is not.
        let view = shown(rules, vec![Arc::new(revision)]).await?.pop().expect("a view for each revision");
        match self.ledger.commit(change).await {
            Ok(()) => Ok(view),
            Err(CommitError::ClaimTaken(claim)) => Err(self.taken(asked, before, &plan, claim).await),
            Err(CommitError::KeyUsed) => self.earlier(rules, asked.key.as_ref()).await?.ok_or(BookingError::InProgress),
            Err(CommitError::Stale) => {
                Err(BookingError::Stale { current: before.map_or(0, |before| before.appointment.revision) })
            }
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }

    fn revision(
        &self,
        asked: &Asked<'_>,
        before: Option<&Revision>,
        plan: &Plan,
        starts_at: Option<Timestamp>,
    ) -> Revision {
        let rules = &asked.rules;
        Revision {
            country: rules.country,
            appointment: Appointment {
                id: before.map_or_else(|| self.ids.next(), |before| before.appointment.id),
                phase: plan.phase,
                slot: plan.slot.clone(),
                revision: before.map_or(1, |before| before.appointment.revision + 1),
                attributes: plan.attributes.clone(),
            },
            starts_at,
            claims: plan.claims.clone(),
            owner: before.map_or_else(|| asked.caller.subject.clone(), |before| before.owner.clone()),
            patient: plan.patient.clone(),
            doctor: plan.doctor.clone(),
            hospital: plan.hospital.clone(),
            created_at: before.map_or(asked.now, |before| before.created_at),
            updated_at: asked.now,
            provenance: Provenance {
                action: asked.action.to_owned(),
                input: asked.input.clone(),
                context: asked.context.clone(),
                rules: rules.id.clone(),
                contract: CONTRACT.to_owned(),
                host: self.host_version.to_owned(),
                subject: asked.caller.subject.clone(),
                request_id: asked.caller.request_id.clone(),
            },
        }
    }

    /// What is taken, and what could be booked instead. A patient who meets the time of somebody else's patient is told
    /// neither: what that patient has and when they are free is not theirs to know.
    async fn taken(&self, asked: &Asked<'_>, before: Option<&Revision>, plan: &Plan, claim: String) -> BookingError {
        let of_patient = asked.context.role == Role::Patient && claim.contains(&plan.patient);
        if of_patient && !self.owns(asked, &plan.patient, &claim).await {
            return BookingError::SlotTaken { claim: None, free: Vec::new() };
        }
        let free = self.free_slots(asked, before, plan.slot.as_ref()).await;
        BookingError::SlotTaken { claim: Some(claim), free }
    }

    /// Whether the caller booked what holds a claim of this patient; no, where that cannot be told.
    async fn owns(&self, asked: &Asked<'_>, patient: &str, claim: &str) -> bool {
        let query = Query {
            owner: Some(asked.caller.subject.clone()),
            patient: Some(patient.to_owned()),
            from: Some(asked.now),
            limit: MOST_OWN,
            ..Query::default()
        };
        let own = self.ledger.page(asked.rules.country, &query).await.map_or_else(|_| Vec::new(), |page| page.items);
        own.iter().any(|held| held.claims.iter().any(|held| held == claim))
    }

    /// A courtesy: where it cannot be had, there is none.
    async fn free_slots(&self, asked: &Asked<'_>, before: Option<&Revision>, wanted: Option<&Slot>) -> Vec<FreeSlot> {
        let Some(wanted) = wanted else { return Vec::new() };
        let attributes = before.map_or_else(Vec::new, |before| before.appointment.attributes.clone());
        let place = [asked.input.as_slice(), &attributes].concat();
        let found = crate::alternatives::near(&*self.ledger, &asked.rules, &asked.context, &place, before, wanted);
        found.await.unwrap_or_default()
    }
}

/// When the slot is.
fn starts_at(rules: &LoadedRules, slot: Option<&Slot>) -> Result<Option<Timestamp>, BookingError> {
    let Some(slot) = slot else { return Ok(None) };
    match rules.start(slot)? {
        Instant::At(instant) => Ok(Some(instant)),
        Instant::Nonexistent => Err(BookingError::Violations(vec![Violation::nonexistent_time()])),
    }
}

/// What the rules see of a document.
fn leaves(document: &Json) -> Result<Vec<Field>, BookingError> {
    flatten(document).map_err(|TooManyLeaves { limit }| BookingError::TooLarge { limit })
}

/// What is stored is published and mailed about later: what no topic or table could carry is refused before that.
fn fits(revision: &Revision) -> Result<(), BookingError> {
    let size = serde_json::to_vec(revision).map_or(usize::MAX, |json| json.len());
    if size > LARGEST_REVISION { Err(BookingError::TooLarge { limit: LARGEST_REVISION }) } else { Ok(()) }
}

fn refuse(violations: Vec<Violation>) -> Result<(), BookingError> {
    if violations.is_empty() { Ok(()) } else { Err(BookingError::Violations(violations)) }
}

fn refusal(violations: Vec<Violation>) -> BookingError {
    if violations.iter().any(|violation| violation.code.ends_with(NOT_ALLOWED_NOW)) {
        return BookingError::NotAllowedNow(violations);
    }
    BookingError::Violations(violations)
}
