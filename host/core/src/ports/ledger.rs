//! Port to the store of appointments.
//!
//! One contract suite checks every adapter. A claim is a key with a number of places, each with one holder. A change is one
//! transaction.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::agendas::{AgendaCondition, Agendas};
use super::patient_links::PatientLinks;
use super::places::{PlaceRequest, Settled};
use super::privacy_requests::PrivacyRequests;
use crate::model::{Choice, Claim, CountryCode, Event, HeldClaim, Hold, Phase, Revision, Wake};

/// Outcome of the request that used an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Digest of the caller, the country, the target and the key.
    pub key: String,
    /// Digest of the request that carried the key.
    pub fingerprint: String,
    /// Appointment that the request created or changed.
    pub appointment: Uuid,
    /// Revision that the request created.
    pub revision: u32,
    /// Time from which the key counts as unused.
    pub expires_at: Timestamp,
}

/// A change of one appointment. It is stored completely or not at all.
#[derive(Clone, Debug)]
pub struct Change {
    /// New revision, without its claims and the attributes of its choice. It is stored only if the appointment's latest
    /// revision is the one before it; revision 1 only if the appointment does not exist.
    pub revision: Revision,
    /// Claims of the appointment from now on, each key once.
    pub claims: Vec<Claim>,
    /// Alternatives, of which the appointment takes one; empty if there is nothing to choose.
    pub choices: Vec<Choice>,
    /// Claims that the appointment holds before the change.
    pub held: Vec<HeldClaim>,
    /// Live hold whose places pass to the appointment. It ends with the change.
    pub hold: Option<Hold>,
    /// Receipt to store. The change is stored only if every receipt with this key has expired by the revision's
    /// `updated_at`.
    pub receipt: Option<Receipt>,
    /// Agenda that the decision has seen. The change is stored only if it is still at that revision.
    pub agenda: Option<AgendaCondition>,
    /// Events for the outbox.
    pub events: Vec<Event>,
}

/// A stored change.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision, with its claims and the attributes of its choice.
    pub revision: Arc<Revision>,
    /// Index of the choice, if there is one.
    pub choice: Option<usize>,
}

impl Change {
    /// Returns the places that the change asks for. Those of the appointment come before those of the hold.
    pub fn places(&self) -> PlaceRequest<'_> {
        let of_hold = self.hold.iter().flat_map(|hold| &hold.claims);
        PlaceRequest { claims: &self.claims, choices: &self.choices, held: self.held.iter().chain(of_hold).collect() }
    }

    /// Returns the places to take: those of `settled` that the appointment does not hold.
    pub fn take<'a>(&self, settled: &'a Settled) -> impl Iterator<Item = &'a HeldClaim> {
        settled.claims.iter().filter(|claim| !self.held.contains(claim))
    }

    /// Returns the places to release: those that the appointment holds and that `settled` does not have.
    pub fn release(&self, settled: &Settled) -> impl Iterator<Item = &HeldClaim> {
        self.held.iter().filter(|claim| !settled.claims.contains(claim))
    }

    /// Returns the places of the hold that end with it: those that `settled` does not have.
    pub fn unused(&self, settled: &Settled) -> impl Iterator<Item = &HeldClaim> {
        let of_hold = self.hold.iter().flat_map(|hold| &hold.claims);
        of_hold.filter(|claim| !settled.claims.contains(claim) && !self.held.contains(claim))
    }

    /// Returns the revision with these places and the attributes of the choice. Personal attributes come last, as in a
    /// revision that is read back.
    pub fn revision_with(&self, settled: &Settled) -> Revision {
        let mut revision = self.revision.clone();
        revision.claims.clone_from(&settled.claims);
        if let Some(choice) = settled.choice {
            revision.appointment.set(&self.choices[choice].attributes);
        }
        let Revision { appointment, personal, .. } = &mut revision;
        appointment.attributes.sort_by_key(|attribute| personal.contains(&attribute.path));
        revision
    }
}

/// A hold to be stored. It is stored completely or not at all.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The hold, without its claims.
    pub hold: Hold,
    /// Claims of the hold, each key once.
    pub claims: Vec<Claim>,
    /// Alternatives, of which the hold takes one; empty if there is nothing to choose.
    pub choices: Vec<Choice>,
    /// Receipt to store, of the hold's id and revision 0. The hold is stored only if every receipt with this key has
    /// expired by the hold's `made_at`.
    pub receipt: Option<Receipt>,
}

impl NewHold {
    /// Returns the places that the hold asks for.
    pub fn places(&self) -> PlaceRequest<'_> {
        PlaceRequest { claims: &self.claims, choices: &self.choices, held: Vec::new() }
    }

    /// Returns the hold with these places.
    pub fn with(&self, settled: Settled) -> Hold {
        Hold { claims: settled.claims, ..self.hold.clone() }
    }
}

