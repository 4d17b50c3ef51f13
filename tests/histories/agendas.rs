//! Checks the agendas of a history, and that whoever books lies in one that was in force at some moment of the request.

use std::collections::BTreeMap;

use citas_core::model::Revision;
use jiff::Timestamp;
use jiff::civil::DateTime;
use uuid::Uuid;

use super::check::{Broken, Kept, Made};
use super::clinic::start;
use super::desk::{Answer, DOCTORS, Entry, History, Request};
use super::holding::Holds;

/// A revision of an agenda: the stamps of its request and of the answer, and the starts that it opens.
struct Change<'a> {
    asked: u64,
    answered: u64,
    opens: Vec<DateTime>,
    /// Time at which it was stored, and the appointments that the answer names.
    stored_at: Timestamp,
    outside: &'a [Uuid],
}

/// The agendas of a history, by doctor and in the order of their revisions.
pub struct AgendaChanges<'a> {
    history: &'a History,
    changes: BTreeMap<String, Vec<Change<'a>>>,
}

impl<'a> AgendaChanges<'a> {
    pub fn of(history: &'a History) -> Self {
        let mut changes: BTreeMap<String, BTreeMap<u32, Change<'a>>> = BTreeMap::new();
        for Entry { asked, answered, request, answer, .. } in &history.entries {
            let (Request::PutAgenda { from, to, .. }, Answer::AgendaStored(stored, outside)) = (request, answer) else {
                continue;
            };
            let change = Change {
                asked: *asked,
                answered: *answered,
                opens: (*from..*to).map(start).collect(),
                stored_at: stored.updated_at,
                outside,
            };
            changes.entry(stored.doctor.clone()).or_default().insert(stored.revision, change);
        }
        let changes = changes.into_iter().map(|(doctor, changes)| (doctor, changes.into_values().collect()));
        Self { history, changes: changes.collect() }
    }

    pub fn check(&self, kept: &Kept, made: &Made, holds: &Holds<'_>) -> Broken {
        let entries = &self.history.entries;
        for entry in entries {
            let Answer::AgendaStored(told, _) = &entry.answer else { continue };
            if !kept.agendas.get(&told.doctor).is_some_and(|stored| stored.contains(told)) {
                return Err(format!("revision {} of an agenda is lost", told.revision));
            }
        }
        for (doctor, stored) in &kept.agendas {
            if !stored.iter().map(|stored| stored.revision).eq((1..).take(stored.len())) {
                return Err(format!("the revisions of the agenda of {doctor} have a gap"));
            }
        }
        let is_unknown =
            |entry: &Entry| matches!((&entry.request, &entry.answer), (Request::PutAgenda { .. }, Answer::Unknown(_)));
        if entries.iter().any(is_unknown) {
            return Ok(());
        }
        if kept.agendas.values().map(Vec::len).sum::<usize>() > self.changes.values().map(Vec::len).sum() {
            return Err("an agenda that was refused is stored".into());
        }
        self.who_books_lies_inside(kept, made, holds)?;
        self.a_change_names_who_lies_outside(kept, made, holds)?;
        self.who_is_outside_lies_outside(kept, holds)
    }

