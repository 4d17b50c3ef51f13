//! Implements the port [`PrivacyRequests`]: an item for each request, its texts in the patient's partition, and copies for the
//! lists by state, patient and owner.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use citas_core::model::{CountryCode, PrivacyRequest, PrivacyState, PrivacyTexts};
use citas_core::ports::{CommitError, PrivacyError, PrivacyQuery, PrivacyRequests, Unavailable, deadline};
use std::collections::HashMap;
use tokio::try_join;
use uuid::Uuid;

use super::change::Transaction;
use super::item::{self, text};
use super::{DynamoLedger, unavailable};
use crate::aws::failure::error_text;

impl DynamoLedger {
    fn of_list(&self, partition: String, query: &PrivacyQuery) -> QueryFluentBuilder {
        let request = self.client.query().expression_attribute_values(":pk", text(partition));
        match query.after {
            None => request.key_condition_expression("pk = :pk"),
            Some((due_at, id)) => request
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":after", text(item::privacy_sort(due_at, id))),
        }
    }

    /// Reads the requests of a partition that match, in the order of the list.
    async fn privacy_list(
        &self,
        country: CountryCode,
        partition: String,
        query: &PrivacyQuery,
    ) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let of_partition = self.of_list(partition, query);
        self.bodies(country, of_partition, query.limit, |request| query.matches(request)).await
    }

    /// Adds the texts to requests, where they are not erased.
    async fn with_texts(
        &self,
        country: CountryCode,
        mut requests: Vec<PrivacyRequest>,
    ) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let keys = requests.iter().map(item::privacy_texts_key).collect();
        let mut texts: HashMap<Uuid, PrivacyTexts> = HashMap::new();
        for found in self.batch(country, keys).await? {
            let id = item::privacy_texts_of(&found).ok_or_else(|| unavailable(country, "an item without its id"))?;
            texts.insert(id, item::body(&found).map_err(|error| unavailable(country, error))?);
        }
        for request in &mut requests {
            request.texts = texts.remove(&request.id);
        }
        Ok(requests)
    }
}

#[async_trait]
impl PrivacyRequests for DynamoLedger {
    async fn put_privacy_request(&self, request: PrivacyRequest) -> Result<(), PrivacyError> {
        let country = request.country;
        let before = self.privacy_request(country, request.id).await?;
        let transaction = Transaction::of_privacy_request(&request, before.as_ref(), &self.table(country));
        let transaction = transaction.map_err(|error| unavailable(country, error))?;
        let stored = async {
            let Err(error) = self.transact(&transaction).await else { return Ok(()) };
            let refusal = match transaction.refusal(&error) {
                Some(CommitError::Unavailable(unavailable)) => unavailable.into(),
                Some(_) => return Err(PrivacyError::Stale),
                None => PrivacyError::from(unavailable(country, error_text("DynamoDB", &error))),
            };
            // The response may be lost after the revision was stored.
            match self.privacy_request(country, request.id).await? {
                Some(found) if found == request => Ok(()),
                Some(found) if found.revision() >= request.revision() => Err(PrivacyError::Stale),
                _ => Err(refusal),
            }
        };
        deadline::without(stored).await
    }

    async fn privacy_request(&self, country: CountryCode, id: Uuid) -> Result<Option<PrivacyRequest>, Unavailable> {
        let (item, ()) = try_join!(self.item(country, item::privacy_key(id)), self.checked(country))?;
        let Some(item) = item else { return Ok(None) };
        let request = item::body(&item).map_err(|error| unavailable(country, error))?;
        Ok(self.with_texts(country, vec![request]).await?.pop())
    }

    async fn privacy_requests(
        &self,
        country: CountryCode,
        query: &PrivacyQuery,
    ) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let mut found = match query {
            PrivacyQuery { owner: Some(owner), .. } => {
                self.privacy_list(country, item::privacy_of_owner(owner), query).await?
            }
            PrivacyQuery { person: Some(person), .. } => {
                self.privacy_list(country, item::privacy_of_person(*person), query).await?
            }
            _ => {
                let list = |state| self.privacy_list(country, item::privacy_of_state(state), query);
                let states = PrivacyState::ALL.into_iter().filter(|state| query.state.is_none_or(|of| of == *state));
                futures::future::try_join_all(states.map(list)).await?.concat()
            }
        };
        found.sort_by_key(PrivacyRequest::position);
        found.truncate(query.limit);
        self.with_texts(country, found).await
    }
}