/// Reasons for which a change or a hold is not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Others hold every place of this claim.
    #[error("the claim `{0}` is taken")]
    ClaimTaken(String),
    /// The appointment has changed since it was read.
    #[error("the appointment has changed since")]
    Stale,
    /// The agenda of the doctor has changed since it was read.
    #[error("the agenda of the doctor has changed since")]
    AgendaChanged,
    /// An unexpired receipt with the same key exists.
    #[error("the idempotency key is used")]
    KeyUsed,
    /// The ledger is not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Error for a ledger that does not respond. As far as the adapter could find out, the change was not stored.
#[derive(Debug, thiserror::Error)]
#[error("the ledger of {country} does not answer: {cause}")]
pub struct Unavailable {
    /// Country of the ledger.
    pub country: CountryCode,
    /// Cause, for the log.
    pub cause: String,
}

/// Position in a list: the key of the last item of a page. Positions sort by the start, and those without one last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Start of the item. An item without a start sorts last.
    pub starts_at: Option<Timestamp>,
    /// Id of the item.
    pub id: Uuid,
}

/// Order of a list by the position of its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The earliest start first.
    #[default]
    Ascending,
    /// The latest start first, after the appointments without a start.
    Descending,
}

/// Filter of a list by the owner of an appointment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnerFilter {
    /// Any owner, or none.
    #[default]
    Any,
    /// The account with this subject.
    Account(String),
    /// No owner: who booked the appointment is verified.
    Nobody,
}

impl From<Option<String>> for OwnerFilter {
    /// Returns the filter for the appointments of this owner, or for those without one.
    fn from(owner: Option<String>) -> Self {
        owner.map_or(Self::Nobody, Self::Account)
    }
}

/// Filters and order of a list. An appointment must match every filter that is set.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Owner of the appointment.
    pub owner: OwnerFilter,
    /// Opaque id of the patient.
    pub person: Option<Uuid>,
    /// The country's key for the doctor.
    pub doctor: Option<String>,
    /// The country's key for the hospital.
    pub hospital: Option<String>,
    /// Earliest start, included. Appointments without a start do not match.
    pub from: Option<Timestamp>,
    /// Latest start, excluded. Appointments without a start do not match.
    pub to: Option<Timestamp>,
    /// Day of the start, by the clocks of the appointment's own zone. Appointments without a start do not match. The
    /// caller narrows `from` and `to` to the day, so that an adapter reads little more than its appointments.
    pub date: Option<Date>,
    /// Phases of which the appointment has one; any phase if there are none.
    pub phases: Vec<Phase>,
    /// Order of the items.
    pub order: Order,
    /// Position after which the page begins. Its item need not exist any more.
    pub after: Option<Position>,
    /// Maximum number of items.
    pub limit: usize,
}

