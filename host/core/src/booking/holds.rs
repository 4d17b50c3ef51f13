//! Holds: a caller keeps a free slot for some minutes, and books it with the hold. No patient is known yet, so a hold has the
//! claims on the slot alone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::booking::alternatives::nearest;
use crate::booking::decide::RuleRequest;
use crate::booking::error::BookingError;
use crate::booking::idempotency::InUse;
use crate::booking::slots::{Candidate, Finder};
use crate::booking::{Booking, FreeSlot};
use crate::model::{Appointment, Caller, Choice, Claim, CountryCode, Hold, Offer, Place, Scope, SlotToken, Violation};
use crate::ports::{CommitError, NewHold};
use crate::rules::{HOLD, LoadedRules, Rejection, SLOT};

/// Maximum number of live holds of an account.
pub const MAX_HOLDS: u16 = 3;

/// Time for which a slot is held if the operator sets none.
pub(super) const HOLD_TIME: SignedDuration = SignedDuration::from_mins(5);

/// Number of days on each side of the day of a taken slot in which free ones are looked for.
const DAYS: i64 = 1;

/// Code of the violation of a slot that the country does not offer any more.
const NOT_OFFERED: &str = "not-offered";

/// Prefix of the claim that limits the holds of an account.
const HOLDS: &str = "hold/account/";

/// The slot that a request names.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedSlot {
    /// A free slot.
    Free(SlotToken),
    /// The slot of the hold with this id.
    Held(Uuid),
}

/// The action of a request that names a slot.
pub(super) struct OfAction<'a> {
    pub rules: &'a Arc<LoadedRules>,
    /// Appointment that the action changes.
    pub current: &'a Appointment,
    /// Members that the action's input may have.
    pub members: &'a [&'a str],
}

/// The hold that a request names.
#[derive(Clone)]
pub(super) struct NamedHold {
    pub hold: Hold,
    /// False if the hold has ended, or has lost a place.
    pub is_live: bool,
}

impl NamedHold {
    /// True if a decision with these choices lacks this claim because the hold has ended: it had the claim, or one of the
    /// choices.
    pub fn had(&self, claim: &str, choices: &[Choice]) -> bool {
        let has_claim = self.hold.claims.iter().any(|held| held.key == claim);
        let mut of_choices = choices.iter().flat_map(|choice| &choice.claims);
        has_claim || !self.is_live && of_choices.any(|of| of.key == claim)
    }
}

impl RuleRequest {
    /// Returns the hold whose places pass to the appointment.
    pub fn live_hold(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|named| named.is_live).map(|named| &named.hold)
    }

    /// Returns the request as it is after its hold has ended.
    fn after_hold(&self) -> Self {
        let ended = |named| NamedHold { is_live: false, ..named };
        Self { hold: self.hold.clone().map(ended), ..self.clone() }
    }
}

impl Booking {
    /// Sets the time for which a slot is held.
    #[must_use]
    pub fn holding_for(mut self, time: SignedDuration) -> Self {
        self.hold_time = time;
        self
    }

