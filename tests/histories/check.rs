//! Checks a history against what the ledger has in the end. Each sentence that it returns is one promise that was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use citas_core::model::{AgendaRevision, Claim, Event, Plan, Pseudonyms, Revision};
use citas_core::ports::{DueWake, Taken};
use uuid::Uuid;

use super::agendas::AgendaChanges;
use super::clinic::{self, plan_of};
use super::desk::{Answer, Entry, History, Request, subject};
use super::holding::Holds;
use crate::support::appointments::pe;

/// Content of a ledger, of one clinic or of all.
#[derive(Default)]
pub struct Kept {
    /// Revisions in the order of their commits.
    pub order: Vec<(Uuid, u32)>,
    /// Histories of the appointments.
    pub revisions: BTreeMap<Uuid, Vec<Revision>>,
    /// Events of the outbox.
    pub events: Vec<Event>,
    /// Places that are taken.
    pub taken: Taken,
    /// Actions that are scheduled.
    pub due: Vec<DueWake>,
    /// Histories of the agendas.
    pub agendas: BTreeMap<String, Vec<AgendaRevision>>,
}

impl Kept {
    /// Returns what is kept of one clinic.
    pub fn of(&self, clinic: &str) -> Self {
        let is_ours = |revisions: &[Revision]| {
            revisions.first().is_some_and(|first| first.appointment.hospital.as_deref() == Some(clinic))
        };
        let ours = self.revisions.iter().filter(|(_, revisions)| is_ours(revisions));
        let revisions: BTreeMap<_, _> = ours.map(|(id, revisions)| (*id, revisions.clone())).collect();
        let held = revisions.values().flatten().flat_map(|revision| &revision.claims);
        let keys: HashSet<&str> = held.map(|held| held.key.as_str()).collect();
        Self {
            order: self.order.iter().filter(|(id, _)| revisions.contains_key(id)).copied().collect(),
            events: self.events.iter().filter(|event| revisions.contains_key(&event.subject)).cloned().collect(),
            taken: self
                .taken
                .iter()
                .filter(|(key, _)| keys.contains(key.as_str()))
                .map(|(key, held)| (key.clone(), held.clone()))
                .collect(),
            agendas: self
                .agendas
                .iter()
                .filter(|(doctor, _)| doctor.split('.').next() == Some(clinic))
                .map(|(doctor, stored)| (doctor.clone(), stored.clone()))
                .collect(),
            due: self.due.iter().filter(|due| revisions.contains_key(&due.appointment)).cloned().collect(),
            revisions,
        }
    }

    fn revision(&self, (id, number): (Uuid, u32)) -> Option<&Revision> {
        self.revisions.get(&id)?.iter().find(|revision| revision.appointment.revision == number)
    }
}

/// A promise that is broken, if there is one.
pub type Broken = Result<(), String>;

/// Checks a history.
pub fn check(history: &History, kept: &Kept, names: &Pseudonyms) -> Broken {
    let made = made(history)?;
    no_acknowledged_write_is_lost(history, kept)?;
    revisions_have_no_gap(kept)?;
    nothing_is_stored_that_was_refused(history, kept, &made)?;
    each_event_is_in_the_outbox_once(kept)?;
    each_scheduled_action_is_kept(kept)?;
    each_revision_has_the_claims_of_its_plan(kept, names)?;
    commits_are_in_the_order_of_their_answers(kept, &made)?;
    let states = replay(kept, names)?;
    let holds = Holds::of(history);
    holds.check(kept, &made)?;
    AgendaChanges::of(history).check(kept, &made, &holds)?;
    if holds.has_unknown() {
        return Ok(());
    }
    each_refusal_has_a_reason(history, kept, &made, &states, &holds, names)
}

/// Stamps of the request that made a revision and of its answer.
pub type Made = HashMap<(Uuid, u32), (u64, u64)>;

