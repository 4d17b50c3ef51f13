//! Holds a plan to the contract. What the rules answer is stored as it is, so what some ledger could not keep is refused
//! before anything is.

use std::collections::HashSet;

use crate::appointment::Slot;
use crate::rules::{Fault, LONGEST_KEY, MOST_CLAIMS, MOST_EVENTS, Offer, Plan, Verdict};

/// A verdict that can be acted upon. Who is not live holds nothing.
pub(crate) fn judged(verdict: Verdict) -> Result<Verdict, Fault> {
    let Ok(mut plan) = verdict else { return Ok(verdict) };
    if let Some(objection) = objection(&plan) {
        return Err(Fault::BadAnswer(objection));
    }
    if !plan.phase.is_live() {
        plan.claims.clear();
    }
    Ok(Ok(plan))
}

fn objection(plan: &Plan) -> Option<String> {
    about_claims(&plan.claims)
        .or_else(|| about_keys(plan))
        .or_else(|| about_attributes(plan))
        .or_else(|| about_events(&plan.events))
        .or_else(|| plan.slot.as_ref().filter(|slot| slot.minutes == 0).map(|_| "a slot of 0 minutes".into()))
}

fn about_claims(claims: &[String]) -> Option<String> {
    if claims.len() > MOST_CLAIMS {
        return Some(format!("a plan with {} claims, and {MOST_CLAIMS} are allowed", claims.len()));
    }
    if !distinct(claims.iter().map(String::as_str)) || !claims.iter().all(|claim| is_key(claim)) {
        return Some(format!("a plan whose claims are empty, longer than {LONGEST_KEY} bytes or not distinct"));
    }
    None
}

fn about_keys(plan: &Plan) -> Option<String> {
    let keys =
        [("patient", Some(&plan.patient)), ("doctor", plan.doctor.as_ref()), ("hospital", plan.hospital.as_ref())];
    let (name, _) = keys.into_iter().find(|(_, key)| key.is_some_and(|key| !is_key(key)))?;
    Some(format!("a plan whose `{name}` is empty or longer than {LONGEST_KEY} bytes"))
}

fn about_attributes(plan: &Plan) -> Option<String> {
    let paths = || plan.attributes.iter().map(|attribute| attribute.path.as_str());
    if let Some(path) = paths().find(|path| !path.starts_with('/')) {
        return Some(format!("an attribute at `{path}`, which is no JSON Pointer below the document"));
    }
    (!distinct(paths())).then(|| "a plan with two attributes at one path".into())
}

fn about_events(events: &[String]) -> Option<String> {
    if events.len() > MOST_EVENTS {
        return Some(format!("a plan with {} events, and {MOST_EVENTS} are allowed", events.len()));
    }
    let event = events.iter().find(|event| !is_slug(event))?;
    Some(format!("an event named `{event}`; lower-case letters and hyphens are allowed"))
}

/// Checks the offers for some openings against the contract.
///
/// # Errors
/// Says what is wrong with one of them.
pub(crate) fn check_offers(offers: &[Offer], openings: &[Slot]) -> Result<(), Fault> {
    if offers.len() > openings.len() {
        let (given, answered) = (openings.len(), offers.len());
        return Err(Fault::BadAnswer(format!("`offers` was given {given} openings and answered {answered}")));
    }
    let objection = offers.iter().find_map(|offer| about_claims(&offer.claims));
    objection.map_or(Ok(()), |objection| Err(Fault::BadAnswer(objection.replace("a plan", "an offer"))))
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len())
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    texts.into_iter().all(|text| seen.insert(text))
}

/// Lower-case letters and hyphens: what can stand in a path and in an event's name.
pub(crate) fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appointment::{Field, Phase, Value};

    fn plan() -> Plan {
        Plan {
            phase: Phase::Booked,
            slot: None,
            claims: vec!["a".into(), "b".into()],
            patient: "p".into(),
            doctor: None,
            hospital: None,
            attributes: vec![field("/a"), field("/b")],
            events: vec!["booked".into()],
        }
    }

    fn field(path: &str) -> Field {
        Field { path: path.into(), value: Value::Flag(true) }
    }

    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = plan();
        change(&mut plan);
        let Err(Fault::BadAnswer(why)) = judged(Ok(plan)) else { panic!("it was taken") };
        why
    }

    #[test]
    fn a_plan_that_can_be_kept_is_taken_as_it_is() {
        assert_eq!(judged(Ok(plan())), Ok(Ok(plan())));
    }

    #[test]
    fn what_is_not_live_holds_nothing() {
        let cancelled = Plan { phase: Phase::Cancelled, ..plan() };
        let Ok(Ok(taken)) = judged(Ok(cancelled)) else { panic!("it is refused") };
        assert!(taken.claims.is_empty());
    }

    #[test]
    fn what_a_ledger_could_not_keep_is_refused() {
        let long = "x".repeat(LONGEST_KEY + 1);
        assert!(refused(|plan| plan.claims = vec![String::new()]).contains("claims are empty"));
        assert!(refused(|plan| plan.claims = vec!["a".into(), "a".into()]).contains("not distinct"));
        assert!(refused(|plan| plan.claims = vec![long.clone()]).contains("longer than"));
        assert!(refused(|plan| plan.claims = (0..=MOST_CLAIMS).map(|n| n.to_string()).collect()).contains("41 claims"));
        assert!(refused(|plan| plan.patient.clear()).contains("`patient` is empty"));
        assert!(refused(|plan| plan.doctor = Some(String::new())).contains("`doctor` is empty"));
        assert!(refused(|plan| plan.hospital = Some(long.clone())).contains("`hospital`"));
        assert!(refused(|plan| plan.attributes.push(field("/a"))).contains("two attributes at one path"));
        assert!(refused(|plan| plan.attributes.push(field("c"))).contains("`c`"));
        assert!(refused(|plan| plan.events = vec!["Booked".into()]).contains("`Booked`"));
        assert!(refused(|plan| plan.events = vec!["e".into(); MOST_EVENTS + 1]).contains("11 events"));
    }
}
