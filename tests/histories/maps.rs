//! A ledger of plain maps, the third implementation of the ports. It is too simple to be wrong, and passes their contract suites.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use citas_core::model::{
    AgendaRevision, Claim, CountryCode, Event, HeldClaim, Hold, PatientLink, PrivacyRequest, Revision,
};
use citas_core::ports::{
    AgendaError, Agendas, Attempts, Change, CommitError, Committed, DueWake, Ledger, NewHold, Order, Outbox, Page,
    Pending, Position, PrivacyError, PrivacyQuery, PrivacyRequests, Query, Receipt, Taken, Unavailable, Wakes,
};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::yield_now;
use uuid::Uuid;

use crate::ledger_contract::{Holder, Model};

/// A fault of the ledger, which the check of histories must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A place is given to several appointments.
    DoubleBooks,
    /// A place that was given up stays taken.
    KeepsClaims,
    /// A change is acknowledged and not stored.
    Forgets,
    /// A change is stored and refused.
    Refuses,
    /// A revision is stored under the number after the next.
    Skips,
    /// A change is stored over a later one.
    Overwrites,
    /// An event is written twice.
    RepeatsEvents,
    /// An event is not written.
    LosesEvents,
    /// An action is not scheduled.
    LosesWakes,
    /// A key is used twice.
    ForgetsKeys,
    /// A booking takes what is held.
    IgnoresHolds,
    /// A hold does not expire.
    HoldsForEver,
    /// A change does not depend on an agenda.
    IgnoresAgendas,
    /// A revision of an agenda is acknowledged and not stored.
    ForgetsAgendas,
}

/// The countries' maps.
#[derive(Default)]
pub struct MapLedger {
    countries: Mutex<BTreeMap<CountryCode, Maps>>,
    flaw: Option<Flaw>,
}

#[derive(Default)]
pub(super) struct Maps {
    model: Model,
    order: Vec<(Uuid, u32)>,
    /// Revisions of links by the patient and the account.
    pub(super) links: BTreeMap<(Uuid, String), Vec<PatientLink>>,
    /// Number of the revisions of agendas.
    agenda_stamp: u64,
    privacy_requests: BTreeMap<Uuid, PrivacyRequest>,
    outbox: Vec<Pending>,
    written: Arc<Notify>,
    notified: HashSet<Uuid>,
    /// Scheduled actions by appointment. A later revision replaces them.
    wakes: HashMap<Uuid, (Timestamp, DueWake)>,
}

impl MapLedger {
    /// Returns a ledger that goes wrong in one way.
    pub fn with(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..Self::default() }
    }

    /// Returns the revisions of a country in the order of their commits.
    pub fn order(&self, country: CountryCode) -> Vec<(Uuid, u32)> {
        self.maps(country, |maps| maps.order.clone())
    }

    pub(super) fn maps<T>(&self, country: CountryCode, with: impl FnOnce(&mut Maps) -> T) -> T {
        let mut countries: MutexGuard<'_, _> = self.countries.lock().unwrap();
        with(countries.entry(country).or_default())
    }
}

impl Maps {
    /// Stores a change with a flaw.
    fn commit_with(&mut self, flaw: Flaw, change: &Change) -> Result<Committed, CommitError> {
        let (mut change, id) = (change.clone(), change.revision.appointment.id);
        let settled = self.model.settle(&change.places(), change.revision.updated_at);
        if flaw == Flaw::DoubleBooks && matches!(settled, Err(CommitError::ClaimTaken(_))) {
            let place = |claim: &Claim| HeldClaim { key: claim.key.clone(), ordinal: 0 };
            change.choices.truncate(1);
            change.held = change.places().wanted().map(place).collect();
        }
        if flaw == Flaw::Overwrites
            && let Some(stored) = self.model.histories.get_mut(&id)
        {
            stored.retain(|stored| stored.appointment.revision < change.revision.appointment.revision);
        }
        if flaw == Flaw::IgnoresHolds {
            self.model.claims.retain(|_, holder| holder.until.is_none());
        }
        match flaw {
            Flaw::ForgetsKeys => change.receipt = None,
            Flaw::IgnoresAgendas => change.agenda = None,
            Flaw::LosesEvents => change.events.clear(),
            Flaw::RepeatsEvents => {
                let again = |event: &Event| Event { id: Uuid::from_u128(event.id.as_u128() ^ 1), ..event.clone() };
                change.events.extend(change.events.iter().map(again).collect::<Vec<_>>());
            }
            _ => {}
        }
        let committed = self.commit(&change)?;
        match flaw {
            Flaw::KeepsClaims => {
                let nobody = Holder { id: Uuid::nil(), until: None };
                let kept = |held: &HeldClaim| ((held.key.clone(), held.ordinal), nobody);
                let released = change.held.iter().filter(|held| !committed.revision.claims.contains(held));
                self.model.claims.extend(released.map(kept));
            }
            Flaw::Forgets => drop(self.model.histories.get_mut(&id).and_then(Vec::pop)),
            Flaw::Skips => {
                if let Some(stored) = self.model.histories.get_mut(&id).and_then(|stored| stored.last_mut()) {
                    stored.appointment.revision += 1;
                }
            }
            Flaw::Refuses => {
                let claim = committed.revision.claims.first();
                return Err(CommitError::ClaimTaken(claim.map(|held| held.key.clone()).unwrap_or_default()));
            }
            Flaw::LosesWakes => drop(self.wakes.remove(&id)),
            _ => {}
        }
        Ok(committed)
    }

