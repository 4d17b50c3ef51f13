//! Stores changes and holds: finds places for them, sends the transaction, and finds out its outcome.

use std::collections::HashSet;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use citas_core::model::{CountryCode, HeldClaim, Hold};
use citas_core::ports::{
    AgendaCondition, Change, CommitError, Ledger as _, NewHold, PlaceRequest, Receipt, Settled, Unavailable, deadline,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::change::Transaction;
use super::item;
use super::{DynamoLedger, Unreadable, claims, unavailable};
use crate::aws::failure::error_text;

/// Maximum number of attempts to find and take places.
const SETTLE_ATTEMPTS: u32 = 5;

/// A change or a hold that is to be stored.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Change(&'a Change),
    Hold(&'a NewHold),
}

impl<'a> Wanted<'a> {
    fn country(self) -> CountryCode {
        match self {
            Self::Change(change) => change.revision.country,
            Self::Hold(new) => new.hold.slot.country,
        }
    }

    /// Returns the time by which claims and receipts have expired.
    fn now(self) -> Timestamp {
        match self {
            Self::Change(change) => change.revision.updated_at,
            Self::Hold(new) => new.hold.made_at,
        }
    }

    fn places(self) -> PlaceRequest<'a> {
        match self {
            Self::Change(change) => change.places(),
            Self::Hold(new) => new.places(),
        }
    }

    fn receipt(self) -> Option<&'a Receipt> {
        match self {
            Self::Change(change) => change.receipt.as_ref(),
            Self::Hold(new) => new.receipt.as_ref(),
        }
    }

    /// Returns the places that must be free.
    fn take(self, settled: &Settled) -> Vec<&HeldClaim> {
        match self {
            Self::Change(change) => change.take(settled).collect(),
            Self::Hold(_) => settled.claims.iter().collect(),
        }
    }

    /// Returns the hold whose places pass to the change.
    fn hold(self) -> Option<Uuid> {
        match self {
            Self::Change(change) => change.hold.as_ref().map(|hold| hold.id),
            Self::Hold(_) => None,
        }
    }

    fn transaction(self, settled: &Settled, table: &str) -> Result<Transaction, Unreadable> {
        match self {
            Self::Change(change) => Transaction::of(change, settled, table),
            Self::Hold(new) => Transaction::of_hold(new, &new.with(settled.clone()), table),
        }
    }
}

impl DynamoLedger {
    /// Stores a change or a hold, and returns its places. If it has a choice of places, it reads them first. If others take
    /// its places before it is stored, it looks for others.
    pub(super) async fn take_places(&self, wanted: Wanted<'_>) -> Result<Settled, CommitError> {
        let (country, request) = (wanted.country(), wanted.places());
        self.checked(country).await?;
        if let Some(settled) = request.plain() {
            return self.store(wanted, settled).await;
        }
        let open = claims::open(&request);
        let mut attempt = 0;
        loop {
            let taken = self.competitors(country, &open, wanted.now()).await?;
            let settled = match claims::settle(&request, &taken, attempt) {
                Ok(settled) => settled,
                Err(full) => {
                    let first = self.in_the_way(wanted, None).await?;
                    return Err(first.unwrap_or(CommitError::ClaimTaken(full)));
                }
            };
            match self.store(wanted, settled).await {
                Err(CommitError::ClaimTaken(key))
                    if attempt + 1 < SETTLE_ATTEMPTS && open.iter().any(|claim| claim.key == key) =>
                {
                    attempt += 1;
                    claims::pause(attempt).await;
                }
                stored => return stored,
            }
        }
    }

    /// Stores a change or a hold with these places.
    async fn store(&self, wanted: Wanted<'_>, settled: Settled) -> Result<Settled, CommitError> {
        let country = wanted.country();
        let transaction = wanted.transaction(&settled, &self.table(country));
        let transaction = transaction.map_err(|error| unavailable(country, error))?;
        let stored = async {
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            match transaction.refusal(&error) {
                Some(refusal) => Err(refusal),
                None => self.found_out(wanted, &settled, unavailable(country, error_text("DynamoDB", &error))).await,
            }
        };
        deadline::without(stored).await?;
        Ok(settled)
    }

