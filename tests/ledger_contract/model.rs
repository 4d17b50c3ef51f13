//! Random changes to the ledger and to a model in memory that is too simple to be wrong. The two must agree.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use citas_core::model::{AgendaRevision, Choice, Claim, HeldClaim, Hold, Phase, Revision, Slot};
use citas_core::ports::{
    AgendaCondition, AgendaError, Change, CommitError, Committed, Ledger, NewHold, Order, OwnerFilter, PlaceRequest,
    Query, Receipt, Settled, Taken,
};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::pages::walk;
use crate::support::appointments::*;
use crate::support::chance::Chance;

const STEPS: usize = 400;
const APPOINTMENTS: usize = 24;
const CLAIMS: usize = 16;
const ROOMS: usize = 3;
const KEYS: usize = 8;

/// A country's appointments, holds, claims, receipts and agendas in plain maps.
#[derive(Default)]
pub struct Model {
    pub histories: HashMap<Uuid, Vec<Revision>>,
    /// Holders of places, by the claim's key and the place.
    pub claims: BTreeMap<(String, u16), Holder>,
    pub holds: HashMap<Uuid, Hold>,
    receipts: HashMap<String, Receipt>,
    /// Revisions of agendas by doctor, each at the place of its number less one.
    pub agendas: BTreeMap<String, Vec<AgendaRevision>>,
}

/// An appointment that has a place, or a hold that has it until an instant.
#[derive(Clone, Copy)]
pub struct Holder {
    pub id: Uuid,
    pub until: Option<Timestamp>,
}

impl Model {
    pub fn put_agenda(&mut self, revision: AgendaRevision) -> Result<(), AgendaError> {
        let stored = self.agendas.entry(revision.doctor.clone()).or_default();
        if usize::try_from(revision.revision).unwrap() != stored.len() + 1 {
            return Err(AgendaError::Stale);
        }
        stored.push(revision);
        Ok(())
    }

    pub fn commit(&mut self, change: &Change) -> Result<Revision, CommitError> {
        let revision = &change.revision;
        let (id, now) = (revision.appointment.id, revision.updated_at);
        self.use_key(change.receipt.as_ref(), now)?;
        let known = self.histories.get(&id).map_or(0, Vec::len);
        if usize::try_from(revision.appointment.revision).unwrap() != known + 1 {
            return Err(CommitError::Stale);
        }
        let is_changed = |seen: &AgendaCondition| {
            self.agendas.get(&seen.doctor).map_or(0, Vec::len) != usize::try_from(seen.revision).unwrap()
        };
        if change.agenda.as_ref().is_some_and(is_changed) {
            return Err(CommitError::AgendaChanged);
        }
        let settled = self.settle(&change.places(), now)?;
        let hold = change.hold.as_ref().map(|hold| hold.id);
        let is_taken = |held: &&HeldClaim| {
            self.holders(&held.key, now).any(|(ordinal, holder)| ordinal == held.ordinal && Some(holder) != hold)
        };
        if let Some(taken) = change.take(&settled).find(is_taken) {
            return Err(CommitError::ClaimTaken(taken.key.clone()));
        }
        let stored = change.revision_with(&settled);
        self.claims.retain(|_, holder| holder.id != id);
        if let Some(hold) = hold {
            self.drop_hold(hold);
        }
        self.take(&stored.claims, Holder { id, until: None });
        self.receipts.extend(change.receipt.iter().map(|receipt| (receipt.key.clone(), receipt.clone())));
        self.histories.entry(id).or_default().push(stored.clone());
        Ok(stored)
    }

    pub fn put_hold(&mut self, new: &NewHold) -> Result<Hold, CommitError> {
        let now = new.hold.made_at;
        self.use_key(new.receipt.as_ref(), now)?;
        let hold = new.with(self.settle(&new.places(), now)?);
        self.take(&hold.claims, Holder { id: hold.id, until: Some(hold.expires_at) });
        self.receipts.extend(new.receipt.iter().map(|receipt| (receipt.key.clone(), receipt.clone())));
        self.holds.insert(hold.id, hold.clone());
        Ok(hold)
    }

