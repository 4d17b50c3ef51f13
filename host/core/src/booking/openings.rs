//! Openings at a place: those of the doctors' agendas, or the country's own where a doctor has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::DateTime;
use jiff::{Timestamp, ToSpan as _};

use crate::model::{AgendaRevision, Context, CountryCode, Opening, Place};
use crate::ports::{Fault, Ledger, Unavailable};
use crate::rules::LoadedRules;

/// Number of agendas that one read of the list returns.
const PAGE: usize = 500;

/// All agendas of a country, in the order of the doctors' keys.
type List = Arc<Vec<AgendaRevision>>;

/// The agendas of the countries as they were last read, each list with the stamp that it had.
#[derive(Default)]
pub(super) struct AgendaLists(Mutex<HashMap<CountryCode, (u64, List)>>);

impl AgendaLists {
    /// Returns the present agendas of a country. Reads them only if one has changed.
    pub(super) async fn all(&self, ledger: &dyn Ledger, country: CountryCode) -> Result<List, Unavailable> {
        let stamp = ledger.agenda_stamp(country).await?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&country).cloned();
        if let Some((_, list)) = known.filter(|(of, _)| *of == stamp) {
            return Ok(list);
        }
        let mut list: Vec<AgendaRevision> = Vec::new();
        loop {
            let page = ledger.agendas(country, list.last().map(|last| last.doctor.as_str()), PAGE).await?;
            let is_last = page.len() < PAGE;
            list.extend(page);
            if is_last {
                break;
            }
        }
        let list = Arc::new(list);
        // The stamp was read first. A later revision has another, so it is never missed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(country, (stamp, Arc::clone(&list)));
        Ok(list)
    }
}

/// Sources of the openings at a place.
pub(super) struct Openings {
    agendas: List,
    /// True if the country's own openings are among them.
    has_house: bool,
}

impl Openings {
    /// Returns the sources for a place: the agenda of its doctor, or else the country's own openings; without a doctor, the
    /// agendas of all doctors, and the country's openings that name none.
    pub(super) async fn at(
        place: &Place,
        ledger: &dyn Ledger,
        lists: &AgendaLists,
        country: CountryCode,
    ) -> Result<Self, Unavailable> {
        let Some(doctor) = &place.doctor else {
            return Ok(Self { agendas: lists.all(ledger, country).await?, has_house: true });
        };
        let agendas: Vec<AgendaRevision> = ledger.agenda(country, doctor).await?.into_iter().collect();
        Ok(Self { has_house: agendas.is_empty(), agendas: Arc::new(agendas) })
    }

    /// Returns true if the openings are those of an agenda alone.
    pub(super) fn are_of_an_agenda(&self) -> bool {
        !self.has_house
    }

    /// Returns the openings that start in `since` <= start < `until`, by the clocks of the place. Those of agendas are in
    /// order, and none is over.
    pub(super) fn find(
        &self,
        rules: &LoadedRules,
        context: &Context,
        place: &Place,
        since: DateTime,
        until: DateTime,
    ) -> Result<Vec<Opening>, Fault> {
        let mut openings = Vec::new();
        if self.has_house && rules.has_openings() {
            openings = rules.openings(context, place, since, until)?;
        }
        // An offer may be in another zone than its opening, where it is another day.
        let zones = rules.zones();
        let around = if zones.len() > 1 { 1.day() } else { 0.days() };
        let of = |AgendaRevision { doctor, agenda, .. }: &AgendaRevision| {
            agenda.openings(doctor, place, zones, since.saturating_sub(around), until.saturating_add(around))
        };
        let is_within = |starts_at: Timestamp| zones.iter().any(|zone| (since..until).contains(&zone.civil(starts_at)));
        let mut of_agendas: Vec<(Timestamp, Opening)> = self.agendas.iter().flat_map(of).collect();
        of_agendas.retain(|(starts_at, _)| starts_at.as_second() > context.now && is_within(*starts_at));
        of_agendas.sort_by_key(|(starts_at, _)| *starts_at);
        openings.extend(of_agendas.into_iter().map(|(_, opening)| opening));
        Ok(openings)
    }
}