    /// Keeps a slot for the caller, if the country still offers it and it is free.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn hold(
        &self,
        caller: &Caller,
        country: CountryCode,
        slot: SlotToken,
        key: Option<&str>,
    ) -> Result<Hold, BookingError> {
        let (in_force, access) = self.access_control.admit(caller, country, Scope::Write)?;
        let rules = in_force.used;
        if !rules.has_openings() {
            return Err(BookingError::NoSlots);
        }
        let key = self.use_key(caller, country, "holds", &json!(slot), key)?;
        if let Some(earlier) = self.earlier_hold(country, key.as_ref()).await? {
            return Ok(earlier);
        }
        let now = self.clock.now();
        let SlotToken { doctor, hospital, request, place, .. } = &slot;
        let place =
            Place { doctor: doctor.clone(), hospital: hospital.clone(), fields: [&request[..], place].concat() };
        let finder = self.finder(&rules, rules.context(now, access.role), place, None, now).await?;
        let (finder, Offered { offer, starts_at }) = self.offered(finder, &slot).await?;
        let (limit, of_slot) =
            (self.holds_of(caller, country), offer.claims.into_iter().filter(|claim| !claim.personal));
        let limited_by = limit.key.clone();
        let id = self.decider.ids.next();
        let new = NewHold {
            hold: Hold {
                id,
                owner: caller.subject.clone(),
                slot: slot.clone(),
                starts_at,
                made_at: now,
                expires_at: now + self.hold_time,
                claims: Vec::new(),
            },
            claims: std::iter::once(limit).chain(of_slot).collect(),
            choices: offer.choices.into_iter().map(without_personal).collect(),
            receipt: key.as_ref().map(|key| key.receipt(id, 0, now)),
        };
        match self.decider.ledger.put_hold(new).await {
            Ok(hold) => Ok(hold),
            Err(CommitError::ClaimTaken(claim)) if claim == limited_by => Err(BookingError::HoldLimit),
            Err(CommitError::ClaimTaken(claim)) => Err(self.slot_taken(finder, &slot, starts_at, claim).await),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(CommitError::KeyUsed | CommitError::Stale | CommitError::AgendaChanged) => {
                self.earlier_hold(country, key.as_ref()).await?.ok_or(BookingError::InProgress)
            }
        }
    }

    /// Returns a live hold of the caller.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn held(&self, caller: &Caller, country: CountryCode, id: Uuid) -> Result<Hold, BookingError> {
        self.access_control.admit(caller, country, Scope::Write)?;
        let hold = self.own_hold(caller, country, id).await?;
        if hold.is_live(self.clock.now()) { Ok(hold) } else { Err(BookingError::UnknownHold) }
    }

    /// Ends a hold of the caller before its time.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn release(&self, caller: &Caller, country: CountryCode, id: Uuid) -> Result<(), BookingError> {
        self.access_control.admit(caller, country, Scope::Write)?;
        let hold = self.own_hold(caller, country, id).await?;
        Ok(self.decider.ledger.drop_hold(&hold).await?)
    }

    async fn own_hold(&self, caller: &Caller, country: CountryCode, id: Uuid) -> Result<Hold, BookingError> {
        let found = self.decider.ledger.hold(country, id).await?;
        found.filter(|hold| hold.owner == caller.subject).ok_or(BookingError::UnknownHold)
    }

    /// Returns the hold that an earlier request with the same key made.
    async fn earlier_hold(&self, country: CountryCode, key: Option<&InUse<'_>>) -> Result<Option<Hold>, BookingError> {
        let Some(receipt) = self.receipt(country, key).await? else { return Ok(None) };
        let hold = self.decider.ledger.hold(country, receipt.appointment).await?;
        hold.map(Some).ok_or(BookingError::UnknownHold)
    }

    /// Returns the claim of one of the account's holds.
    fn holds_of(&self, caller: &Caller, country: CountryCode) -> Claim {
        let account = self.decider.names.account(country, &caller.subject);
        Claim { places: MAX_HOLDS, ..Claim::new(format!("{HOLDS}{account}")) }
    }

    /// Asks the rules whether they offer the slot now.
    async fn offered(&self, finder: Finder, slot: &SlotToken) -> Result<(Finder, Offered), BookingError> {
        let (rules, wanted) = (Arc::clone(&finder.rules), slot.clone());
        let find = move || {
            let day = wanted.slot.start.date();
            let found = finder.find(day, day.saturating_add(1.day()))?;
            let offer = found.candidates.into_iter().find(|candidate| candidate.is(&wanted));
            let starts_at = finder.rules.start(&wanted.slot).ok().flatten();
            let offered =
                offer.zip(starts_at).map(|(candidate, starts_at)| Offered { offer: candidate.offer, starts_at });
            let violation = || found.reason.unwrap_or_else(|| Violation::new("", NOT_OFFERED));
            let offered = offered.ok_or_else(|| BookingError::refused(&finder.rules, vec![violation()]))?;
            Ok::<_, BookingError>((finder, offered))
        };
        self.decider.catalogue.executor().run(rules.country, find).await?
    }

    /// Returns the error for a slot that is taken, with free ones nearby. They are a courtesy: if the search fails, the
    /// response has none.
    async fn slot_taken(&self, finder: Finder, slot: &SlotToken, starts_at: Timestamp, claim: String) -> BookingError {
        let rules = Arc::clone(&finder.rules);
        let free = self.free_near(finder, slot, starts_at).await.unwrap_or_else(|error| {
            tracing::debug!(country = %rules.country, %error, "no free slots are named");
            Vec::new()
        });
        let words = rules.claim_violation(&claim);
        let rejection = words.map(|violation| Rejection { violations: vec![violation], rules });
        BookingError::SlotTaken { claim: Some(claim), free, rejection }
    }

    async fn free_near(
        &self,
        finder: Finder,
        slot: &SlotToken,
        starts_at: Timestamp,
    ) -> Result<Vec<FreeSlot>, BookingError> {
        let (country, day) = (finder.rules.country, slot.slot.start.date());
        let find = move || {
            let found = finder.find(day.saturating_sub(DAYS.days()), day.saturating_add((DAYS + 1).days()))?;
            Ok::<_, BookingError>((finder, found.candidates))
        };
        let (finder, candidates) = self.decider.catalogue.executor().run(country, find).await??;
        let free = self.vacant(&finder, candidates).await?;
        Ok(nearest(free, starts_at))
    }

    /// Sets the leaves of a hold's slot in the document of a request. Returns the hold.
    pub(super) async fn set_held(
        &self,
        caller: &Caller,
        country: CountryCode,
        id: Uuid,
        document: &mut Json,
        action: Option<&OfAction<'_>>,
        now: Timestamp,
    ) -> Result<NamedHold, BookingError> {
        let hold = self.own_hold(caller, country, id).await?;
        set_leaves(hold.slot.clone(), HOLD, document, action)?;
        Ok(NamedHold { is_live: hold.is_live(now), hold })
    }

    /// Returns the request after its hold has lost a place, though the hold had not ended: the clock of another host is fast,
    /// or the hold was used or given up meanwhile.
    pub(super) async fn without_hold(
        &self,
        country: CountryCode,
        request: &RuleRequest,
    ) -> Result<RuleRequest, BookingError> {
        if let Some(named) = &request.hold
            && self.decider.ledger.hold(country, named.hold.id).await?.is_none()
        {
            return Err(BookingError::UnknownHold);
        }
        Ok(request.after_hold())
    }
}