    pub fn drop_hold(&mut self, id: Uuid) {
        self.holds.remove(&id);
        self.claims.retain(|_, holder| holder.id != id);
    }

    fn use_key(&self, receipt: Option<&Receipt>, now: Timestamp) -> Result<(), CommitError> {
        let used = receipt.and_then(|receipt| self.receipt(&receipt.key, now));
        if used.is_some() { Err(CommitError::KeyUsed) } else { Ok(()) }
    }

    fn take(&mut self, places: &[HeldClaim], holder: Holder) {
        self.claims.extend(places.iter().map(|held| ((held.key.clone(), held.ordinal), holder)));
    }

    /// Returns the places that a request gets.
    pub fn settle(&self, request: &PlaceRequest<'_>, now: Timestamp) -> Result<Settled, CommitError> {
        let Ok(settled) = request.settle(|claim| Ok::<_, Infallible>(self.places(&claim.key, now).collect()));
        settled.map_err(CommitError::ClaimTaken)
    }

    /// Returns the places of a claim that are taken at this time, with their holders.
    pub fn holders(&self, key: &str, now: Timestamp) -> impl Iterator<Item = (u16, Uuid)> {
        let places = self.claims.range((key.to_owned(), 0)..=(key.to_owned(), u16::MAX));
        let live = places.filter(move |(_, holder)| holder.until.is_none_or(|until| now < until));
        live.map(|((_, ordinal), holder)| (*ordinal, holder.id))
    }

    /// Returns the places of a claim that are taken.
    fn places(&self, key: &str, now: Timestamp) -> impl Iterator<Item = u16> {
        self.holders(key, now).map(|(ordinal, _)| ordinal)
    }

    pub fn taken(&self) -> Taken {
        let mut taken = Taken::new();
        for ((key, ordinal), holder) in &self.claims {
            taken.entry(key.clone()).or_default().push((*ordinal, holder.id));
        }
        taken
    }

    pub fn receipt(&self, key: &str, now: Timestamp) -> Option<Receipt> {
        self.receipts.get(key).filter(|receipt| receipt.expires_at > now).cloned()
    }

    pub fn latest(&self, id: Uuid) -> Option<&Revision> {
        self.histories.get(&id)?.last()
    }

    /// Returns every appointment that matches, in the order of the query.
    pub fn list(&self, query: &Query) -> Vec<Revision> {
        let given = |filter: &Option<String>, value: Option<&String>| filter.is_none() || filter.as_ref() == value;
        let meets = |item: &Revision| {
            let (appointment, start) = (&item.appointment, item.appointment.starts_at);
            (query.owner == OwnerFilter::Any || query.owner == OwnerFilter::from(item.owner.clone()))
                && query.person.is_none_or(|person| person == item.person)
                && given(&query.doctor, appointment.doctor.as_ref())
                && given(&query.hospital, appointment.hospital.as_ref())
                && (query.phases.is_empty() || query.phases.contains(&appointment.phase))
                && query.date.is_none_or(|date| day_of(item) == Some(date))
                && query.from.is_none_or(|from| start.is_some_and(|start| start >= from))
                && query.to.is_none_or(|to| start.is_some_and(|start| start < to))
        };
        let latest = self.histories.values().filter_map(|history| history.last());
        let mut items: Vec<Revision> = latest.filter(|item| meets(item)).cloned().collect();
        items.sort_by_key(|item| {
            let start = item.appointment.starts_at;
            (start.is_none(), start, item.appointment.id)
        });
        if query.order == Order::Descending {
            items.reverse();
        }
        items
    }
}

fn day_of(item: &Revision) -> Option<Date> {
    item.appointment.slot.as_ref().map(|slot| slot.start.date())
}

