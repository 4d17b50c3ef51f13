//! Terms for the answers to demands about personal data (Ley 29733 and its regulation, DS 016-2024-JUS). They are in business days
//! of the whole country: a regional holiday counts.

use citas_kit::civil::Date;
use citas_kit::{Context, Demand};

use crate::house::{HOUSE, ZONE};

/// Business days for the answer to a demand for access.
const ACCESS_DAYS: u16 = 20;

/// Business days for the answer to any other demand.
const OTHER_DAYS: u16 = 10;

/// Returns the end of the last day on which a demand may be answered, in Unix seconds.
pub fn due(context: &Context, demand: Demand, received: i64) -> i64 {
    let clock = context.clock(ZONE).expect("the host gives a clock for each zone of the descriptor");
    let days = if demand == Demand::Access { ACCESS_DAYS } else { OTHER_DAYS };
    let day = Date::of(clock.civil(received)).expect("an instant is on a day");
    clock.end_of(HOUSE.schedule.business_days_after(day, days, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::noon_in_lima;
    use citas_kit::clock::utc_text;

    #[test]
    fn access_has_twenty_business_days_and_everything_else_ten() {
        let noon = noon_in_lima();
        // 8, 9 and 25 December are holidays.
        assert_eq!(utc_text(due(&noon, Demand::Access, noon.now)), "2026-12-25T04:59Z");
        for demand in [Demand::Rectification, Demand::Erasure, Demand::Objection, Demand::Portability, Demand::Blocking]
        {
            assert_eq!(utc_text(due(&noon, demand, noon.now)), "2026-12-11T04:59Z");
        }
    }

    #[test]
    fn an_extension_adds_the_same_term() {
        let noon = noon_in_lima();
        let first = due(&noon, Demand::Erasure, noon.now);
        assert_eq!(utc_text(due(&noon, Demand::Erasure, first)), "2026-12-25T04:59Z");
    }
}
