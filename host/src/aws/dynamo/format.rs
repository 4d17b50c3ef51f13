//! The format of a table. A table is marked at its first use. One that has appointments and no mark has the former format:
//! nothing is read from it or written to it.

use std::sync::PoisonError;

use aws_sdk_dynamodb::types::AttributeValue;
use citas_core::model::{CountryCode, Phase, Pseudonyms};
use citas_core::ports::Unavailable;
use futures::future::try_join_all;

use super::item::{self, Item, number, text};
use super::{DynamoLedger, unavailable};
use crate::aws::failure::error_text;

/// Number of this format. The former format has no mark.
const FORMAT: u32 = 2;

impl DynamoLedger {
    /// Checks that a country's table has this format, once in each process. A caller may read at the same time, if it uses
    /// the result only after the check has passed.
    ///
    /// # Errors
    /// Returns an error if the table has another format, or does not answer.
    pub async fn checked(&self, country: CountryCode) -> Result<(), Unavailable> {
        let cell = {
            let mut formats = self.formats.lock().unwrap_or_else(PoisonError::into_inner);
            formats.entry(country).or_default().clone()
        };
        cell.get_or_try_init(|| self.check(country)).await.copied()
    }

    async fn check(&self, country: CountryCode) -> Result<(), Unavailable> {
        let Some(mark) = self.item(country, item::format_key()).await? else {
            if self.has_appointments(country).await? {
                let command = format!("citas ledger migrate {country} --tables {}", self.prefix);
                let why = format!("its table has the format of an earlier Citas: run `{command}`");
                return Err(unavailable(country, why));
            }
            return self.mark(country, self.names.as_ref()).await;
        };
        if mark.get("format") != Some(&number(FORMAT)) {
            return Err(unavailable(country, "its table was written by a newer Citas"));
        }
        match (mark.get("key"), &self.names) {
            (Some(key), Some(names)) if *key != key_check(country, names) => {
                Err(unavailable(country, "its table was written with another CITAS_KEY"))
            }
            (None, Some(names)) => self.mark(country, Some(names)).await,
            _ => Ok(()),
        }
    }

    /// Marks a table with this format and with the key that it is written with.
    pub(super) async fn mark(&self, country: CountryCode, names: Option<&Pseudonyms>) -> Result<(), Unavailable> {
        let mut item = item::format_key();
        item.extend([("kind".into(), text("format")), ("format".into(), number(FORMAT))]);
        item.extend(names.map(|names| ("key".to_owned(), key_check(country, names))));
        let request = self.client.put_item().table_name(self.table(country)).set_item(Some(item));
        request.send().await.map_err(|error| unavailable(country, error_text("DynamoDB", &error)))?;
        Ok(())
    }

    /// True if the table is marked.
    pub(super) async fn is_marked(&self, country: CountryCode) -> Result<bool, Unavailable> {
        Ok(self.item(country, item::format_key()).await?.is_some())
    }

    async fn has_appointments(&self, country: CountryCode) -> Result<bool, Unavailable> {
        let found = Phase::ALL.map(async |phase| {
            let request = self
                .client
                .query()
                .table_name(self.table(country))
                .index_name("phase")
                .key_condition_expression("phase = :phase")
                .expression_attribute_values(":phase", text(phase.as_str()))
                .limit(1);
            let answer = request.send().await.map_err(|error| {
                let why = error_text("DynamoDB", &error);
                unavailable(
                    country,
                    format!("its table has no format yet, and it is not known whether it is empty: {why}"),
                )
            })?;
            Ok(answer.count > 0)
        });
        Ok(try_join_all(found).await?.contains(&true))
    }
}

/// Returns a value that identifies the secret key: the opaque id of a patient with an empty key, which no patient has.
fn key_check(country: CountryCode, names: &Pseudonyms) -> AttributeValue {
    text(names.patient(country, "").to_string())
}

/// True if an item has the former format. Both formats have a patient; only this one has an opaque id.
pub(super) fn is_former(item: &Item) -> bool {
    matches!(item.get("order"), Some(AttributeValue::L(_))) && !item.contains_key("person")
}