    fn commit(&mut self, change: &Change) -> Result<Committed, CommitError> {
        let settled = self.model.settle(&change.places(), change.revision.updated_at);
        let revision = self.model.commit(change)?;
        let choice = settled?.choice;
        let appointment = &revision.appointment;
        let (id, number) = (appointment.id, appointment.revision);
        self.wakes.remove(&id);
        if let Some(wake) = &appointment.wake {
            let due = DueWake { appointment: id, revision: number, wake: wake.clone(), failed: 0 };
            self.wakes.insert(id, (wake.at, due));
        }
        self.order.push((id, number));
        let pending = |event| Pending { event, attempts: Attempts::default() };
        self.outbox.extend(change.events.iter().cloned().map(pending));
        if !change.events.is_empty() {
            self.written.notify_one();
        }
        Ok(Committed { revision: Arc::new(revision), choice })
    }

    fn page(&self, query: &Query) -> Page {
        let is_after = |item: &Revision| {
            query.after.as_ref().is_none_or(|after| match query.order {
                Order::Ascending => Position::of(item) > *after,
                Order::Descending => Position::of(item) < *after,
            })
        };
        let mut items: Vec<Revision> = self.model.list(query).into_iter().filter(is_after).collect();
        let is_more = items.len() > query.limit;
        items.truncate(query.limit);
        Page { next: items.last().filter(|_| is_more).map(Position::of), items }
    }

    fn pending(&self) -> impl Iterator<Item = &Pending> {
        let mut seen = HashSet::new();
        self.outbox.iter().filter(move |pending| seen.insert(pending.event.subject))
    }
}

/// Every call lets other tasks run first, so that what was read may be old when it is used.
#[async_trait]
impl Ledger for MapLedger {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        yield_now().await;
        self.maps(change.revision.country, |maps| match self.flaw {
            Some(flaw) => maps.commit_with(flaw, &change),
            None => maps.commit(&change),
        })
    }

    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.model.latest(id).cloned()).map(Arc::new))
    }

    async fn revision(&self, country: CountryCode, id: Uuid, revision: u32) -> Result<Option<Revision>, Unavailable> {
        let stored = self.history(country, id, 0, usize::MAX).await?;
        Ok(stored.into_iter().find(|stored| stored.appointment.revision == revision))
    }

    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable> {
        yield_now().await;
        let stored = self.maps(country, |maps| maps.model.histories.get(&id).cloned()).unwrap_or_default();
        Ok(stored.into_iter().filter(|stored| stored.appointment.revision > after).take(limit).collect())
    }

    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.page(query)))
    }

    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.model.receipt(key, now)))
    }

    async fn taken(&self, country: CountryCode, claims: &[Claim], now: Timestamp) -> Result<Taken, Unavailable> {
        yield_now().await;
        let of = |maps: &mut Maps| {
            let holders = |claim: &Claim| (claim.key.clone(), maps.model.holders(&claim.key, now).collect::<Vec<_>>());
            claims.iter().map(holders).filter(|(_, holders)| !holders.is_empty()).collect()
        };
        Ok(self.maps(country, of))
    }

    async fn put_hold(&self, new: NewHold) -> Result<Hold, CommitError> {
        yield_now().await;
        self.maps(new.hold.slot.country, |maps| {
            let hold = maps.model.put_hold(&new)?;
            if self.flaw == Some(Flaw::HoldsForEver) {
                let places = maps.model.claims.values_mut().filter(|holder| holder.id == hold.id);
                places.for_each(|holder| holder.until = None);
            }
            Ok(hold)
        })
    }

    async fn hold(&self, country: CountryCode, id: Uuid) -> Result<Option<Hold>, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.model.holds.get(&id).cloned()))
    }

    async fn drop_hold(&self, hold: &Hold) -> Result<(), Unavailable> {
        yield_now().await;
        self.maps(hold.slot.country, |maps| maps.model.drop_hold(hold.id));
        Ok(())
    }

    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable> {
        Ok(self.maps(country, |maps| maps.notified.contains(&id)))
    }

    async fn mark_notified(&self, country: CountryCode, id: Uuid, _: Timestamp) -> Result<(), Unavailable> {
        self.maps(country, |maps| maps.notified.insert(id));
        Ok(())
    }

    async fn ready(&self, _: CountryCode) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl PrivacyRequests for MapLedger {
    async fn put_privacy_request(&self, request: PrivacyRequest) -> Result<(), PrivacyError> {
        self.maps(request.country, |maps| {
            let before = maps.privacy_requests.get(&request.id).map_or(0, PrivacyRequest::revision);
            if before + 1 != request.revision() {
                return Err(PrivacyError::Stale);
            }
            maps.privacy_requests.insert(request.id, request);
            Ok(())
        })
    }

    async fn privacy_request(&self, country: CountryCode, id: Uuid) -> Result<Option<PrivacyRequest>, Unavailable> {
        Ok(self.maps(country, |maps| maps.privacy_requests.get(&id).cloned()))
    }

    async fn privacy_requests(
        &self,
        country: CountryCode,
        query: &PrivacyQuery,
    ) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let matching = |maps: &mut Maps| -> Vec<_> {
            maps.privacy_requests.values().filter(|request| query.matches(request)).cloned().collect()
        };
        let mut found = self.maps(country, matching);
        found.sort_by_key(PrivacyRequest::position);
        found.truncate(query.limit);
        Ok(found)
    }
}

