//! Privacy requests: one row each, with the texts in a column of their own, which becomes NULL when the person is erased.
//! Implements the port [`PrivacyRequests`].

use async_trait::async_trait;
use citas_core::model::{CountryCode, PrivacyRequest, PrivacyTexts};
use citas_core::ports::{CommitError, PrivacyError, PrivacyQuery, PrivacyRequests, Unavailable};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::change::Refusal;
use super::reads::json;
use super::schema::instant;
use super::writer::Task;
use super::{SqliteLedger, unavailable};

/// A revision of a privacy request with its JSON already serialized.
pub(super) struct Prepared {
    request: PrivacyRequest,
    body: String,
    personal: Option<String>,
}

/// Stores a revision if it follows the one before.
const PUT: &str = "
    INSERT INTO privacy_request (id, number, state, due_at, person, owner, body, personal)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
    WHERE ?2 = 1 + coalesce((SELECT number FROM privacy_request WHERE id = ?1), 0)
    ON CONFLICT (id) DO UPDATE SET
        number = excluded.number, state = excluded.state, due_at = excluded.due_at, body = excluded.body,
        personal = excluded.personal";

const ONE: &str = "SELECT body, personal FROM privacy_request WHERE id = ?";

/// Returns the statement of a list whose first filter is this one.
pub(super) fn list_sql(filter: Option<&str>) -> String {
    let filter = filter.map_or_else(|| "?1 IS NULL".to_owned(), |column| format!("{column} = ?1"));
    format!("SELECT body, personal FROM privacy_request WHERE {filter} AND (due_at, id) > (?2, ?3) ORDER BY due_at, id")
}

impl Prepared {
    fn new(mut request: PrivacyRequest) -> Result<Self, serde_json::Error> {
        let personal = request.texts.take().map(|texts| serde_json::to_string(&texts)).transpose()?;
        let body = serde_json::to_string(&request)?;
        Ok(Self { request, body, personal })
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), Refusal> {
        let PrivacyRequest { id, person, owner, due_at, .. } = &self.request;
        let (number, state) = (self.request.revision(), self.request.state().as_str());
        let (id, due_at, person) = (id.as_bytes(), instant(*due_at), person.as_bytes());
        let values = params![id, number, state, due_at, person, owner, self.body, self.personal];
        let stored = connection.prepare_cached(PUT)?.execute(values)?;
        if stored == 1 { Ok(()) } else { Err(Refusal::Stale) }
    }
}

fn request(row: &Row<'_>) -> rusqlite::Result<PrivacyRequest> {
    let request: PrivacyRequest = json(row, 0)?;
    let is_erased = row.get_ref(1)? == rusqlite::types::ValueRef::Null;
    let texts: Option<PrivacyTexts> = if is_erased { None } else { Some(json(row, 1)?) };
    Ok(PrivacyRequest { texts, ..request })
}

fn list(connection: &Connection, query: &PrivacyQuery) -> rusqlite::Result<Vec<PrivacyRequest>> {
    let (filter, key) = match query {
        PrivacyQuery { owner: Some(owner), .. } => (Some("owner"), Value::from(owner.clone())),
        PrivacyQuery { person: Some(person), .. } => (Some("person"), Value::from(person.as_bytes().to_vec())),
        PrivacyQuery { state: Some(state), .. } => (Some("state"), Value::from(state.as_str().to_owned())),
        _ => (None, Value::Null),
    };
    let (due_at, id) = query.after.map_or((i64::MIN, Uuid::nil()), |(due_at, id)| (instant(due_at), id));
    let mut select = connection.prepare_cached(&list_sql(filter))?;
    let mut rows = select.query(params![key, due_at, id.as_bytes()])?;
    let mut found = Vec::new();
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let request = request(row)?;
        if query.due_before.is_some_and(|before| request.due_at >= before) {
            break;
        }
        if query.matches(&request) {
            found.push(request);
        }
    }
    Ok(found)
}

#[async_trait]
impl PrivacyRequests for SqliteLedger {
    async fn put_privacy_request(&self, request: PrivacyRequest) -> Result<(), PrivacyError> {
        let country = request.country;
        let prepared = Prepared::new(request).map_err(|error| unavailable(country, &error))?;
        match self.write(country, Task::Privacy(Box::new(prepared))).await {
            Ok(_) => Ok(()),
            Err(CommitError::Stale) => Err(PrivacyError::Stale),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(refusal) => Err(unavailable(country, &refusal).into()),
        }
    }

    async fn privacy_request(&self, country: CountryCode, id: Uuid) -> Result<Option<PrivacyRequest>, Unavailable> {
        let one =
            |connection: &Connection| connection.prepare_cached(ONE)?.query_row([id.as_bytes()], request).optional();
        self.ask(country, one).await
    }

    async fn privacy_requests(
        &self,
        country: CountryCode,
        query: &PrivacyQuery,
    ) -> Result<Vec<PrivacyRequest>, Unavailable> {
        let query = query.clone();
        self.ask_long(country, move |connection| list(connection, &query)).await
    }
}
