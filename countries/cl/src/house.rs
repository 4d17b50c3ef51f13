//! House rules: when one may be seen, and until when one may change it. The platform's own decisions, no law.

use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::{Context, ZoneClock};

use crate::comunas::{self, ZONES};
use crate::holidays::{EXTRA_DAYS, HOLIDAYS};

/// ISO 3166-1 code, and the first part of every code of a violation.
pub const COUNTRY: &str = "cl";

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 24;

/// In person: half an hour, on the hour or the half.
const IN_PERSON: Length = Length { minutes: 30, every: 30 };

/// From afar: a third of an hour.
const REMOTE: Length = Length { minutes: 20, every: 20 };

/// Chile's rules of date and time. Claims are so fine that the two lengths cannot overlap unseen.
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

/// The zone of the comuna where the patient will be; none if the comuna is unknown.
pub fn zone(request: Fields) -> Option<&'static str> {
    let comuna = comunas::find(request.text("/comuna")?)?;
    Some(comuna.zone)
}

/// The clock that dates and times are read by. A request whose comuna is unknown is refused for that; until it is
/// known, the commonest clock tells what else is wrong.
pub fn clock<'a>(context: &'a Context, request: Fields) -> &'a ZoneClock {
    let clock = context.clock(zone(request).unwrap_or(ZONES[0]));
    clock.expect("the host gives a clock for each zone of the descriptor")
}

/// How long an appointment of this modality lasts; in person unless it says otherwise.
pub fn length(request: Fields) -> Length {
    match request.text("/modality") {
        Some("remota" | "telemedicina") => REMOTE,
        _ => IN_PERSON,
    }
}

/// What decides when this appointment may be.
pub fn visit<'a>(context: &'a Context, clock: &'a ZoneClock, request: Fields<'a>) -> Visit<'a> {
    Visit { context, clock, place: request.text("/comuna").unwrap_or_default(), length: length(request), urgent: false }
}
