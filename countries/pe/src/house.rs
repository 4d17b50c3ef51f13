//! House rules: opening hours, lengths, and deadlines for changes. They are the platform's own decisions, not law.

use citas_kit::civil::Time;
use citas_kit::fields::Fields;
use citas_kit::schedule::{Hours, Length, Schedule, Visit, Week};
use citas_kit::{Context, ZoneClock};

use crate::emergency;
use crate::holidays::HOLIDAYS;

/// ISO 3166-1 code, and the first part of every violation code.
pub const COUNTRY: &str = "pe";

/// Peru's time zone. Its offset is the same all year.
pub const ZONE: &str = "America/Lima";

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 2;

/// Length of every appointment: half an hour, from any quarter hour.
pub const LENGTH: Length = Length { minutes: 30, every: 15 };

/// Opening hours from Monday to Saturday.
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

/// Returns the clock for dates and times.
pub fn clock(context: &Context) -> &ZoneClock {
    let clock = context.clock(ZONE);
    clock.expect("the host gives a clock for each zone of the descriptor")
}

/// Returns everything that determines when this appointment may take place.
pub fn visit<'a>(context: &'a Context, request: Fields<'a>) -> Visit<'a> {
    Visit {
        context,
        clock: clock(context),
        place: request.text("/district").unwrap_or_default(),
        length: LENGTH,
        urgent: emergency::is_recorded(context, request),
    }
}
