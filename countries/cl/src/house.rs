//! House rules: opening hours, lengths, and deadlines for changes. They are the platform's own decisions, not law.

use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::{Context, ZoneClock};

use crate::comunas::{self, ZONES};
use crate::holidays::{EXTRA_DAYS, HOLIDAYS};

/// ISO 3166-1 code, and the first part of every violation code.
pub const COUNTRY: &str = "cl";

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 24;

/// Length of an appointment in person: half an hour, on the hour or the half hour.
const IN_PERSON: Length = Length { minutes: 30, every: 30 };

/// Length of a remote appointment: 20 minutes, every 20 minutes from the hour.
const REMOTE: Length = Length { minutes: 20, every: 20 };

/// Chile's rules of date and time. The claim grid is so fine that overlapping appointments of either length share a
/// claim.
pub const SCHEDULE: Schedule = Schedule {
    country: COUNTRY,
    week: Week {
        weekdays: Hours { opens: Time::new(8, 0), closes: Time::new(20, 0) },
        saturday: Hours { opens: Time::new(9, 0), closes: Time::new(14, 0) },
    },
    holidays: &[HOLIDAYS, EXTRA_DAYS],
    lead_minutes: 60,
    horizon_days: 120,
    claim_minutes: 10,
};

/// Returns the zone of the comuna in which the patient will be, or `None` if the comuna is unknown.
pub fn zone(request: Fields) -> Option<&'static str> {
    let comuna = comunas::find(request.text("/comuna")?)?;
    Some(comuna.zone)
}

/// Returns the clock for the dates and times of the request. A request with an unknown comuna is refused anyway; the
/// most common clock then finds its other violations.
pub fn clock<'a>(context: &'a Context, request: Fields) -> &'a ZoneClock {
    let clock = context.clock(zone(request).unwrap_or(ZONES[0]));
    clock.expect("the host gives a clock for each zone of the descriptor")
}

/// Returns the length of an appointment with the request's modality; in person unless it says otherwise.
pub fn length(request: Fields) -> Length {
    match request.text("/modality") {
        Some("remota" | "telemedicina") => REMOTE,
        _ => IN_PERSON,
    }
}

/// Returns everything that determines when this appointment may take place.
pub fn visit<'a>(context: &'a Context, clock: &'a ZoneClock, request: Fields<'a>) -> Visit<'a> {
    Visit { context, clock, place: request.text("/comuna").unwrap_or_default(), length: length(request), urgent: false }
}