/// Returns who made which revision. Two requests make one revision only if they have one key, and a request that must follow a
/// revision makes the next one.
fn made(history: &History) -> Result<Made, String> {
    let mut made = Made::new();
    let mut of_keys: HashMap<(usize, usize), (Uuid, u32)> = HashMap::new();
    for Entry { asked, answered, request, about, answer, .. } in &history.entries {
        let revisions: Vec<(Uuid, u32)> = match answer {
            Answer::Stored(revision) => vec![(revision.appointment.id, revision.appointment.revision)],
            Answer::Woken(done) => done.clone(),
            _ => continue,
        };
        let key =
            if let Request::Book { account, key: Some(key), .. } = request { Some((*account, *key)) } else { None };
        for revision in revisions {
            if let Some(key) = key
                && *of_keys.entry(key).or_insert(revision) != revision
            {
                return Err(format!("the requests with key {key:?} made two appointments"));
            }
            if let Some((_, Some(seen))) = about
                && revision.1 != seen + 1
            {
                return Err(format!("a request that must follow revision {seen} made {revision:?}"));
            }
            let stamps = made.entry(revision).or_insert((*asked, *answered));
            if *stamps != (*asked, *answered) {
                if key.is_none() {
                    return Err(format!("two requests made {revision:?}"));
                }
                // Some request with the key made it, before any of them was answered.
                *stamps = (stamps.0.min(*asked), stamps.1.min(*answered));
            }
        }
    }
    Ok(made)
}