impl Position {
    /// Returns the position of an appointment in a list.
    pub fn of(revision: &Revision) -> Self {
        Self { starts_at: revision.appointment.starts_at, id: revision.appointment.id }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |position: &Self| (position.starts_at.is_none(), position.starts_at, position.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Query {
    /// Returns the filters by one key that are set, each with its name, the most selective first. [`OwnerFilter::Nobody`] has
    /// no key.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let owner = if let OwnerFilter::Account(subject) = &self.owner { Some(subject.clone()) } else { None };
        let filters = [
            ("owner", owner),
            ("person", self.person.map(|person| person.to_string())),
            ("doctor", self.doctor.clone()),
            ("hospital", self.hospital.clone()),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A page of appointments, in the order of the query.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Latest revision of each appointment.
    pub items: Vec<Revision>,
    /// Position after which the next page begins; `None` on the last page.
    pub next: Option<Position>,
}

/// Places that live appointments and holds have, with the ids of their holders, by the claim's key.
pub type Taken = HashMap<String, Vec<(u16, Uuid)>>;

/// Stores the appointments of every country, separately for each country.
///
/// An adapter MUST
/// - store a [`Change`] completely or not at all, check every condition in the same transaction, and return `Ok` only
///   when the change survives the loss of the process;
/// - report the first of [`CommitError::KeyUsed`], [`CommitError::Stale`], [`CommitError::AgendaChanged`] and
///   [`CommitError::ClaimTaken`] if several conditions fail;
/// - store a [`NewHold`] likewise. A place of a hold is taken for everybody else before its `expires_at`, and free from that
///   instant on, whether or not anything has deleted it. The instant of a change is its revision's `updated_at`, and that of
///   a hold its `made_at`;
/// - pass the places of a change's hold to the appointment and delete the hold in the same transaction. A place that another
///   has taken meanwhile is [`CommitError::ClaimTaken`];
/// - show a stored change to every read that starts after its acknowledgement; only a page may be some seconds behind,
///   if it comes from an index that is;
/// - keep each revision for ever, as it was written, with its personal part in a row of its own;
/// - number the revisions of a country in the order of their commits.
#[async_trait]
pub trait Ledger: Agendas + PatientLinks + PrivacyRequests + Send + Sync {
    /// Stores a change. The request's [time limit](crate::ports::deadline) MUST NOT apply from the moment when the
    /// change may be stored.
    async fn commit(&self, change: Change) -> Result<Committed, CommitError>;

    /// Returns the latest revision of an appointment.
    async fn appointment(&self, country: CountryCode, id: Uuid) -> Result<Option<Arc<Revision>>, Unavailable>;

    /// Returns one revision of an appointment, as it was written.
    async fn revision(&self, country: CountryCode, id: Uuid, revision: u32) -> Result<Option<Revision>, Unavailable>;

    /// Returns at most `limit` revisions after the number `after`, the oldest first; empty if there are none.
    async fn history(
        &self,
        country: CountryCode,
        id: Uuid,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Revision>, Unavailable>;

    /// Returns a page of the appointments that match the query.
    async fn page(&self, country: CountryCode, query: &Query) -> Result<Page, Unavailable>;

    /// Returns the receipt of a key, unless it has expired by `now`.
    async fn receipt(&self, country: CountryCode, key: &str, now: Timestamp) -> Result<Option<Receipt>, Unavailable>;

    /// Returns the places of these claims that live appointments, and holds that are live at `now`, have. Keys of which no
    /// place is taken are missing. The claims of one resource MUST be one read, from the first to the last of their
    /// minutes: a search for free slots asks for all of a month.
    async fn taken(&self, country: CountryCode, claims: &[Claim], now: Timestamp) -> Result<Taken, Unavailable>;

    /// Stores a hold, and returns it with its places. The request's time limit MUST NOT apply, as in [`Ledger::commit`].
    async fn put_hold(&self, new: NewHold) -> Result<Hold, CommitError>;

    /// Returns a hold until a change or [`Ledger::drop_hold`] ends it. One that has expired is kept for a day.
    async fn hold(&self, country: CountryCode, id: Uuid) -> Result<Option<Hold>, Unavailable>;

    /// Deletes a hold and frees the places that it still has. A hold that does not exist is not an error.
    async fn drop_hold(&self, hold: &Hold) -> Result<(), Unavailable>;

    /// Returns true if the notices of the event with this id, or the one notice with this id, were sent.
    async fn notified(&self, country: CountryCode, id: Uuid) -> Result<bool, Unavailable>;

    /// Records at `now` that the notices of an event, or one notice, were sent. A second record is not an error.
    async fn mark_notified(&self, country: CountryCode, id: Uuid, now: Timestamp) -> Result<(), Unavailable>;

    /// Checks that the ledger can store something now, and can read something that it has stored.
    async fn ready(&self, country: CountryCode) -> Result<(), Unavailable>;
}

/// Failed attempts to publish an event, counted across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Number of failed attempts.
    pub failed: u32,
    /// Time spent on attempts: from the moment when a process first saw the event to its last attempt, added up over
    /// all processes. Adapters keep milliseconds.
    pub tried_for: Duration,
}

/// A scheduled action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueWake {
    /// Id of the appointment.
    pub appointment: Uuid,
    /// Revision that scheduled the action. A later revision replaces it.
    pub revision: u32,
    /// The action and its time.
    pub wake: Wake,
    /// Number of failed attempts so far.
    pub failed: u32,
}

/// Finds the scheduled actions that are due.
///
/// An adapter MUST return an action repeatedly until a later revision of its appointment is stored, or the action is
/// postponed or ended.
#[async_trait]
pub trait Wakes: Send + Sync {
    /// Returns actions that are due at `now`, the oldest first, at most `limit`.
    async fn due(&self, country: CountryCode, now: Timestamp, limit: usize) -> Result<Vec<DueWake>, Unavailable>;

    /// Makes an action due again at `until`, with its number of failed attempts. Does nothing if a later revision is
    /// stored.
    async fn postpone(&self, country: CountryCode, due: &DueWake, until: Timestamp) -> Result<(), Unavailable>;

    /// Ends an action without a revision. Does nothing if a later revision is stored.
    async fn end(&self, country: CountryCode, due: &DueWake) -> Result<(), Unavailable>;
}

/// An event that waits in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Event to publish.
    pub event: Event,
    /// Attempts to publish the event so far.
    pub attempts: Attempts,
}

/// Reads and removes the events of an outbox that must be polled. A ledger with a stream of its own changes needs no
/// such adapter.
///
/// An adapter MUST return an event again and again until it is removed. It MUST return the events of one appointment
/// one at a time, in the order of its revisions: a later event appears only when the earlier ones are removed. The
/// attempts that [`Outbox::postpone`] records MUST survive a restart.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Returns the first event of each appointment that has any, the oldest first, at most `limit`.
    async fn pending(&self, country: CountryCode, limit: usize) -> Result<Vec<Pending>, Unavailable>;

    /// Removes events that were published or given up.
    async fn remove(&self, country: CountryCode, events: &[Uuid]) -> Result<(), Unavailable>;

    /// Records the attempts made so far on events that stay. An event that does not exist is not an error.
    async fn postpone(&self, country: CountryCode, events: &[(Uuid, Attempts)]) -> Result<(), Unavailable>;

    /// Waits until the country's outbox has received an event since the last wait.
    async fn changed(&self, country: CountryCode);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;
    use crate::model::{Field, Value};
    use crate::testing::revision;

    fn change(claims: &[(&str, u16)], held: &[(&str, u16)]) -> Change {
        let claims = claims.iter().map(|(key, places)| Claim { places: *places, ..Claim::new(*key) });
        let held = held.iter().map(|(key, ordinal)| HeldClaim { key: (*key).into(), ordinal: *ordinal });
        Change {
            revision: revision(Uuid::nil()),
            claims: claims.collect(),
            choices: Vec::new(),
            held: held.collect(),
            hold: None,
            receipt: None,
            agenda: None,
            events: Vec::new(),
        }
    }

    fn room(name: &str) -> Choice {
        let attribute = Field { path: "/room".into(), value: Value::Text(name.into()) };
        Choice { claims: vec![Claim::new(format!("room/{name}"))], attributes: vec![attribute] }
    }

    /// Index of the choice, and the key and the place of each claim.
    type Places = (Option<usize>, Vec<(String, u16)>);

    fn settled(change: &Change, taken: &[(&str, u16)]) -> Result<Places, String> {
        let of = |claim: &Claim| {
            let of_key = taken.iter().filter(|(key, _)| *key == claim.key).map(|(_, ordinal)| *ordinal);
            Ok::<_, Infallible>(of_key.collect())
        };
        let Ok(settled) = change.places().settle(of);
        settled.map(|Settled { choice, claims }| {
            (choice, claims.into_iter().map(|held| (held.key, held.ordinal)).collect())
        })
    }

    #[test]
    fn a_claim_gets_the_lowest_free_place() {
        let change = change(&[("session", 3)], &[]);
        let place = |taken: &[u16]| {
            let taken: Vec<_> = taken.iter().map(|ordinal| ("session", *ordinal)).collect();
            settled(&change, &taken).map(|(_, claims)| claims[0].1)
        };
        assert_eq!(place(&[]), Ok(0));
        assert_eq!(place(&[0, 2]), Ok(1));
        assert_eq!(place(&[0, 1]), Ok(2));
        assert_eq!(place(&[0, 1, 2]), Err("session".to_owned()));
        assert_eq!(place(&[5, 6, 7, 8]), Ok(0), "places beyond the limit of this one are no obstacle");
    }

    #[test]
    fn a_place_that_is_held_stays_whatever_the_limit_is_now() {
        let held = change(&[("session", 2)], &[("session", 7)]);
        assert_eq!(settled(&held, &[("session", 0), ("session", 1)]), Ok((None, vec![("session".into(), 7)])));
        assert_eq!(held.places().plain(), Some(Settled { choice: None, claims: held.held.clone() }));
        assert_eq!(change(&[("session", 2)], &[]).places().plain(), None);
    }

    #[test]
    fn the_first_choice_that_is_wholly_free_is_taken_and_one_that_is_held_stays() {
        let mut change = change(&[("patient", 1)], &[]);
        change.choices = ["1", "2", "3"].map(room).into();
        assert_eq!(settled(&change, &[]).unwrap().0, Some(0));
        let taken = [("room/1", 0)];
        let (choice, claims) = settled(&change, &taken).unwrap();
        assert_eq!((choice, claims[1].0.as_str()), (Some(1), "room/2"));
        change.held = vec![HeldClaim { key: "room/3".into(), ordinal: 0 }];
        assert_eq!(settled(&change, &[]).unwrap().0, Some(2));
        let all = [("room/1", 0), ("room/2", 0), ("room/3", 0)];
        change.held.clear();
        assert_eq!(settled(&change, &all), Err("room/1".to_owned()));
        assert_eq!(settled(&change, &[("patient", 0)]), Err("patient".to_owned()));
        assert_eq!(change.places().plain(), None);
    }

    #[test]
    fn a_stored_choice_sets_its_attributes() {
        let mut change = change(&[], &[]);
        change.choices = ["1", "2"].map(room).into();
        let settled = change.places().settle(|_| Ok::<_, Infallible>(BTreeSet::new())).unwrap().unwrap();
        let stored = change.revision_with(&settled);
        assert_eq!(stored.appointment.attributes, change.choices[0].attributes);
        assert_eq!(stored.claims, settled.claims);
    }
}
