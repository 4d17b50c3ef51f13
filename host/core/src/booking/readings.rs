//! The read log: records which patients a caller was shown, and searches the record. A search, and a list for staff, fail if
//! they cannot be recorded. One appointment is shown all the same, because care goes first.

use std::sync::Arc;

use jiff::Timestamp;

use crate::booking::filters::{self, Spellings};
use crate::booking::{Booking, BookingError};
use crate::model::{
    Caller, CountryCode, Forbidden, PatientRead, READINGS_KEPT, ReadOperation, Relation, Revision, Role, Scope,
};
use crate::people::Access;
use crate::ports::{ReadLog, ReadLogUnavailable, ReadPage, ReadQuery};

/// A search of the read log.
#[derive(Clone, Debug, Default)]
pub struct ReadSearch {
    /// Patient whose data was read, as the caller spells the key.
    pub patient: Option<String>,
    /// Subject of the token that read.
    pub actor: Option<String>,
    /// Earliest time, included.
    pub from: Option<Timestamp>,
    /// Latest time, excluded.
    pub to: Option<Timestamp>,
    /// Position after which the page begins.
    pub after: Option<String>,
    /// Maximum number of readings.
    pub limit: usize,
}

impl Booking {
    /// Records readings in this log. Without it they are not recorded.
    #[must_use]
    pub fn logging_reads(mut self, log: Arc<dyn ReadLog>) -> Self {
        self.access_control.read_log = Some(log);
        self
    }

    /// Returns a page of the read log, the latest reading first. Staff and the platform search by patient or actor. Patients whose
    /// identity is verified find the readings of their own data.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn readings(
        &self,
        caller: &Caller,
        country: CountryCode,
        search: ReadSearch,
    ) -> Result<ReadPage, BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Read).await?;
        let ReadSearch { patient, actor: subject, from, to, after, limit } = search;
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(BookingError::NoSuchTime("`from` must be before `to`"));
        }
        let key = match patient {
            Some(_) => {
                let spelt = Spellings { patient, ..Spellings::default() };
                let keys = self.decider.catalogue.executor().run(country, move || filters::keys(&rules, &spelt));
                keys.await??.patient
            }
            None => None,
        };
        let patient = searched(&access, country, key, subject.as_deref())?;
        if patient.is_none() && subject.is_none() {
            return Err(BookingError::ReadingsOfAll);
        }
        let no_log = || ReadLogUnavailable { country, cause: "this host keeps none".to_owned() };
        let log = self.access_control.read_log.as_ref().ok_or_else(no_log)?;
        let from = from.unwrap_or(Timestamp::MIN).max(self.clock.now() - READINGS_KEPT);
        let read = patient.map(|patient| PatientRead {
            person: self.decider.names.patient(country, &patient),
            reason: access.reason(&patient),
            appointments: Vec::new(),
        });
        let person = read.as_ref().map(|read| read.person);
        let query = ReadQuery { person, subject, from, to: to.unwrap_or(Timestamp::MAX), after, limit };
        let page = log.readings(country, &query).await?;
        let read = read.into_iter().collect();
        self.access_control.record(country, &access, ReadOperation::ReadLog, read).await?;
        Ok(page)
    }

    /// Records that the caller is shown these appointments.
    pub(super) async fn log_shown<'a>(
        &self,
        access: &Access,
        operation: ReadOperation,
        country: CountryCode,
        shown: impl IntoIterator<Item = &'a Revision>,
    ) -> Result<(), BookingError> {
        let mut patients: Vec<PatientRead> = Vec::new();
        for revision in shown {
            let (person, id) = (revision.person, revision.appointment.id);
            match patients.iter_mut().find(|patient| patient.person == person) {
                Some(patient) if patient.appointments.last() == Some(&id) => {}
                Some(patient) => patient.appointments.push(id),
                None => {
                    let reason = access.reason(&revision.appointment.patient);
                    patients.push(PatientRead { person, reason, appointments: vec![id] });
                }
            }
        }
        if patients.is_empty() {
            return Ok(());
        }
        Ok(self.access_control.record(country, access, operation, patients).await?)
    }
}

/// Returns the key of the patient whose readings the caller may search; `None` for those of every patient.
pub(super) fn searched(
    access: &Access,
    country: CountryCode,
    key: Option<String>,
    actor: Option<&str>,
) -> Result<Option<String>, Forbidden> {
    if access.role != Role::Patient {
        let is_limited = access.hospitals.is_some();
        let refused = || Forbidden(format!("the read log is for the staff of all hospitals of `{country}`"));
        return if is_limited { Err(refused()) } else { Ok(key) };
    }
    let mut own = access.ties.iter().filter(|tie| tie.relation == Relation::Oneself).map(|tie| &tie.patient);
    let found = own.find(|own| key.as_ref().is_none_or(|key| key == *own));
    let is_own = actor.is_none_or(|actor| actor == access.subject);
    let refused = || Forbidden("patients see the readings of their own data, with a verified identity".to_owned());
    found.filter(|_| is_own).cloned().map(Some).ok_or_else(refused)
}