fn no_acknowledged_write_is_lost(history: &History, kept: &Kept) -> Broken {
    for entry in &history.entries {
        match &entry.answer {
            Answer::Stored(told) => {
                let place = (told.appointment.id, told.appointment.revision);
                if kept.revision(place) != Some(told) {
                    return Err(format!("an acknowledged write is lost: {place:?}"));
                }
            }
            Answer::Woken(done) => {
                let is_kept = |place: &(Uuid, u32)| {
                    kept.revision(*place).is_some_and(|revision| revision.provenance.action == "lapse")
                };
                if let Some(lost) = done.iter().find(|place| !is_kept(place)) {
                    return Err(format!("an acknowledged action is lost: {lost:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn revisions_have_no_gap(kept: &Kept) -> Broken {
    for (id, revisions) in &kept.revisions {
        let numbers = revisions.iter().map(|revision| revision.appointment.revision);
        if !numbers.clone().eq((1..).take(revisions.len())) {
            return Err(format!("the revisions of {id} have a gap: {:?}", numbers.collect::<Vec<_>>()));
        }
    }
    Ok(())
}

/// A request without an answer was done or not. One for scheduled actions may do several.
fn nothing_is_stored_that_was_refused(history: &History, kept: &Kept, made: &Made) -> Broken {
    let unanswered = || history.entries.iter().filter(|entry| matches!(entry.answer, Answer::Unknown(_)));
    let may_wake = unanswered().any(|entry| matches!(entry.request, Request::Wake));
    let place = |kept: &Revision| (kept.appointment.id, kept.appointment.revision);
    let is_unasked = |kept: &&Revision| {
        let is_woken = may_wake && kept.provenance.action == "lapse";
        !is_woken && !made.contains_key(&place(kept))
    };
    let unasked: Vec<_> = kept.revisions.values().flatten().filter(is_unasked).map(place).collect();
    if unasked.len() > unanswered().count() { Err(format!("what was refused is stored: {unasked:?}")) } else { Ok(()) }
}

fn each_event_is_in_the_outbox_once(kept: &Kept) -> Broken {
    let ids: HashSet<Uuid> = kept.events.iter().map(|event| event.id).collect();
    if ids.len() < kept.events.len() {
        return Err("two events have one id".into());
    }
    let mut found: Vec<(Uuid, u32, &str)> =
        kept.events.iter().map(|event| (event.subject, event.data.revision, event.name())).collect();
    let of = |revision: &Revision| {
        let (id, number) = (revision.appointment.id, revision.appointment.revision);
        clinic::events(&revision.provenance.action).iter().map(move |name| (id, number, *name))
    };
    let mut expected: Vec<(Uuid, u32, &str)> = kept.revisions.values().flatten().flat_map(of).collect();
    found.sort_unstable();
    expected.sort_unstable();
    if found == expected { Ok(()) } else { Err(format!("the outbox has {found:?}, and not {expected:?}")) }
}

fn each_scheduled_action_is_kept(kept: &Kept) -> Broken {
    let latest = kept.revisions.values().filter_map(|revisions| revisions.last());
    let of = |latest: &Revision| {
        let wake = latest.appointment.wake.as_ref()?;
        Some((latest.appointment.id, latest.appointment.revision, wake.at))
    };
    let expected: BTreeSet<_> = latest.filter_map(of).collect();
    let found: BTreeSet<_> = kept.due.iter().map(|due| (due.appointment, due.revision, due.wake.at)).collect();
    if found == expected { Ok(()) } else { Err(format!("scheduled is {found:?}, and not {expected:?}")) }
}

/// Returns a claim of an appointment's plan as the ledger keeps it.
fn kept_claim(names: &Pseudonyms, patient: &str, claim: Claim, owner: Option<&str>) -> Claim {
    let personal = claim.is_about(patient);
    names.claim(pe(), Claim { personal, ..claim }, owner)
}

fn each_revision_has_the_claims_of_its_plan(kept: &Kept, names: &Pseudonyms) -> Broken {
    for revision in kept.revisions.values().flatten() {
        let Plan { claims, choices, patient, .. } = plan_of(&revision.appointment);
        let keys = |claims: &[Claim]| {
            let owner = revision.owner.as_deref();
            let kept = claims.iter().map(|claim| kept_claim(names, &patient, claim.clone(), owner).key);
            kept.collect::<BTreeSet<_>>()
        };
        let held: BTreeSet<String> = revision.claims.iter().map(|held| held.key.clone()).collect();
        let all = keys(&claims);
        let with = |choice: Vec<Claim>| all.union(&keys(&choice)).cloned().collect::<BTreeSet<_>>();
        let is_one = choices.into_iter().map(|choice| with(choice.claims)).any(|keys| keys == held);
        if !(is_one || held == all && plan_of(&revision.appointment).choices.is_empty()) {
            return Err(format!("{:?} holds other claims than its plan has: {held:?}", revision.appointment));
        }
    }
    Ok(())
}

fn commits_are_in_the_order_of_their_answers(kept: &Kept, made: &Made) -> Broken {
    let stored = kept.revisions.values().map(Vec::len).sum::<usize>();
    let distinct: HashSet<_> = kept.order.iter().collect();
    if distinct.len() != kept.order.len() || kept.order.len() != stored {
        return Err(format!("the sequence has {} of {stored} revisions", distinct.len()));
    }
    let mut latest: (u64, (Uuid, u32)) = (0, (Uuid::nil(), 0));
    for place in kept.order.iter().filter(|place| made.contains_key(place)) {
        let (asked, answered) = made[place];
        if answered < latest.0 {
            return Err(format!("{place:?} was answered before {:?} was asked for, and is stored after it", latest.1));
        }
        latest = latest.max((asked, *place));
    }
    Ok(())
}

/// Holders of each claim's places.
type Holders = BTreeMap<(String, u16), Uuid>;

/// Repeats the commits one after the other on plain maps. Returns the holders before the first commit and after each.
fn replay(kept: &Kept, names: &Pseudonyms) -> Result<Vec<Holders>, String> {
    let places = places(kept, names);
    let (mut holders, mut states, mut numbers) = (Holders::new(), vec![Holders::new()], HashMap::new());
    for place @ (id, number) in &kept.order {
        let before = numbers.insert(*id, *number).unwrap_or_default();
        if *number != before + 1 {
            return Err(format!("revision {number} of {id} is stored after revision {before}"));
        }
        holders.retain(|_, holder| holder != id);
        for held in kept.revision(*place).into_iter().flat_map(|revision| &revision.claims) {
            if held.ordinal >= places[&held.key] {
                return Err(format!(
                    "{} has {} places, and {id} has place {}",
                    held.key, places[&held.key], held.ordinal
                ));
            }
            if let Some(other) = holders.insert((held.key.clone(), held.ordinal), *id) {
                return Err(format!("place {} of {} is held by {other} and by {id}", held.ordinal, held.key));
            }
        }
        states.push(holders.clone());
    }
    let taken =
        kept.taken.iter().flat_map(|(key, held)| held.iter().map(|(ordinal, id)| ((key.clone(), *ordinal), *id)));
    let taken: Holders = taken.collect();
    if taken == holders { Ok(states) } else { Err(format!("taken is {taken:?}, and held is {holders:?}")) }
}

/// Returns the number of places of each claim.
fn places(kept: &Kept, names: &Pseudonyms) -> HashMap<String, u16> {
    let of = |revision: &Revision| {
        let Plan { claims, choices, patient, .. } = plan_of(&revision.appointment);
        let all = claims.into_iter().chain(choices.into_iter().flat_map(|choice| choice.claims));
        let kept = |claim| kept_claim(names, &patient, claim, revision.owner.as_deref());
        all.map(kept).map(|claim| (claim.key, claim.places)).collect::<Vec<_>>()
    };
    kept.revisions.values().flatten().flat_map(of).collect()
}

/// Returns the owners that the appointment may have had that a request would have made or changed.
fn owners(history: &History, kept: &Kept, holds: &Holds<'_>, entry: &Entry) -> BTreeSet<Option<String>> {
    match (&entry.request, entry.about) {
        (Request::Book { account, .. }, _) => [Some(subject(&history.clinic, *account))].into(),
        (_, None) => [holds.named(entry).map(|hold| hold.owner.clone())].into(),
        (_, Some((id, _))) => kept.revisions[&id].iter().map(|revision| revision.owner.clone()).collect(),
    }
}

/// Checks that whoever was refused a claim could not have had it at some moment of the request.
fn each_refusal_has_a_reason(
    history: &History,
    kept: &Kept,
    made: &Made,
    states: &[Holders],
    holds: &Holds<'_>,
    names: &Pseudonyms,
) -> Broken {
    let places = places(kept, names);
    for entry @ Entry { asked, answered, request, about, answer, .. } in &history.entries {
        let Answer::Taken(Some(claim)) = answer else { continue };
        // The caller knows the claim by the name that the rules gave it.
        let opaque = |owner: Option<String>| {
            let personal = Claim { personal: true, ..Claim::new(claim) };
            kept_claim(names, claim, personal, owner.as_deref()).key
        };
        let keys = owners(history, kept, holds, entry).into_iter().map(opaque).chain([claim.clone()]);
        let known: Vec<(String, u16)> =
            keys.filter_map(|key| places.get(&key).map(|count| (key.clone(), *count))).collect();
        if known.is_empty() {
            if holds.may_have(claim, (*asked, *answered)) > 0 {
                continue;
            }
            return Err(format!("{request:?} was refused {claim}, which nobody ever held"));
        }
        let is_full = |state: &Holders| {
            known.iter().any(|(key, count)| {
                let others = state.range((key.clone(), 0)..(key.clone(), u16::MAX));
                let others = others.filter(|(_, holder)| about.is_none_or(|(own, _)| own != **holder)).count();
                others + holds.may_have(key, (*asked, *answered)) >= usize::from(*count)
            })
        };
        // Commits that were answered before the request, and those that were asked for after its answer.
        let stamps = |place: &(Uuid, u32)| made.get(place).copied().unwrap_or((0, u64::MAX));
        let first = kept.order.iter().rposition(|place| stamps(place).1 < *asked).map_or(0, |last| last + 1);
        let last = kept.order.iter().position(|place| stamps(place).0 > *answered).unwrap_or(kept.order.len());
        if !states[first..=last.max(first)].iter().any(is_full) {
            return Err(format!("{request:?} was refused {claim} while it was free"));
        }
    }
    Ok(())
}
