//! Implements the port [`Agendas`]. Bookings depend on an item that has the number of the revision alone: a condition costs
//! as much as its item is large.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use citas_core::model::{AgendaRevision, CountryCode};
use citas_core::ports::{AgendaError, Agendas, CommitError, Unavailable, deadline};

use super::change::Transaction;
use super::item::{self, text};
use super::{DynamoLedger, unavailable};
use crate::aws::failure::error_text;

impl DynamoLedger {
    /// Queries the revisions of a doctor's agenda with these numbers.
    fn of_doctor(&self, doctor: &str, from: u32, to: u32) -> QueryFluentBuilder {
        self.client
            .query()
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(item::agenda_partition(doctor)))
            .expression_attribute_values(":from", text(item::revision_sort(from)))
            .expression_attribute_values(":to", text(item::revision_sort(to)))
    }
}

#[async_trait]
impl Agendas for DynamoLedger {
    async fn put_agenda(&self, revision: AgendaRevision) -> Result<(), AgendaError> {
        let country = revision.country;
        self.checked(country).await?;
        let transaction = Transaction::of_agenda(&revision, &self.table(country));
        let transaction = transaction.map_err(|error| unavailable(country, error))?;
        let stored = async {
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            let refusal = match transaction.refusal(&error) {
                Some(CommitError::Unavailable(unavailable)) => unavailable.into(),
                Some(_) => return Err(AgendaError::Stale),
                None => AgendaError::from(unavailable(country, error_text("DynamoDB", &error))),
            };
            // The response may be lost after the revision was stored.
            let number = revision.revision;
            let found = self.agenda_history(country, &revision.doctor, number.saturating_sub(1), 1).await?;
            match found.first() {
                Some(found) if *found == revision => Ok(()),
                Some(_) => Err(AgendaError::Stale),
                None => Err(refusal),
            }
        };
        deadline::without(stored).await
    }

    async fn agenda(&self, country: CountryCode, doctor: &str) -> Result<Option<AgendaRevision>, Unavailable> {
        let latest = self.of_doctor(doctor, 0, u32::MAX).scan_index_forward(false);
        Ok(self.bodies(country, latest, 1, |_| true).await?.pop())
    }

    async fn agenda_history(
        &self,
        country: CountryCode,
        doctor: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        self.bodies(country, self.of_doctor(doctor, after.saturating_add(1), u32::MAX), limit, |_| true).await
    }

    async fn agendas(
        &self,
        country: CountryCode,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AgendaRevision>, Unavailable> {
        let query = self.client.query().expression_attribute_values(":pk", text(item::AGENDAS));
        let query = match after {
            None => query.key_condition_expression("pk = :pk"),
            Some(after) => query
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":after", text(after)),
        };
        self.bodies(country, query, limit, |_| true).await
    }

    async fn agenda_stamp(&self, country: CountryCode) -> Result<u64, Unavailable> {
        self.checked(country).await?;
        let stamp = self.item(country, item::stamp_key()).await?;
        Ok(stamp.and_then(|stamp| stamp.get("stamp")?.as_n().ok()?.parse().ok()).unwrap_or_default())
    }
}
