//! Turns a change or a hold into one transaction. Each condition is checked on the item that it is about.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, ConditionCheck, Delete, Put, TransactWriteItem};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use citas_core::model::{AgendaRevision, HeldClaim, Hold, PatientLinkState, PrivacyRequest};
use citas_core::ports::{AgendaCondition, Change, CommitError, NewHold, PatientLinkChange, Settled};
use jiff::Timestamp;
use uuid::Uuid;

use super::item::{self, Item, Parts, number, text};
use super::{Unreadable, patient_links};

/// Maximum number of items of one transaction (AWS developer guide, *Quotas in Amazon DynamoDB*).
const MAX_ITEMS: usize = 100;

const ABSENT: &str = "attribute_not_exists(pk)";

/// Condition of what is absent or has expired.
const FREE: &str = "attribute_not_exists(pk) OR expires <= :now";

/// Items to write, in the order in which refusals are reported, and the meaning of each failed condition.
pub(super) struct Transaction {
    pub items: Vec<TransactWriteItem>,
    means: Vec<Meaning>,
}

#[derive(Clone)]
enum Meaning {
    KeyUsed,
    Stale,
    AgendaChanged,
    Taken(String),
}

struct Condition(&'static str, Vec<(&'static str, AttributeValue)>);

impl Transaction {
    /// Builds the transaction of a change with these places. It has at most 97 items: 40 claims to take, 40 to release, 10
    /// events, the receipt, the appointment, its revision, the revision's personal part, the doctor's agenda, the hold and its
    /// place among those of its account. Further places of the hold go with it as far as DynamoDB allows, and the others
    /// expire.
    pub(super) fn of(change: &Change, settled: &Settled, table: &str) -> Result<Self, Unreadable> {
        let revision = change.revision_with(settled);
        let (id, now, follows) = (revision.appointment.id, revision.updated_at, follows(change));
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        if let Some(receipt) = &change.receipt {
            transaction.put(table, item::receipt(receipt)?, Some(free(now, None)), Meaning::KeyUsed);
        }
        let Parts { latest, past, personal } = item::parts(revision)?;
        transaction.put(table, latest, Some(follows), Meaning::Stale);
        transaction.put(table, past, None, Meaning::Stale);
        transaction.put(table, personal, None, Meaning::Stale);
        if let Some(AgendaCondition { doctor, revision }) = &change.agenda {
            transaction.check(table, item::agenda_key(doctor), at_revision(*revision), Meaning::AgendaChanged);
        }
        for claim in change.release(settled) {
            transaction.release(table, claim, id, Meaning::Stale);
        }
        let hold = change.hold.as_ref().map(|hold| hold.id);
        for claim in change.take(settled) {
            let taken = Meaning::Taken(claim.key.clone());
            transaction.put(table, item::claim(claim, id, None), Some(free(now, hold)), taken);
        }
        for event in &change.events {
            transaction.put(table, item::outbox(event)?, None, Meaning::Stale);
        }
        if let Some(hold) = hold {
            transaction.delete(table, item::hold_key(hold), None, Meaning::Stale);
            let room = MAX_ITEMS.saturating_sub(transaction.items.len());
            for claim in change.unused(settled).take(room) {
                transaction.release(table, claim, hold, Meaning::Taken(claim.key.clone()));
            }
        }
        Ok(transaction)
    }

    /// Builds the transaction of a revision of an agenda.
    pub(super) fn of_agenda(revision: &AgendaRevision, table: &str) -> Result<Self, Unreadable> {
        // Half of such an id is random. A random number need not be read before it is replaced.
        let (_, stamp) = Uuid::now_v7().as_u64_pair();
        let [latest, past, listed, stamp] = item::agenda_items(revision, stamp)?;
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        transaction.put(table, latest, Some(at_revision(revision.revision.saturating_sub(1))), Meaning::Stale);
        for item in [past, listed, stamp] {
            transaction.put(table, item, None, Meaning::Stale);
        }
        Ok(transaction)
    }