pub async fn random_changes_agree_with_a_model(ledger: Arc<dyn Ledger>) {
    for seed in 1..=3 {
        // Each round has its own ids, claims and keys.
        let mut round = Round { seed, chance: Chance::seeded(seed), now: now(), model: Model::default() };
        let mut refused = HashSet::new();
        for step in 0..STEPS {
            round.now += minutes(round.chance.below(3));
            let change = round.change();
            let (stored, expected) = (ledger.commit(change.clone()).await, round.model.commit(&change));
            assert_agree(&change, &stored, &expected, &round.model, step);
            refused.extend(expected.err().map(|error| std::mem::discriminant(&error)));
            round.check_reads(&*ledger, &change).await;
            if step % 20 == 0 {
                round.check_list(&*ledger).await;
            }
        }
        assert_eq!(refused.len(), 3, "every reason has come up");
    }
}

fn assert_agree(
    change: &Change,
    stored: &Result<Committed, CommitError>,
    expected: &Result<Revision, CommitError>,
    model: &Model,
    step: usize,
) {
    let agree = match (stored, expected) {
        (Ok(stored), Ok(expected)) => *stored.revision == *expected,
        (Err(CommitError::KeyUsed), Err(CommitError::KeyUsed)) | (Err(CommitError::Stale), Err(CommitError::Stale)) => {
            true
        }
        (Err(CommitError::ClaimTaken(claim)), Err(CommitError::ClaimTaken(_))) => {
            let wanted = change.places().wanted().find(|wanted| wanted.key == *claim);
            wanted.is_some_and(|wanted| {
                model.places(claim, change.revision.updated_at).filter(|ordinal| *ordinal < wanted.places).count()
                    == usize::from(wanted.places)
            })
        }
        _ => false,
    };
    assert!(agree, "step {step}: {stored:?}, and the model {expected:?}, of {change:?}");
}

struct Round {
    seed: u64,
    chance: Chance,
    now: Timestamp,
    model: Model,
}

impl Round {
    /// Returns a booking, a move or a cancellation, sometimes of a revision that is no longer the latest.
    fn change(&mut self) -> Change {
        let number = self.chance.below(APPOINTMENTS);
        let id = self.id(number);
        let before = self.before(id);
        let mut revision = before.as_ref().map_or_else(|| booked(number), after);
        revision.appointment.id = id;
        revision.updated_at = self.now;
        let held = before.map(|before| before.claims).unwrap_or_default();
        self.vary(&mut revision);
        let is_live = revision.appointment.phase.is_live();
        let claims = if is_live { self.claims() } else { Vec::new() };
        let choices = if is_live && self.chance.once_in(4) { self.rooms() } else { Vec::new() };
        // Attributes that a choice sets are personal or not, like all others.
        if !choices.is_empty() {
            revision.personal.insert("/room".to_owned());
        }
        let receipt = self.chance.once_in(3).then(|| self.receipt(&revision));
        Change { revision, claims, choices, held, hold: None, receipt, agenda: None, events: Vec::new() }
    }

    /// Returns up to three claims. Those with an even number are on time, and every third has several places.
    fn claims(&mut self) -> Vec<Claim> {
        let count = self.chance.below(4);
        let numbers: BTreeSet<usize> = (0..count).map(|_| self.chance.below(CLAIMS)).collect();
        let claim = |number: usize| Claim {
            places: if number.is_multiple_of(3) { 3 } else { 1 },
            ..Claim::new(self.key(number))
        };
        numbers.into_iter().map(claim).collect()
    }

    fn rooms(&mut self) -> Vec<Choice> {
        let room = |room: usize| Choice {
            claims: vec![Claim::new(self.room(room))],
            attributes: vec![text("/room", &room.to_string())],
        };
        (0..ROOMS).map(room).collect()
    }

    fn key(&self, number: usize) -> String {
        let resource = format!("claim {}", self.seed);
        if number.is_multiple_of(2) { quarter(&resource, number) } else { format!("{resource} {number}") }
    }

    fn room(&self, number: usize) -> String {
        format!("room {} {number}", self.seed)
    }

    fn before(&mut self, id: Uuid) -> Option<Revision> {
        let history = self.model.histories.get(&id)?;
        if self.chance.once_in(8) {
            return Some(self.chance.pick(history).clone()).filter(|_| !self.chance.once_in(3));
        }
        history.last().cloned()
    }

