//! Links of accounts to patients: each revision is a row, with its personal part in a column of its own. Implements the port
//! [`PatientLinks`].

use async_trait::async_trait;
use citas_core::model::{CountryCode, PatientLink};
use citas_core::ports::{
    AccountLinks, CommitError, PatientLinkChange, PatientLinkError, PatientLinks, RequestPosition, Unavailable,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use uuid::Uuid;

use super::change::Refusal;
use super::reads::{json, rows};
use super::schema::instant;
use super::writer::Task;
use super::{SqliteLedger, unavailable};

/// A revision of a link with its JSON already serialized, and the number of changes that it follows.
pub(super) struct Prepared {
    revision: PatientLink,
    changes: u32,
    body: String,
    personal: Option<String>,
}

const PUT: &str = "
    INSERT INTO patient_link (person, subject, number, state, at, body, personal)
    SELECT :person, :subject, :number, :state, :at, :body, :personal
    WHERE :changes = (SELECT count(*) FROM patient_link WHERE subject = :subject)
    AND :number = 1 + (SELECT coalesce(max(number), 0) FROM patient_link WHERE person = :person AND subject = :subject)";

/// Marks the revision before as one of the past.
const SUPERSEDE: &str = "UPDATE patient_link SET state = NULL WHERE person = ? AND subject = ? AND number = ? - 1";

/// Selects the links of an account, each with the number of changes. There is a row without a link if it has none.
pub(super) const OF_ACCOUNT: &str = "
    SELECT body, personal, (SELECT count(*) FROM patient_link WHERE subject = ?1)
    FROM (SELECT 1) LEFT JOIN patient_link ON subject = ?1 AND state IN ('active', 'requested') ORDER BY person";

pub(super) const LATEST: &str =
    "SELECT body, personal FROM patient_link WHERE person = ? AND subject = ? ORDER BY number DESC LIMIT 1";

pub(super) const OF_PERSON: &str = "
    SELECT body, personal FROM patient_link
    WHERE person = ? AND subject > ? AND state IS NOT NULL ORDER BY subject LIMIT +?";

pub(super) const HISTORY: &str = "
    SELECT body, personal FROM patient_link WHERE person = ? AND subject = ? AND number > ? ORDER BY number LIMIT +?";

pub(super) const REQUESTED: &str = "
    SELECT body, personal FROM patient_link
    WHERE state = 'requested' AND (at, person, subject) > (?, ?, ?) ORDER BY at, person, subject LIMIT +?";

impl Prepared {
    fn new(PatientLinkChange { revision, changes, .. }: PatientLinkChange) -> Result<Self, serde_json::Error> {
        let personal = revision.personal.as_ref().map(serde_json::to_string).transpose()?;
        Ok(Self { changes, body: serde_json::to_string(&revision)?, personal, revision })
    }

    /// Stores the revision if the account's links are as they were, and it follows the link's latest one.
    pub(super) fn store(&self, connection: &Connection) -> Result<(), Refusal> {
        let PatientLink { person, subject, revision: number, state, updated_at, .. } = &self.revision;
        let stored = connection.prepare_cached(PUT)?.execute(named_params! {
            ":person": person.as_bytes(),
            ":subject": subject,
            ":number": number,
            ":state": state.as_str(),
            ":at": instant(*updated_at),
            ":body": self.body,
            ":personal": self.personal,
            ":changes": self.changes,
        })?;
        if stored == 0 {
            return Err(Refusal::Stale);
        }
        connection.prepare_cached(SUPERSEDE)?.execute(params![person.as_bytes(), subject, number])?;
        Ok(())
    }
}

/// Reads the link whose open and personal part are a row's columns.
fn link(row: &Row<'_>) -> rusqlite::Result<PatientLink> {
    let personal = if row.get_ref(1)? == ValueRef::Null { None } else { Some(json(row, 1)?) };
    Ok(PatientLink { personal, ..json(row, 0)? })
}

#[async_trait]
impl PatientLinks for SqliteLedger {
    async fn put_patient_link(&self, change: PatientLinkChange) -> Result<(), PatientLinkError> {
        let country = change.revision.country;
        let prepared = Prepared::new(change).map_err(|error| unavailable(country, &error))?;
        match self.write(country, Task::PatientLink(Box::new(prepared))).await {
            Ok(_) => Ok(()),
            Err(CommitError::Stale) => Err(PatientLinkError::Stale),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(refusal) => Err(unavailable(country, &refusal).into()),
        }
    }

    async fn account_links(&self, country: CountryCode, subject: &str) -> Result<AccountLinks, Unavailable> {
        let links = |connection: &Connection| {
            let mut select = connection.prepare_cached(OF_ACCOUNT)?;
            let (mut found, mut of_account) = (select.query([subject])?, AccountLinks::default());
            while let Some(row) = found.next()? {
                of_account.changes = row.get(2)?;
                if row.get_ref(0)? != ValueRef::Null {
                    of_account.links.push(link(row)?);
                }
            }
            Ok(of_account)
        };
        self.ask(country, links).await
    }

    async fn patient_link(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
    ) -> Result<Option<PatientLink>, Unavailable> {
        let latest = |connection: &Connection| {
            connection.prepare_cached(LATEST)?.query_row(params![person.as_bytes(), subject], link).optional()
        };
        self.ask(country, latest).await
    }

    async fn person_links(
        &self,
        country: CountryCode,
        person: Uuid,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        // No subject is empty.
        let after = after.unwrap_or_default().to_owned();
        let links = move |connection: &Connection| {
            let mut select = connection.prepare_cached(OF_PERSON)?;
            select.query_map(params![person.as_bytes(), after, rows(limit)], link)?.collect()
        };
        self.ask_long(country, links).await
    }

    async fn patient_link_history(
        &self,
        country: CountryCode,
        person: Uuid,
        subject: &str,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        let subject = subject.to_owned();
        let history = move |connection: &Connection| {
            let mut select = connection.prepare_cached(HISTORY)?;
            select.query_map(params![person.as_bytes(), subject, after, rows(limit)], link)?.collect()
        };
        self.ask_long(country, history).await
    }

    async fn requested_links(
        &self,
        country: CountryCode,
        after: Option<&RequestPosition>,
        limit: usize,
    ) -> Result<Vec<PatientLink>, Unavailable> {
        let (at, person, subject) = after.map_or((i64::MIN, Uuid::nil(), String::new()), |after| {
            (instant(after.at), after.person, after.subject.clone())
        });
        let links = move |connection: &Connection| {
            let mut select = connection.prepare_cached(REQUESTED)?;
            select.query_map(params![at, person.as_bytes(), subject, rows(limit)], link)?.collect()
        };
        self.ask_long(country, links).await
    }
}