    /// Builds the transaction of a revision of a patient link.
    pub(super) fn of_patient_link(change: &PatientLinkChange, table: &str) -> Result<Self, Unreadable> {
        let PatientLinkChange { revision: link, before, changes } = change;
        let [live, latest, past] = patient_links::link_items(link)?;
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        let count = patient_links::changes_item(&link.subject, changes.saturating_add(1));
        transaction.put(table, count, Some(at_changes(*changes)), Meaning::Stale);
        transaction.put(table, latest, Some(at_revision(link.revision.saturating_sub(1))), Meaning::Stale);
        transaction.put(table, past, None, Meaning::Stale);
        if link.state == PatientLinkState::Ended {
            transaction.delete(table, patient_links::live_key(link), None, Meaning::Stale);
        } else {
            transaction.put(table, live, None, Meaning::Stale);
        }
        if let Some(request) = before.as_ref().filter(|before| before.state == PatientLinkState::Requested) {
            transaction.delete(table, patient_links::request_key(request), None, Meaning::Stale);
        }
        if link.state == PatientLinkState::Requested {
            transaction.put(table, patient_links::request_item(link), None, Meaning::Stale);
        }
        Ok(transaction)
    }

    /// Builds the transaction of a revision of a privacy request, which replaces the one before with its copies.
    pub(super) fn of_privacy_request(
        request: &PrivacyRequest,
        before: Option<&PrivacyRequest>,
        table: &str,
    ) -> Result<Self, Unreadable> {
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        let mut one = item::with_body(item::privacy_key(request.id), "privacy-request", request)?;
        one.insert("revision".into(), number(request.revision()));
        transaction.put(table, one, Some(at_revision(request.revision().saturating_sub(1))), Meaning::Stale);
        if let Some(texts) = &request.texts {
            let texts = item::with_body(item::privacy_texts_key(request), "personal", texts)?;
            transaction.put(table, texts, None, Meaning::Stale);
        }
        let lists = item::privacy_lists(request);
        for (partition, sort) in before.map(item::privacy_lists).unwrap_or_default() {
            if !lists.contains(&(partition.clone(), sort.clone())) {
                transaction.delete(table, item::list_key(&partition, &sort), None, Meaning::Stale);
            }
        }
        for (partition, sort) in lists {
            let copy = item::with_body(item::list_key(&partition, &sort), "privacy-request", request)?;
            transaction.put(table, copy, None, Meaning::Stale);
        }
        Ok(transaction)
    }

    fn check(&mut self, table: &str, key: Item, condition: Condition, means: Meaning) {
        let (expression, values) = condition.parts();
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .build()
            .expect("a table, a key and a condition are given");
        self.items.push(TransactWriteItem::builder().condition_check(check).build());
        self.means.push(means);
    }

    /// Builds the transaction of a hold.
    pub(super) fn of_hold(new: &NewHold, hold: &Hold, table: &str) -> Result<Self, Unreadable> {
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        let free = || Some(free(hold.made_at, None));
        if let Some(receipt) = &new.receipt {
            transaction.put(table, item::receipt(receipt)?, free(), Meaning::KeyUsed);
        }
        for claim in &hold.claims {
            let item = item::claim(claim, hold.id, Some(hold.expires_at));
            transaction.put(table, item, free(), Meaning::Taken(claim.key.clone()));
        }
        transaction.put(table, item::hold(hold)?, None, Meaning::Stale);
        Ok(transaction)
    }

    /// Builds the transaction that deletes a hold with its places. A place that it has no more is left alone.
    pub(super) fn ending(hold: &Hold, places: &[&HeldClaim], table: &str) -> Self {
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        transaction.delete(table, item::hold_key(hold.id), None, Meaning::Stale);
        for claim in places {
            transaction.release(table, claim, hold.id, Meaning::Taken(claim.key.clone()));
        }
        transaction
    }

