//! Reads a country's file from another process than the one that writes it. Creates no file and takes no writer's lock.

use std::path::Path;

use citas_core::model::{CountryCode, Revision};
use citas_core::ports::{Page, Query, Unavailable};
use rusqlite::Connection;
use uuid::Uuid;

use super::{file_of, reads, schema, unavailable};

/// Appointments of one country, readable while a host runs on the same folder.
pub struct ReadOnlyLedger {
    country: CountryCode,
    connection: Connection,
}

impl ReadOnlyLedger {
    /// Opens the country's file; `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or was written by an older or a newer Citas.
    pub fn open(folder: &Path, country: CountryCode) -> Result<Option<Self>, Unavailable> {
        let file = file_of(folder, country);
        if !file.exists() {
            return Ok(None);
        }
        let connection = schema::open_beside(&file).map_err(|error| unavailable(country, &error))?;
        Ok(Some(Self { country, connection }))
    }

    /// Returns the latest revision.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn appointment(&self, id: Uuid) -> Result<Option<Revision>, Unavailable> {
        self.answer(reads::appointment(&self.connection, id).map(|found| found.map(|(revision, _)| revision)))
    }

    /// Returns one revision as it was.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn revision(&self, id: Uuid, number: u32) -> Result<Option<Revision>, Unavailable> {
        self.answer(reads::revision(&self.connection, id, number))
    }

    /// Returns a page of appointments.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn page(&self, query: &Query) -> Result<Page, Unavailable> {
        self.answer(reads::page(&self.connection, query))
    }

    fn answer<T>(&self, answer: rusqlite::Result<T>) -> Result<T, Unavailable> {
        answer.map_err(|error| unavailable(self.country, &error))
    }
}

#[cfg(test)]
mod tests {
    use citas_core::model::Pseudonyms;

    use super::*;

    #[test]
    fn a_file_of_another_format_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let country = "pe".parse().unwrap();
        let file = file_of(folder.path(), country);
        let writer = schema::open_writer(&file, country, &Pseudonyms::new(b"key")).unwrap();
        assert!(ReadOnlyLedger::open(folder.path(), country).unwrap().is_some());
        for (version, said) in
            [(schema::VERSION + 1, "newer Citas"), (schema::VERSION - 1, "older Citas"), (0, "which migrates it")]
        {
            writer.pragma_update(None, "user_version", version).unwrap();
            let Err(refused) = ReadOnlyLedger::open(folder.path(), country) else { panic!("it is read") };
            assert!(refused.to_string().contains(said), "{refused}");
        }
    }
}