    /// Returns the agendas that may be in force at some moment of the window; `None` is none.
    fn possible(&self, doctor: &str, (from, to): (u64, u64)) -> Vec<Option<&Change<'a>>> {
        let changes = self.changes.get(doctor).map_or(&[][..], Vec::as_slice);
        let ends = changes.iter().map(|change| change.answered).chain([u64::MAX]);
        let begin = [None].into_iter().chain(changes.iter().map(Some));
        let in_force =
            begin.zip(ends).filter(|(change, end)| change.is_none_or(|change| change.asked < to) && *end > from);
        in_force.map(|(change, _)| change).collect()
    }

    fn who_books_lies_inside(&self, kept: &Kept, made: &Made, holds: &Holds<'_>) -> Broken {
        for revision in kept.revisions.values().flatten() {
            let appointment = &revision.appointment;
            let place = (appointment.id, appointment.revision);
            let Some(window) = made.get(&place) else { continue };
            let takes_slot = matches!(revision.provenance.action.as_str(), "book" | "reschedule");
            if !takes_slot || self.is_held(*window, holds) {
                continue;
            }
            let (doctor, at) = (appointment.doctor.as_ref().unwrap(), appointment.slot.as_ref().unwrap().start);
            let before = kept.revisions[&place.0].iter().find(|before| before.appointment.revision + 1 == place.1);
            let is_kept = before.is_some_and(|before| before.appointment.slot == appointment.slot);
            let is_inside = |change: Option<&Change<'_>>| change.is_none_or(|change| change.opens.contains(&at));
            if !is_kept && !self.possible(doctor, *window).into_iter().any(is_inside) {
                return Err(format!("{place:?} at {at} lies outside the agenda of {doctor}"));
            }
        }
        Ok(())
    }

    /// True if the request of these stamps names a hold, which outlives a change of the agenda.
    fn is_held(&self, (asked, _): (u64, u64), holds: &Holds<'_>) -> bool {
        self.history.entries.iter().any(|entry| entry.asked == asked && holds.named(entry).is_some())
    }

    /// Checks that an answer misses nobody who has a slot outside the new agenda: whoever was decided by the one before and is
    /// stored after it would be missed.
    fn a_change_names_who_lies_outside(&self, kept: &Kept, made: &Made, holds: &Holds<'_>) -> Broken {
        for (doctor, changes) in &self.changes {
            for (index, change) in changes.iter().enumerate() {
                let next = changes.get(index + 1).map_or(u64::MAX, |next| next.asked);
                for (id, revisions) in &kept.revisions {
                    let stamps = |revision: &Revision| made.get(&(*id, revision.appointment.revision)).copied();
                    // The revision when the change was answered, if it is certain which one that was.
                    let begun = revisions
                        .iter()
                        .rposition(|revision| stamps(revision).is_some_and(|made| made.0 < change.answered));
                    let Some(revision) = begun.map(|at| &revisions[at]) else { continue };
                    let is_certain = stamps(revision).is_some_and(|made| made.1 < next)
                        && revisions.iter().all(|all| stamps(all).is_some_and(|made| !self.is_held(made, holds)));
                    let appointment = &revision.appointment;
                    let at = appointment.slot.as_ref().unwrap().start;
                    let is_outside = appointment.doctor.as_ref() == Some(doctor)
                        && appointment.phase.is_live()
                        && appointment.starts_at.is_some_and(|starts_at| starts_at >= change.stored_at)
                        && !change.opens.contains(&at);
                    if is_certain && is_outside && !change.outside.contains(id) {
                        return Err(format!(
                            "a change of the agenda of {doctor} does not name {id}, which lies outside it"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn who_is_outside_lies_outside(&self, kept: &Kept, holds: &Holds<'_>) -> Broken {
        for entry in self.history.entries.iter().filter(|entry| matches!(entry.answer, Answer::Outside)) {
            let of_appointment = || {
                let (id, _) = entry.about?;
                kept.revisions.get(&id)?.first()?.appointment.doctor.clone()
            };
            let wanted = match (&entry.request, holds.named(entry)) {
                (Request::Book { doctor, start: at, .. }, _) => {
                    Some((format!("{}.{}", self.history.clinic, DOCTORS[*doctor]), start(*at)))
                }
                (Request::Reschedule { start: at, .. }, _) => of_appointment().map(|doctor| (doctor, start(*at))),
                (_, Some(hold)) => hold.slot.doctor.clone().map(|doctor| (doctor, hold.slot.slot.start)),
                _ => None,
            };
            let Some((doctor, at)) = wanted else { continue };
            let is_outside = |change: Option<&Change<'_>>| change.is_some_and(|change| !change.opens.contains(&at));
            if !self.possible(&doctor, (entry.asked, entry.answered)).into_iter().any(is_outside) {
                return Err(format!(
                    "{:?} was refused as outside the agenda of {doctor}, and lies in it",
                    entry.request
                ));
            }
        }
        Ok(())
    }
}
