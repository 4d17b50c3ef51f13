//! Terms for the answers to demands about personal data (Ley 19.628 as Ley 21.719 has amended it, art. 11). Business days are those
//! of the whole country: a regional holiday counts.

use citas_kit::civil::Date;
use citas_kit::{Context, Demand};

use crate::comunas::ZONES;
use crate::house::HOUSE;

/// Calendar days for an answer.
const DAYS: i64 = 30;

/// Business days for the answer to a demand for blocking.
const BLOCKING_DAYS: u16 = 2;

/// Returns the end of the last day on which a demand may be answered, in Unix seconds, by the clocks of Santiago.
pub fn due(context: &Context, demand: Demand, received: i64) -> i64 {
    let clock = context.clock(ZONES[0]).expect("the host gives a clock for each zone of the descriptor");
    let day = Date::of(clock.civil(received)).expect("an instant is on a day");
    clock.end_of(match demand {
        Demand::Blocking => HOUSE.schedule.business_days_after(day, BLOCKING_DAYS, ""),
        _ => day.plus(DAYS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::noon_in_santiago;
    use citas_kit::clock::utc_text;

    #[test]
    fn an_answer_has_thirty_calendar_days() {
        let noon = noon_in_santiago();
        for demand in [Demand::Access, Demand::Rectification, Demand::Erasure, Demand::Objection, Demand::Portability] {
            assert_eq!(utc_text(due(&noon, demand, noon.now)), "2026-12-25T02:59Z");
        }
        let first = due(&noon, Demand::Access, noon.now);
        assert_eq!(utc_text(due(&noon, Demand::Access, first)), "2027-01-24T02:59Z", "an extension adds as many");
    }

    #[test]
    fn a_blocking_has_two_business_days() {
        let noon = noon_in_santiago();
        assert_eq!(utc_text(due(&noon, Demand::Blocking, noon.now)), "2026-11-27T02:59Z");
        // Monday, 7 December: the next day is a holiday.
        let monday = noon.now + 13 * 86_400;
        assert_eq!(utc_text(due(&noon, Demand::Blocking, monday)), "2026-12-11T02:59Z");
    }
}
