//! The claims of an appointment: cells of a grid in UTC, so fine that two overlapping appointments of one person always
//! share a cell.

use crate::Claim;
use crate::clock::push_utc;

impl Claim {
    /// Creates a claim with one place that reveals nothing about the patient.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), places: 1, personal: false }
    }

    /// Sets the number of live appointments that may hold the key at once, this one included.
    #[must_use]
    pub fn with_places(self, places: u16) -> Self {
        Self { places, ..self }
    }

    /// Marks the claim as one that reveals something about the patient.
    #[must_use]
    pub fn personal(self) -> Self {
        Self { personal: true, ..self }
    }
}

/// Returns the claims on one holder's time, for example `doctor/45678/2026-12-01T14:15Z`: one for each cell of `grid`
/// minutes that the `minutes` from `start` (Unix time, in seconds) touch.
pub fn claims(holder: &str, start: i64, minutes: u16, grid: u16) -> impl Iterator<Item = Claim> + '_ {
    let cell = i64::from(grid.max(1)) * 60;
    let first = start.div_euclid(cell);
    let end = start + i64::from(minutes) * 60;
    let cells = first..end.div_euclid(cell) + i64::from(end.rem_euclid(cell) != 0);
    cells.map(move |index| {
        let mut key = String::with_capacity(holder.len() + 18);
        key.push_str(holder);
        key.push('/');
        push_utc(&mut key, index * cell);
        Claim::new(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unix time of 2026-12-01T14:00Z, in seconds.
    const START: i64 = 1_796_133_600;

    fn of(start: i64, minutes: u16, grid: u16) -> Vec<String> {
        claims("doctor/45678", start, minutes, grid).map(|claim| claim.key).collect()
    }

    #[test]
    fn a_claim_has_one_place_and_is_not_personal_by_default() {
        let session = Claim::new("session/1");
        assert_eq!((session.places, session.personal), (1, false));
        let session = session.with_places(10).personal();
        assert_eq!((session.key.as_str(), session.places, session.personal), ("session/1", 10, true));
    }

    #[test]
    fn an_appointment_claims_each_cell_it_touches() {
        assert_eq!(of(START + 900, 30, 15), ["doctor/45678/2026-12-01T14:15Z", "doctor/45678/2026-12-01T14:30Z"]);
        assert_eq!(of(START, 20, 10).len(), 2);
        assert_eq!(of(START, 30, 10).len(), 3);
    }

    #[test]
    fn a_start_off_the_grid_claims_the_cell_it_falls_in() {
        let off = of(START + 300, 30, 15);
        assert_eq!(off.len(), 3);
        assert_eq!(off[0], "doctor/45678/2026-12-01T14:00Z");
    }

    #[test]
    fn lengths_that_overlap_share_a_cell() {
        for offset in [10, 20] {
            let long = of(START, 30, 10);
            let short = of(START + offset * 60, 20, 10);
            assert!(short.iter().any(|cell| long.contains(cell)), "{offset}");
        }
        assert!(!of(START, 30, 10).contains(&of(START + 1800, 20, 10)[0]));
    }
}