/// An offer of the slot that a caller wants, and its start.
struct Offered {
    offer: Offer,
    starts_at: Timestamp,
}

impl Candidate {
    /// True if this is the slot of a token. The leaves of a slot for an appointment to be moved are fewer.
    fn is(&self, wanted: &SlotToken) -> bool {
        let Self { offer, doctor, hospital, .. } = self;
        (&offer.slot, doctor, hospital) == (&wanted.slot, &wanted.doctor, &wanted.hospital)
            && wanted.request.iter().all(|leaf| offer.request.contains(leaf))
    }
}

fn without_personal(Choice { claims, attributes }: Choice) -> Choice {
    Choice { claims: claims.into_iter().filter(|claim| !claim.personal).collect(), attributes }
}

/// Sets the leaves of a free slot that a request names. Returns the id of the hold that it names instead.
pub(super) fn set_free(
    named: Option<NamedSlot>,
    document: &mut Json,
    action: Option<&OfAction<'_>>,
) -> Result<Option<Uuid>, BookingError> {
    match named {
        None => Ok(None),
        Some(NamedSlot::Free(slot)) => set_leaves(slot, SLOT, document, action).map(|()| None),
        Some(NamedSlot::Held(id)) => Ok(Some(id)),
    }
}

/// Sets the leaves of a slot, which the request names in this member.
fn set_leaves(
    mut slot: SlotToken,
    member: &str,
    document: &mut Json,
    action: Option<&OfAction<'_>>,
) -> Result<(), BookingError> {
    if let Some(action) = action {
        slot = action.select(slot, member)?;
    }
    let mut none = Map::new();
    Ok(slot.set_in(document.as_object_mut().unwrap_or(&mut none))?)
}

/// Returns what an Idempotency-Key covers of a request: its document, with the leaves of a free slot or with the id of a
/// hold. A repeated request no longer finds the hold.
pub(super) fn fingerprinted(document: &Json, hold: Option<Uuid>) -> Json {
    hold.map_or_else(|| document.clone(), |hold| json!([document, hold]))
}

impl OfAction<'_> {
    /// Returns the slot with those of its leaves that the input may have. An action that may have none sets no time.
    fn select(&self, slot: SlotToken, member: &str) -> Result<SlotToken, BookingError> {
        let slot = slot.for_action(self.current, self.members)?;
        if !slot.request.is_empty() {
            return Ok(slot);
        }
        let params = vec![("property".into(), member.into())];
        let unknown = Violation { params, ..Violation::new(format!("/{member}"), "schema.additionalProperties") };
        Err(BookingError::refused(self.rules, vec![unknown]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HeldClaim, Slot};
    use crate::testing::revision;

    #[test]
    fn a_claim_that_a_live_hold_lacks_is_missed_for_another_reason() {
        let made_at = revision(Uuid::nil()).updated_at;
        let slot = Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() };
        let country = "pe".parse().unwrap();
        let hold = Hold {
            id: Uuid::nil(),
            owner: "ana".into(),
            slot: SlotToken { country, slot, doctor: None, hospital: None, request: vec![], place: vec![] },
            starts_at: made_at,
            made_at,
            expires_at: made_at + HOLD_TIME,
            claims: ["doctor/1", "room/2"].map(|key| HeldClaim { key: key.into(), ordinal: 0 }).into(),
        };
        let choices = ["room/1", "room/2"].map(|key| Choice { claims: vec![Claim::new(key)], attributes: vec![] });
        let had = |is_live: bool| {
            let named = NamedHold { hold: hold.clone(), is_live };
            ["doctor/1", "room/2", "room/1", "patient/1"].map(|claim| named.had(claim, &choices))
        };
        assert_eq!(had(true), [true, true, false, false]);
        assert_eq!(had(false), [true, true, true, false], "the room of the hold was one of the choices");
    }
}
