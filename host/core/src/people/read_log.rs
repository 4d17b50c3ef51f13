//! Records which patients a caller was shown. A list for staff, and links to patients, fail if they cannot be recorded. One
//! appointment is shown all the same, because care goes first.

use crate::model::{CountryCode, PatientRead, ReadOperation, Reading, Role};
use crate::people::{Access, AccessControl};
use crate::ports::ReadLogUnavailable;

impl AccessControl {
    /// Checks that a list for staff will be recorded.
    pub(crate) async fn check_read_log(&self, country: CountryCode, access: &Access) -> Result<(), ReadLogUnavailable> {
        match &self.read_log {
            Some(log) if access.role != Role::Patient => log.ready(country).await,
            _ => Ok(()),
        }
    }

    /// Records that the caller is shown data of these patients, if there are any.
    pub(crate) async fn record(
        &self,
        country: CountryCode,
        access: &Access,
        operation: ReadOperation,
        patients: Vec<PatientRead>,
    ) -> Result<(), ReadLogUnavailable> {
        let Some(log) = self.read_log.as_ref().filter(|_| !patients.is_empty()) else { return Ok(()) };
        let reading = Reading {
            at: self.clock.now(),
            subject: access.subject.clone(),
            role: access.role,
            operation,
            request_id: access.request_id.clone(),
            patients,
        };
        let Err(error) = log.record(country, reading).await else { return Ok(()) };
        if access.role != Role::Patient && operation.must_be_recorded() {
            return Err(error);
        }
        tracing::error!(%country, %error, "a reading is not recorded");
        metrics::counter!("citas_readings_lost_total", "country" => country.to_string()).increment(1);
        Ok(())
    }
}
