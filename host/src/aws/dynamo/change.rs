//! A change as one transaction: each condition is checked where what it is about is written.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Delete, Put, TransactWriteItem};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use citas_core::ports::ledger::{Change, CommitError};
use uuid::Uuid;

use super::Unreadable;
use super::item::{self, Item, number, text};

const FREE: &str = "attribute_not_exists(pk)";

/// What is written, in the order in which a refusal is to be reported, and what it means when its condition does not hold.
pub(super) struct Transaction {
    pub items: Vec<TransactWriteItem>,
    means: Vec<Meaning>,
}

#[derive(Clone)]
enum Meaning {
    KeyUsed,
    Stale,
    Taken(String),
}

struct Condition(&'static str, Vec<(&'static str, AttributeValue)>);

impl Transaction {
    /// At most 93 items, and a transaction takes 100: 40 claims to take, 40 to release, 10 events, the receipt, the
    /// appointment, its revision.
    pub(super) fn of(change: &Change, table: &str) -> Result<Self, Unreadable> {
        let Change { revision, take, release, receipt, events } = change;
        let id = revision.appointment.id;
        let mut transaction = Self { items: Vec::new(), means: Vec::new() };
        if let Some(receipt) = receipt {
            let now = ("now", number(revision.updated_at.as_nanosecond()));
            let unused = Condition("attribute_not_exists(pk) OR expires <= :now", vec![now]);
            transaction.put(table, item::receipt(receipt)?, Some(unused), Meaning::KeyUsed);
        }
        transaction.put(table, item::latest(revision)?, Some(follows(change)), Meaning::Stale);
        transaction.put(table, item::past(revision)?, None, Meaning::Stale);
        for claim in release {
            transaction.delete(table, item::claim_key(claim), held_by(id));
        }
        for claim in take {
            let free = Condition(FREE, Vec::new());
            transaction.put(table, item::claim(claim, id), Some(free), Meaning::Taken(claim.clone()));
        }
        for event in events {
            transaction.put(table, item::outbox(event)?, None, Meaning::Stale);
        }
        Ok(transaction)
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

    fn delete(&mut self, table: &str, key: Item, condition: Condition) {
        let (expression, values) = condition.parts();
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key))
            .condition_expression(expression)
            .set_expression_attribute_values(values)
            .build()
            .expect("a table and a key are given");
        self.items.push(TransactWriteItem::builder().delete(delete).build());
        self.means.push(Meaning::Stale);
    }

    /// Which condition did not hold; none where the first item that failed did so for another reason: what its own condition
    /// would have come to is then not known.
    pub(super) fn refusal(&self, error: &SdkError<TransactWriteItemsError>) -> Option<CommitError> {
        let reasons = reasons(error.as_service_error()?);
        let failed = reasons.iter().position(is_failure).filter(|first| is_refusal(&reasons[*first]))?;
        Some(match &self.means[failed] {
            Meaning::KeyUsed => CommitError::KeyUsed,
            Meaning::Stale => CommitError::Stale,
            Meaning::Taken(claim) => CommitError::ClaimTaken(claim.clone()),
        })
    }
}

impl Condition {
    /// The expression and its values, of which there must be none rather than an empty map.
    fn parts(self) -> (String, Option<HashMap<String, AttributeValue>>) {
        let values: HashMap<_, _> = self.1.into_iter().map(|(name, value)| (format!(":{name}"), value)).collect();
        (self.0.to_owned(), (!values.is_empty()).then_some(values))
    }
}

/// The appointment is at the revision before, or there is none before the first.
fn follows(change: &Change) -> Condition {
    match change.revision.appointment.revision {
        0 | 1 => Condition(FREE, Vec::new()),
        next => Condition("appointment.revision = :before", vec![("before", number(next - 1))]),
    }
}

/// Only a holder gives a claim up; one that is gone already is no trouble.
fn held_by(id: Uuid) -> Condition {
    Condition("attribute_not_exists(pk) OR appointment = :id", vec![("id", text(id.to_string()))])
}

fn reasons(error: &TransactWriteItemsError) -> &[CancellationReason] {
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

/// Tries again what other transactions were in the way of, or a table that is too busy; the SDK by itself does not look
/// into why a transaction was cancelled. The request is the same each time, its `ClientRequestToken` too, so what was
/// stored although its answer was lost is not stored again.
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
