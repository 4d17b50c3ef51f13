//! Refuses filters of a list that no appointment could match. Their author has made a mistake, and would take an empty
//! list for the truth.

use crate::booking::BookingError;
use crate::ports::Query;
use crate::release::InForce;

/// Refuses a key that the rules give to no appointment, because it is written in another way.
pub(super) fn check_keys(rules: &InForce, query: &Query) -> Result<(), BookingError> {
    let keys = [("patient", &query.patient), ("doctor", &query.doctor), ("hospital", &query.hospital)];
    for (filter, key) in keys.into_iter().filter_map(|(filter, key)| Some((filter, key.as_deref()?))) {
        let mut fits = false;
        for rules in rules.versions() {
            fits |= rules.may_be_key(filter, key)?;
        }
        if !fits {
            return Err(BookingError::NoSuchKey { filter, examples: rules.used.example_keys(filter) });
        }
    }
    Ok(())
}

/// Narrows `from` and `to` to the day of the query, which begins and ends at another instant in each zone. Refuses a
/// range in which nothing can start.
pub(super) fn narrow(rules: &InForce, query: &mut Query) -> Result<(), BookingError> {
    if is_empty(query) {
        return Err(BookingError::NoSuchTime("`from` must be before `to`"));
    }
    let Some(date) = query.date else { return Ok(()) };
    let days = || rules.versions().flat_map(|rules| rules.days(date));
    query.from = query.from.max(days().map(|day| day.start).min());
    query.to = query.to.into_iter().chain(days().map(|day| day.end).max()).min();
    if is_empty(query) {
        return Err(BookingError::NoSuchTime("`date` must be a day between `from` and `to`"));
    }
    Ok(())
}

fn is_empty(query: &Query) -> bool {
    query.from.zip(query.to).is_some_and(|(from, to)| from >= to)
}
