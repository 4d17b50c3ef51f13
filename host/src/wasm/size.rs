//! Sizes of a call's input, in bytes of host memory.

use citas_core::model::{Appointment, Field, Value};
use citas_core::ports::Fault;

use super::limits::INPUT_BYTES;

/// Size of a leaf without its texts, in bytes. The engine counts the leaves of a result with the same size.
const LEAF: usize = 56;

/// Returns the memory that leaves take, in bytes.
pub(super) fn weight(fields: &[Field]) -> usize {
    fields.iter().map(|field| LEAF + field.path.len() + text_length(&field.value)).sum()
}

fn text_length(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Decimal(text) => text.len(),
        Value::Texts(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
        Value::Integer(_) | Value::Flag(_) => 0,
    }
}

/// Refuses leaves that are too large for one call.
pub(super) fn check(fields: &[Field]) -> Result<(), Fault> {
    if weight(fields) > INPUT_BYTES { Err(Fault::InputTooLarge { limit: INPUT_BYTES }) } else { Ok(()) }
}

/// Refuses appointments that are too large for one call. A single appointment always fits.
pub(super) fn check_all(appointments: &[&Appointment]) -> Result<(), Fault> {
    if fitting(appointments) < appointments.len() {
        return Err(Fault::InputTooLarge { limit: INPUT_BYTES });
    }
    Ok(())
}

/// Returns the number of appointments, from the first on, that fit one call, at least one.
pub(super) fn fitting(appointments: &[&Appointment]) -> usize {
    let mut weighed = 0;
    let fitting = appointments.iter().take_while(|appointment| {
        weighed += weight(&appointment.attributes);
        weighed <= INPUT_BYTES
    });
    fitting.count().max(1).min(appointments.len())
}
