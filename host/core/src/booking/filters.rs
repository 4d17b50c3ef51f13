//! Refuses filters of a list that no appointment could match. Their author has made a mistake, and would take an empty
//! list for the truth.

use crate::booking::BookingError;
use crate::model::Party;
use crate::ports::Query;
use crate::release::InForce;

/// The keys of a list's filters, as the caller spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spellings {
    /// Patient.
    pub patient: Option<String>,
    /// Doctor.
    pub doctor: Option<String>,
    /// Hospital.
    pub hospital: Option<String>,
}

/// Returns the keys that the rules give to these spellings. Refuses a spelling without a key.
pub(super) fn keys(rules: &InForce, spelt: &Spellings) -> Result<Spellings, BookingError> {
    let key = |of: Party, spelling: &Option<String>| {
        let Some(spelling) = spelling else { return Ok(None) };
        for rules in rules.versions() {
            if let Some(key) = rules.key(of, spelling)? {
                return Ok(Some(key));
            }
        }
        let filter = of.as_str();
        Err(BookingError::NoSuchKey { filter, examples: rules.used.example_keys(filter) })
    };
    Ok(Spellings {
        patient: key(Party::Patient, &spelt.patient)?,
        doctor: key(Party::Doctor, &spelt.doctor)?,
        hospital: key(Party::Hospital, &spelt.hospital)?,
    })
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
