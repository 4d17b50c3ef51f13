//! One country's appointments, read beside a host that may be running: no lock is taken, and nothing is made or written.

use std::io::{self, ErrorKind};
use std::path::Path;

use citas_core::appointment::{CountryCode, Revision};
use citas_core::ledger::{Page, Query};
use rusqlite::Connection;
use uuid::Uuid;

use super::{reads, schema};

/// What a country's file holds.
pub struct Archive(Connection);

impl Archive {
    /// The country's appointments in a data folder.
    ///
    /// # Errors
    /// When there are none, or they cannot be read.
    pub fn open(data: &Path, country: CountryCode) -> io::Result<Self> {
        let file = data.join(format!("{country}.db"));
        if !file.is_file() {
            return Err(io::Error::new(ErrorKind::NotFound, format!("there is no {}", file.display())));
        }
        schema::open_reader(&file).map(Self).map_err(io::Error::other)
    }

    /// One page, as a ledger gives it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn page(&self, query: &Query) -> io::Result<Page> {
        reads::page(&self.0, query).map_err(io::Error::other)
    }

    /// One revision of an appointment; without a number the latest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revision(&self, id: Uuid, number: Option<u32>) -> io::Result<Option<Revision>> {
        let found = match number {
            Some(number) => reads::revision(&self.0, id, number),
            None => reads::appointment(&self.0, id).map(|found| found.map(|(revision, _)| revision)),
        };
        found.map_err(io::Error::other)
    }

    /// The revision before this one; none where it is the first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn before(&self, revision: &Revision) -> io::Result<Option<Revision>> {
        match revision.appointment.revision {
            0 | 1 => Ok(None),
            number => self.revision(revision.appointment.id, Some(number - 1)),
        }
    }
}