    pub(super) async fn transact(&self, transaction: &Transaction) -> Result<(), SdkError<TransactWriteItemsError>> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(transaction.items.clone()))
            .client_request_token(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string());
        request.send().await.map(drop)
    }

    /// Determines the outcome of a transaction whose response was lost, or that conflicted with others on every attempt.
    /// If a condition does not hold now, looks once more for what was to be stored: the transaction itself may have been
    /// stored meanwhile.
    async fn found_out(&self, wanted: Wanted<'_>, settled: &Settled, error: Unavailable) -> Result<(), CommitError> {
        let refusal = match self.in_the_way(wanted, Some(settled)).await? {
            Some(refusal) => refusal,
            None => error.into(),
        };
        if self.is_stored(wanted, settled).await? { Ok(()) } else { Err(refusal) }
    }

    async fn is_stored(&self, wanted: Wanted<'_>, settled: &Settled) -> Result<bool, Unavailable> {
        match wanted {
            Wanted::Change(change) => {
                let wanted = change.revision_with(settled);
                let (country, id, number) = (wanted.country, wanted.appointment.id, wanted.appointment.revision);
                // It is read back with its personal attributes last.
                let (open, personal) = wanted.apart();
                let stored = self.revision(country, id, number).await?;
                Ok(stored.is_some_and(|stored| stored == open.complete(Some(personal))))
            }
            Wanted::Hold(new) => Ok(self.hold(wanted.country(), new.hold.id).await?.is_some()),
        }
    }

    /// Returns the refusal of the first condition that does not hold now. Without places, skips the conditions of the
    /// claims.
    async fn in_the_way(
        &self,
        wanted: Wanted<'_>,
        settled: Option<&Settled>,
    ) -> Result<Option<CommitError>, Unavailable> {
        let (country, now) = (wanted.country(), wanted.now());
        if let Some(receipt) = wanted.receipt()
            && self.receipt(country, &receipt.key, now).await?.is_some()
        {
            return Ok(Some(CommitError::KeyUsed));
        }
        if let Wanted::Change(change) = wanted {
            let appointment = &change.revision.appointment;
            let latest = self.appointment(country, appointment.id).await?;
            let next = latest.map_or(0, |latest| latest.appointment.revision).checked_add(1);
            if next != Some(appointment.revision) {
                return Ok(Some(CommitError::Stale));
            }
            if let Some(AgendaCondition { doctor, revision }) = &change.agenda {
                let agenda = self.item(country, item::agenda_key(doctor)).await?;
                if agenda.map_or(0, |agenda| item::agenda_number(&agenda)) != *revision {
                    return Ok(Some(CommitError::AgendaChanged));
                }
            }
        }
        let Some(settled) = settled else { return Ok(None) };
        let take = wanted.take(settled);
        let keys = take.iter().map(|claim| item::claim_key(&claim.key, claim.ordinal)).collect();
        let items = self.batch(country, keys).await?;
        let held = items.iter().filter_map(|item| item::claim_of(item, now));
        let held: HashSet<(String, u16)> =
            held.filter(|(.., holder)| Some(*holder) != wanted.hold()).map(|(key, at, _)| (key, at)).collect();
        let taken = take.into_iter().find(|claim| held.contains(&(claim.key.clone(), claim.ordinal)));
        Ok(taken.map(|claim| CommitError::ClaimTaken(claim.key.clone())))
    }

    /// Deletes a hold with its places. Leaves a place alone that another has taken.
    pub(super) async fn end_hold(&self, hold: &Hold) -> Result<(), Unavailable> {
        let country = hold.slot.country;
        let mut places: Vec<&HeldClaim> = hold.claims.iter().collect();
        loop {
            let transaction = Transaction::ending(hold, &places, &self.table(country));
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            let Some(CommitError::ClaimTaken(gone)) = transaction.refusal(&error) else {
                return Err(unavailable(country, error_text("DynamoDB", &error)));
            };
            places.retain(|place| place.key != gone);
        }
    }
}
