//! Records which patients a caller was shown. What staff are shown must be recorded, except one
//! appointment: care goes first.

use crate::model::{CountryCode, PatientRead, ReadOperation, Reading, Role};
use crate::people::{Access, AccessControl};
use crate::ports::ReadLogUnavailable;

impl AccessControl {
    /// Records that the caller is shown data of these patients.
    ///
    /// # Errors
    /// Returns an error if the reading is not recorded, and must be because the caller is not a patient.
    pub(crate) async fn record(
        &self,
        country: CountryCode,
        access: &Access,
        operation: ReadOperation,
        patients: Vec<PatientRead>,
    ) -> Result<(), ReadLogUnavailable> {
        let Some(log) = &self.read_log else { return Ok(()) };
        let must_be_recorded = access.role != Role::Patient && operation.must_be_recorded();
        if must_be_recorded {
            log.ready(country).await?;
        }
        let reading = Reading {
            at: self.clock.now(),
            subject: access.subject.clone(),
            role: access.role,
            operation,
            request_id: access.request_id.clone(),
            patients,
        };
        let Err(error) = log.record(country, reading).await else { return Ok(()) };
        if must_be_recorded {
            return Err(error);
        }
        tracing::error!(%country, %error, "a reading is not recorded");
        metrics::counter!("citas_readings_lost_total", "country" => country.to_string()).increment(1);
        Ok(())
    }
}
