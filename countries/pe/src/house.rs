//! House rules: when one may be seen, and until when one may change it. The platform's own decisions, no law.

use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::{Context, ZoneClock};

use crate::holidays::HOLIDAYS;

/// ISO 3166-1 code, and the first part of every code of a violation.
pub const COUNTRY: &str = "pe";

/// Peru keeps one time all year.
pub const ZONE: &str = "America/Lima";

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 2;

/// Half an hour, from any quarter hour.
pub const LENGTH: Length = Length { minutes: 30, every: 15 };

/// Monday to Saturday.
const HOURS: Hours = Hours { opens: Time::new(7, 0), closes: Time::new(20, 0) };

/// Peru's rules of date and time.
pub const SCHEDULE: Schedule = Schedule {
    country: COUNTRY,
    week: Week { weekdays: HOURS, saturday: HOURS },
    holidays: &[HOLIDAYS],
    lead_minutes: 60,
    horizon_days: 90,
    claim_minutes: 15,
};

/// The clock that dates and times are read by.
pub fn clock(context: &Context) -> &ZoneClock {
    let clock = context.clock(ZONE);
    clock.expect("the host gives a clock for each zone of the descriptor")
}

/// What decides when this appointment may be.
pub fn visit<'a>(context: &'a Context, request: Fields<'a>) -> Visit<'a> {
    Visit {
        context,
        clock: clock(context),
        place: request.text("/district").unwrap_or_default(),
        length: LENGTH,
        // Emergency care waits for no office hour (DS 027-2015-SA).
        urgent: request.flag("/emergency"),
    }
}