    fn put(&mut self, table: &str, item: Item, condition: Option<Condition>, means: Meaning) {
        let (expression, values) = condition.map(Condition::parts).unzip();
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values.flatten())
            .build()
            .expect("a table and an item are given");
        self.items.push(TransactWriteItem::builder().put(put).build());
        self.means.push(means);
    }

    fn delete(&mut self, table: &str, key: Item, condition: Option<Condition>, means: Meaning) {
        let (expression, values) = condition.map(Condition::parts).unzip();
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key))
            .set_condition_expression(expression)
            .set_expression_attribute_values(values.flatten())
            .build()
            .expect("a table and a key are given");
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        self.means.push(means);
    }

    /// Deletes a place on the condition that this appointment or hold has it. One that is gone already is no error.
    fn release(&mut self, table: &str, claim: &HeldClaim, holder: Uuid, means: Meaning) {
        let held = Condition("attribute_not_exists(pk) OR appointment = :id", vec![("id", text(holder.to_string()))]);
        self.delete(table, item::claim_key(&claim.key, claim.ordinal), Some(held), means);
    }

    /// Returns the refusal of the first item that failed. Returns `None` if that item failed for another reason than
    /// its condition, because the result of the condition is then unknown.
    pub(super) fn refusal(&self, error: &SdkError<TransactWriteItemsError>) -> Option<CommitError> {
        let reasons = reasons(error.as_service_error()?);
        let failed = reasons.iter().position(is_failure).filter(|first| is_refusal(&reasons[*first]))?;
        Some(match &self.means[failed] {
            Meaning::KeyUsed => CommitError::KeyUsed,
            Meaning::Stale => CommitError::Stale,
            Meaning::AgendaChanged => CommitError::AgendaChanged,
            Meaning::Taken(claim) => CommitError::ClaimTaken(claim.clone()),
        })
    }
}

impl Condition {
    /// Returns the expression and its values. DynamoDB refuses an empty map of values, so no values are `None`.
    fn parts(self) -> (String, Option<HashMap<String, AttributeValue>>) {
        let values: HashMap<_, _> = self.1.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        (self.0.to_owned(), (!values.is_empty()).then_some(values))
    }
}

/// Requires that the appointment is at the previous revision, or that there is none before the first.
fn follows(change: &Change) -> Condition {
    match change.revision.appointment.revision {
        0 | 1 => Condition(ABSENT, Vec::new()),
        next => Condition("appointment.revision = :before", vec![("before", number(next - 1))]),
    }
}

/// Requires that an agenda is at this revision, or that there is none if it is 0.
fn at_revision(revision: u32) -> Condition {
    match revision {
        0 => Condition(ABSENT, Vec::new()),
        revision => Condition("revision = :revision", vec![("revision", number(revision))]),
    }
}

/// Requires that the links of an account have changed this number of times.
fn at_changes(changes: u32) -> Condition {
    match changes {
        0 => Condition(ABSENT, Vec::new()),
        changes => Condition("changes = :changes", vec![("changes", number(changes))]),
    }
}

/// Requires that an item is absent or has expired, or is a place of this hold.
fn free(now: Timestamp, hold: Option<Uuid>) -> Condition {
    let now = ("now", number(now.as_nanosecond()));
    match hold {
        None => Condition(FREE, vec![now]),
        Some(hold) => Condition(
            "attribute_not_exists(pk) OR expires <= :now OR appointment = :hold",
            vec![now, ("hold", text(hold.to_string()))],
        ),
    }
}

pub(super) fn reasons(error: &TransactWriteItemsError) -> &[CancellationReason] {
    match error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => cancelled.cancellation_reasons(),
        _ => &[],
    }
}

fn is_failure(reason: &CancellationReason) -> bool {
    reason.code().is_some_and(|code| code != "None")
}