    fn vary(&mut self, revision: &mut Revision) {
        let chance = &mut self.chance;
        revision.appointment.phase = *chance.pick(&Phase::ALL);
        revision.appointment.starts_at = (!chance.once_in(5)).then(|| now() + minutes(chance.below(20)));
        // Somewhere the next day has come.
        let zone = if chance.once_in(3) { "Pacific/Kiritimati" } else { "America/Lima" };
        let local = |at: Timestamp| at.in_tz(zone).unwrap().datetime();
        revision.appointment.slot =
            revision.appointment.starts_at.map(|at| Slot { start: local(at), minutes: 30, zone: zone.into() });
        revision.owner = (!chance.once_in(4)).then(|| format!("owner {} {}", self.seed, chance.below(3)));
        revision.person = person(chance.below(3));
        revision.appointment.doctor = (!chance.once_in(4)).then(|| format!("doctor {}", chance.below(3)));
        revision.appointment.hospital =
            (!chance.once_in(4)).then(|| format!("hospital {} {}", self.seed, chance.below(2)));
        // The attributes of a room come from a choice.
        revision.appointment.attributes.retain(|attribute| attribute.path != "/room");
        revision.personal.remove("/room");
    }

    fn receipt(&mut self, revision: &Revision) -> Receipt {
        let key = format!("key {} {}", self.seed, self.chance.below(KEYS));
        let expires_at = self.now + minutes(1 + self.chance.below(10));
        Receipt { expires_at, ..receipt(&key, revision) }
    }

    async fn check_reads(&mut self, ledger: &dyn Ledger, change: &Change) {
        let id = change.revision.appointment.id;
        assert_eq!(ledger.appointment(pe(), id).await.unwrap().as_deref(), self.model.latest(id));
        let keys = (0..CLAIMS).map(|claim| self.key(claim)).chain((0..ROOMS).map(|room| self.room(room)));
        let claims: Vec<Claim> = keys.map(Claim::new).collect();
        let mut taken = ledger.taken(pe(), &claims, now()).await.unwrap();
        for places in taken.values_mut() {
            places.sort_unstable();
        }
        assert_eq!(taken, self.model.taken());
        let key = format!("key {} {}", self.seed, self.chance.below(KEYS));
        assert_eq!(ledger.receipt(pe(), &key, self.now).await.unwrap(), self.model.receipt(&key, self.now));
    }

    async fn check_list(&mut self, ledger: &dyn Ledger) {
        for number in 0..APPOINTMENTS {
            let id = self.id(number);
            let history = self.model.histories.get(&id).cloned().unwrap_or_default();
            assert_eq!(ledger.history(pe(), id, 0, 100).await.unwrap(), history);
        }
        let query = self.query();
        assert_eq!(walk(ledger, &query).await, self.model.list(&query), "{query:?}");
    }

    /// Returns a query for one owner or for a hospital, so that it finds no appointments of other rounds.
    fn query(&mut self) -> Query {
        let chance = &mut self.chance;
        let is_unowned = chance.once_in(4);
        let owner = (!is_unowned).then(|| format!("owner {} {}", self.seed, chance.below(3)));
        let is_of_hospital = is_unowned || chance.once_in(4);
        Query {
            owner: owner.into(),
            person: chance.once_in(4).then(|| person(chance.below(3))),
            doctor: chance.once_in(4).then(|| format!("doctor {}", chance.below(3))),
            hospital: is_of_hospital.then(|| format!("hospital {} {}", self.seed, chance.below(2))),
            from: chance.once_in(4).then(|| now() + minutes(chance.below(20))),
            to: chance.once_in(4).then(|| now() + minutes(chance.below(20))),
            date: chance.once_in(8).then(|| Date::constant(2026, 11, 24 + i8::try_from(chance.below(2)).unwrap())),
            phases: (0..chance.below(3)).map(|_| *chance.pick(&Phase::ALL)).collect(),
            order: if chance.once_in(2) { Order::Descending } else { Order::Ascending },
            after: None,
            limit: 1 + chance.below(5),
        }
    }

    fn id(&self, number: usize) -> Uuid {
        id(usize::try_from(self.seed).unwrap() * 1_000 + number)
    }
}