#[async_trait]
impl Agendas for MapLedger {
    async fn put_agenda(&self, revision: AgendaRevision) -> Result<(), AgendaError> {
        yield_now().await;
        if self.flaw == Some(Flaw::ForgetsAgendas) {
            return Ok(());
        }
        self.maps(revision.country, |maps| {
            maps.model.put_agenda(revision)?;
            maps.agenda_stamp += 1;
            Ok(())
        })
    }

    async fn agenda(&self, country: CountryCode, doctor: &str) -> Result<Option<AgendaRevision>, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.model.agendas.get(doctor)?.last().cloned()))
    }

    async fn agenda_history(
        &self,
        country: CountryCode,
        doctor: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        yield_now().await;
        let stored = self.maps(country, |maps| maps.model.agendas.get(doctor).cloned()).unwrap_or_default();
        Ok(stored.into_iter().filter(|stored| stored.revision > after).take(limit).collect())
    }

    async fn agendas(
        &self,
        country: CountryCode,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        yield_now().await;
        let after = after.unwrap_or_default();
        Ok(self.maps(country, |maps| {
            let later = maps.model.agendas.iter().filter(|(doctor, _)| doctor.as_str() > after);
            later.filter_map(|(_, stored)| stored.last().cloned()).take(limit).collect()
        }))
    }

    async fn agenda_stamp(&self, country: CountryCode) -> Result<u64, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| maps.agenda_stamp))
    }
}

#[async_trait]
impl Wakes for MapLedger {
    async fn due(&self, country: CountryCode, now: Timestamp, limit: usize) -> Result<Vec<DueWake>, Unavailable> {
        yield_now().await;
        Ok(self.maps(country, |maps| {
            let mut due: Vec<_> = maps.wakes.values().filter(|(at, _)| *at <= now).collect();
            due.sort_by_key(|(at, due)| (*at, due.appointment));
            due.into_iter().take(limit).map(|(_, due)| due.clone()).collect()
        }))
    }

    async fn postpone(&self, country: CountryCode, due: &DueWake, until: Timestamp) -> Result<(), Unavailable> {
        self.maps(country, |maps| {
            if let Some(entry) =
                maps.wakes.get_mut(&due.appointment).filter(|(_, known)| known.revision == due.revision)
            {
                *entry = (until, due.clone());
            }
        });
        Ok(())
    }

    async fn end(&self, country: CountryCode, due: &DueWake) -> Result<(), Unavailable> {
        self.maps(country, |maps| {
            if maps.wakes.get(&due.appointment).is_some_and(|(_, known)| known.revision == due.revision) {
                maps.wakes.remove(&due.appointment);
            }
        });
        Ok(())
    }
}

#[async_trait]
impl Outbox for MapLedger {
    async fn pending(&self, country: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable> {
        Ok(self.maps(country, |maps| maps.pending().take(limit).cloned().collect()))
    }

    async fn remove(&self, country: CountryCode, events: &[Uuid]) -> Result<(), Unavailable> {
        self.maps(country, |maps| maps.outbox.retain(|pending| !events.contains(&pending.event.id)));
        Ok(())
    }

    async fn postpone(&self, country: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable> {
        let known: HashMap<Uuid, Attempts> = events.iter().copied().collect();
        self.maps(country, |maps| {
            for pending in &mut maps.outbox {
                pending.attempts = known.get(&pending.event.id).copied().unwrap_or(pending.attempts);
            }
        });
        Ok(())
    }

    async fn changed(&self, country: CountryCode) {
        let written = self.maps(country, |maps| maps.written.clone());
        written.notified().await;
    }
}

#[expect(clippy::unused_async, reason = "other adapters' wait for a server")]
mod contract {
    use super::*;
    use crate::ledger_contract::{ledger_contract, outbox_contract, wakes_contract};

    async fn ledger() -> (Arc<dyn Ledger>, ()) {
        (Arc::new(MapLedger::default()), ())
    }

    async fn ports() -> ((Arc<dyn Ledger>, Arc<dyn Outbox>), ()) {
        let ledger = Arc::new(MapLedger::default());
        ((ledger.clone(), ledger), ())
    }

    async fn wakes() -> ((Arc<dyn Ledger>, Arc<dyn Wakes>), ()) {
        let ledger = Arc::new(MapLedger::default());
        ((ledger.clone(), ledger), ())
    }

    ledger_contract!(ledger);
    outbox_contract!(ports);
    wakes_contract!(wakes);
}