fn is_refusal(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Retries a transaction that conflicted with others or met a busy table. The SDK by itself does not examine why a
/// transaction was cancelled. Each attempt is the same request with the same `ClientRequestToken`, so a change that was
/// stored although its response was lost is not stored again.
#[derive(Debug)]
pub(super) struct TryAgain;

impl ClassifyRetry for TryAgain {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let Some(error) = error.and_then(|error| error.downcast_ref::<TransactWriteItemsError>()) else {
            return RetryAction::NoActionIndicated;
        };
        if matches!(error, TransactWriteItemsError::TransactionInProgressException(_)) {
            return RetryAction::transient_error();
        }
        let first = reasons(error).iter().find(|reason| is_failure(reason)).and_then(CancellationReason::code);
        match first {
            Some("ThrottlingError" | "ProvisionedThroughputExceeded") => RetryAction::throttling_error(),
            Some("TransactionConflict") => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "why a transaction was cancelled"
    }
}

#[cfg(test)]
mod tests {
    use citas_core::model::{Claim, Event, MAX_CLAIMS, MAX_EVENTS, Revision, Slot, SlotToken};
    use citas_core::ports::Receipt;
    use serde_json::json;

    use super::*;

    fn revision() -> Revision {
        serde_json::from_value(json!({
            "country": "pe", "person": Uuid::nil(), "claims": [], "owner": "ana", "updatedAt": "2026-11-24T15:00:00Z",
            "appointment": {
                "id": Uuid::nil(), "phase": "booked", "slot": null, "startsAt": null, "createdAt": "2026-11-24T15:00:00Z",
                "patient": "dni:1", "doctor": null, "hospital": null, "revision": 2, "steps": [], "attributes": [],
            },
            "provenance": {
                "action": "reschedule", "input": [], "context": { "now": 1, "clocks": [], "caller": { "role": "patient" } },
                "rules": { "version": "1.0.0", "digest": "sha256:ab" }, "contract": "2.0.0", "host": "1",
                "subject": "ana", "requestId": "r",
            },
        }))
        .unwrap()
    }

    /// Returns a hold with its place among those of its account, and this number of other places.
    fn hold(places: usize) -> Hold {
        let claims = (0..places).map(|number| format!("hold/{number}")).chain(["hold/account/1".to_owned()]);
        let slot = Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() };
        let country = "pe".parse().unwrap();
        let made_at = revision().updated_at;
        Hold {
            id: Uuid::from_u128(7),
            owner: "ana".into(),
            slot: SlotToken { country, slot, doctor: None, hospital: None, request: Vec::new(), place: Vec::new() },
            starts_at: made_at,
            made_at,
            expires_at: made_at,
            claims: claims.map(|key| HeldClaim { key, ordinal: 0 }).rev().collect(),
        }
    }

    /// Returns a change with as much as a plan may have. Its hold has the claims of the plan and these others.
    fn largest(others: usize) -> Change {
        let revision = revision();
        let places = |name: &str| -> Vec<HeldClaim> {
            (0..MAX_CLAIMS).map(|number| HeldClaim { key: format!("{name}/{number}"), ordinal: 0 }).collect()
        };
        let mut hold = hold(others);
        hold.claims.extend(places("after"));
        let receipt = Receipt {
            key: "k".into(),
            fingerprint: "f".into(),
            appointment: Uuid::nil(),
            revision: 2,
            expires_at: revision.updated_at,
        };
        Change {
            claims: places("after").into_iter().map(|held| Claim::new(held.key)).collect(),
            choices: Vec::new(),
            held: places("before"),
            hold: Some(hold),
            receipt: Some(receipt),
            agenda: Some(AgendaCondition { doctor: "45678".into(), revision: 1 }),
            events: vec![Event::new(Uuid::nil(), "booked", &revision); MAX_EVENTS],
            revision,
        }
    }

    #[test]
    fn the_largest_change_fits_into_one_transaction() {
        let items = |others: usize| {
            let change = largest(others);
            Transaction::of(&change, &change.places().plain().unwrap(), "citas-pe").unwrap().items.len()
        };
        assert_eq!(items(0), 5 + 2 * MAX_CLAIMS + MAX_EVENTS + 2);
        assert_eq!(items(MAX_CLAIMS), MAX_ITEMS, "other places of the hold expire");
    }
}
