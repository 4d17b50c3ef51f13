//! House rules: opening hours, deadlines, limits. They are the platform's own decisions where no law is named.

use citas_kit::civil::{Date, Time};
use citas_kit::fields::Fields;
use citas_kit::house::House;
use citas_kit::quotas::Quotas;
use citas_kit::schedule::{Hours, Schedule, Visit, Week};
use citas_kit::{Context, ZoneClock};

use crate::document::Document;
use crate::holidays::{HOLIDAYS, LATER};
use crate::specialties::Specialty;

/// ISO 3166-1 code, and the first part of every violation code.
pub const COUNTRY: &str = "co";

/// Colombia's time zone. Its offset is the same all year.
pub const ZONE: &str = "America/Bogota";

/// Age of majority in years: from it on, parents no longer act for their child (Ley 27 de 1977, art. 1).
pub const ADULT_AGE: u8 = 18;

/// Hours before the start until which a patient may cancel or reschedule.
pub const CHANGE_HOURS: i64 = 24;

/// Hours that a patient has to confirm an assigned time.
const CONFIRM_HOURS: i64 = 48;

/// Hours before the start at which the time to confirm ends at the latest.
const CONFIRM_BEFORE_HOURS: i64 = 2;

/// Business days until a general appointment is due (Decreto-Ley 019 de 2012, art. 123; Resolución 1552 de 2013, art. 1).
const ASSIGN_DAYS: u16 = 3;

/// Business days until the decision on an authorisation is due.
const AUTHORISE_DAYS: u16 = 5;

/// Number of times that a patient may move an appointment.
pub const MAX_MOVES: usize = 2;

/// Number of days for which a missed appointment counts.
pub const MISSED_DAYS: i64 = 180;

/// Number of missed appointments that makes the rules refuse a request by the patient.
pub const MAX_MISSED: u8 = 2;

/// Colombia's house rules. The messages name the quotas. The time from an assignment to the start is at least three hours,
/// so there is always an hour to confirm it.
pub static HOUSE: House = House {
    schedule: Schedule {
        country: COUNTRY,
        week: Week {
            weekdays: Hours { opens: Time::new(7, 0), closes: Time::new(18, 0) },
            saturday: Hours { opens: Time::new(8, 0), closes: Time::new(13, 0) },
        },
        holidays: &[HOLIDAYS, LATER],
        lead_minutes: 180,
        horizon_days: 120,
        claim_minutes: 10,
    },
    change_hours: CHANGE_HOURS,
    arrival_hours: 2,
    reminder_hours: Some(24),
    quotas: Quotas { patient: 10, account: 20 },
    places: &["/municipality", "/specialty"],
    visit: |context, request, _| visit(context, request),
    setting: |request| Specialty::of(request).setting,
    patient: |request| Document::booked(request).map(|document| document.key()),
};

/// Returns everything that determines when this appointment may take place.
pub fn visit<'a>(context: &'a Context, request: Fields) -> Visit<'a> {
    Visit {
        context,
        clock: clock(context),
        place: request.text("/municipality").unwrap_or_default().into(),
        length: Specialty::of(request).length,
        urgent: false,
    }
}

/// Returns Colombia's clock.
pub fn clock(context: &Context) -> &ZoneClock {
    context.clock(ZONE).expect("the host gives a clock for each zone of the descriptor")
}

/// Returns the day by which staff must act on a request that is made now: assign a time, or decide on the
/// authorisation.
pub fn due(context: &Context, request: Fields) -> Option<Date> {
    let days = if Specialty::of(request).is_authorised() { AUTHORISE_DAYS } else { ASSIGN_DAYS };
    let place = request.text("/municipality").unwrap_or_default();
    Some(HOUSE.schedule.business_days_after(Date::of(clock(context).now)?, days, place))
}

/// Returns the instant until which an appointment that starts at `start` can be confirmed.
pub const fn confirm_until(now: i64, start: i64) -> i64 {
    let (usual, latest) = (now + CONFIRM_HOURS * 3600, start - CONFIRM_BEFORE_HOURS * 3600);
    if usual < latest { usual } else { latest }
}
