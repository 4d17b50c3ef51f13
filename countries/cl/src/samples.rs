//! A synthetic request and a fixed noon, for tests.

use citas_kit::civil::Date;
use citas_kit::testing::{civil, clock, context, leaves, stored};
use citas_kit::{Appointment, Context, Field, Shift};

/// Returns the context of a patient's request on Tuesday, 24 November 2026, 12:00 in Santiago.
pub fn noon_in_santiago() -> Context {
    let (noon, ten) = (civil("2026-11-24", "12:00"), civil("2026-11-24", "10:00"));
    // 4 April 2027, 03:00Z: the clocks of the mainland and of the island go back at the same instant.
    let april = Date::parse("2027-04-04").expect("a date").days() * 86_400 + 3 * 3600;
    let winter = |offset_minutes| Some(Shift { at: april, offset_minutes });
    context(vec![
        clock("America/Santiago", noon, -180, winter(-240)),
        clock("Pacific/Easter", ten, -300, winter(-360)),
        clock("America/Punta_Arenas", noon, -180, None),
        clock("America/Coyhaique", noon, -180, None),
    ])
}

/// Returns a plain request with these leaves changed.
pub fn request(changes: &[(&str, &str)]) -> Vec<Field> {
    let example = [
        ("/doctor", "123456"),
        ("/hospital", "109100"),
        ("/date", "2026-12-01"),
        ("/time", "09:30"),
        ("/run", "12.345.678-5"),
        ("/comuna", "13101"),
        ("/email", "ana@example.com"),
        ("/prevision/system", "fonasa"),
        ("/prevision/tramo", "A"),
        ("/modality", "presencial"),
    ];
    leaves(&example, changes)
}

/// Returns the appointment that the host stores for the plain request, booked at noon.
pub fn booked() -> Appointment {
    let noon = noon_in_santiago();
    stored(&noon, crate::booking::book(&noon, request(&[])).expect("allowed"))
}
