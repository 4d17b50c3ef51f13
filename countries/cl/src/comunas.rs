//! Chile's comunas by CUT code, and the time zone of each.

use citas_kit::Violation;
use citas_kit::codes::CodeList;
use citas_kit::fields::Fields;

/// Comunas with their zones, sorted by code. The source is in `data/SOURCES.md`.
const COMUNAS: CodeList = CodeList::new(include_str!("../data/comunas.csv"));

/// All zones of Chile, the most common first.
pub const ZONES: [&str; 4] = ["America/Santiago", "Pacific/Easter", "America/Punta_Arenas", "America/Coyhaique"];

/// A comuna's name and time zone.
pub struct Comuna {
    pub name: &'static str,
    pub zone: &'static str,
}

/// Returns the comuna with this code.
pub fn find(cut: &str) -> Option<Comuna> {
    let (name, zone) = COMUNAS.find(cut)?.split_once(',')?;
    Some(Comuna { name, zone })
}

/// Returns a violation if the request names no comuna of Chile.
pub fn unknown(request: Fields) -> Option<Violation> {
    let cut = request.text("/comuna").unwrap_or_default();
    find(cut).is_none().then(|| Violation::new("/comuna", "cl.comuna.unknown").with("comuna", cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_sorted() {
        let codes: Vec<_> = COMUNAS.rows().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), 346);
        assert!(codes.is_sorted_by(|one, next| one < next));
        assert!(codes.iter().all(|code| code.len() == 5));
    }

    #[test]
    fn every_comuna_has_a_zone_that_the_host_is_told_of() {
        for (code, _) in COMUNAS.rows() {
            let comuna = find(code).expect(code);
            assert!(ZONES.contains(&comuna.zone), "{code}");
        }
    }

    #[test]
    fn zones_go_by_island_and_region() {
        let zone = |cut| find(cut).map(|comuna| comuna.zone);
        assert_eq!(zone("13101"), Some("America/Santiago"));
        assert_eq!(zone("05201"), Some("Pacific/Easter"));
        assert_eq!(zone("11101"), Some("America/Coyhaique"));
        assert_eq!(zone("12101"), Some("America/Punta_Arenas"));
        assert_eq!(zone("99999"), None);
    }
}
