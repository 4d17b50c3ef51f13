//! Checks the holds of a history. When a hold was made, ended or expired lies between the stamps of a request and its answer, so
//! each promise is checked where it must hold whatever the order inside them was.

use citas_core::model::Hold;
use jiff::Timestamp;

use super::check::{Broken, Kept, Made};
use super::desk::{Answer, Entry, History, Request, account_of};
use crate::support::appointments::minutes;

/// Number of live holds of an account.
const OF_ACCOUNT: usize = 3;

/// A hold, and when it was.
struct Life<'a> {
    hold: &'a Hold,
    asked: u64,
    answered: u64,
}

/// The holds of a history.
pub struct Holds<'a> {
    history: &'a History,
    lives: Vec<Life<'a>>,
}

/// Stamps of a request and its answer.
type Window = (u64, u64);

impl<'a> Holds<'a> {
    pub fn of(history: &'a History) -> Self {
        let life = |entry: &'a Entry| match &entry.answer {
            Answer::Held(hold) => Some(Life { hold, asked: entry.asked, answered: entry.answered }),
            _ => None,
        };
        Self { history, lives: history.entries.iter().filter_map(life).collect() }
    }

    /// True if somebody may hold what nobody was told of.
    pub fn has_unknown(&self) -> bool {
        let is_unknown =
            |entry: &Entry| matches!((&entry.request, &entry.answer), (Request::Hold { .. }, Answer::Unknown(_)));
        self.history.entries.iter().any(is_unknown)
    }

    /// Returns the hold that a request names.
    pub fn named(&self, entry: &Entry) -> Option<&Hold> {
        self.life(entry).map(|life| life.hold)
    }

    /// True if the hold that a request names lives, unless the request itself ends it.
    pub fn must_live_for(&self, entry: &Entry) -> bool {
        let window = (entry.asked, entry.answered);
        self.life(entry).is_some_and(|life| self.must_live_until(life, window, Some(entry.asked)))
    }

    fn life(&self, entry: &Entry) -> Option<&Life<'a>> {
        self.lives.iter().find(|life| Some(life.hold.id) == entry.hold)
    }

    /// Returns the number of holds that may have a place of a claim at some moment of the window.
    pub fn may_have(&self, claim: &str, window: Window) -> usize {
        let has = |life: &&Life| life.hold.claims.iter().any(|held| held.key == claim) && self.may_live(life, window);
        self.lives.iter().filter(has).count()
    }

    /// Returns the earliest and the latest time that the clock may show at a stamp.
    fn clock(&self, stamp: u64) -> (Timestamp, Timestamp) {
        let entries = &self.history.entries;
        let opening = |entry: &&Entry| matches!(entry.request, Request::Open(_)) && entry.answered <= stamp;
        let opened = entries.iter().rev().find(opening).expect("a history begins with its opening");
        let Request::Open(at) = opened.request else { unreachable!("it was just found") };
        let (mut earliest, mut latest) = (at, at);
        for Entry { asked, answered, request, .. } in entries.iter().filter(|entry| entry.asked > opened.asked) {
            match request {
                Request::Advance(by) => {
                    latest += if *asked <= stamp { minutes(*by) } else { minutes(0) };
                    earliest += if *answered <= stamp { minutes(*by) } else { minutes(0) };
                }
                Request::StepBack(by) => {
                    earliest -= if *asked <= stamp { minutes(*by) } else { minutes(0) };
                    latest -= if *answered <= stamp { minutes(*by) } else { minutes(0) };
                }
                _ => {}
            }
        }
        (earliest, latest)
    }

    /// True if the hold may live at some moment of the window.
    fn may_live(&self, life: &Life, (from, to): Window) -> bool {
        let ends = |entry: &&Entry| entry.hold == Some(life.hold.id) && entry.answer.ends_hold();
        let ended = self.history.entries.iter().filter(ends).map(|entry| entry.answered).min();
        let (earliest, _) = self.clock(from);
        life.asked < to && ended.is_none_or(|ended| ended > from) && life.hold.is_live(earliest)
    }

    /// True if the hold lives during the whole window.
    fn must_live(&self, life: &Life, window: Window) -> bool {
        self.must_live_until(life, window, None)
    }

    /// True if the hold lives during the whole window, unless the request with this stamp ends it.
    fn must_live_until(&self, life: &Life, (from, to): Window, end: Option<u64>) -> bool {
        let entries = &self.history.entries;
        let others = entries.iter().filter(|entry| entry.hold == Some(life.hold.id) && Some(entry.asked) != end);
        let stamps = entries.iter().flat_map(|entry| [entry.asked, entry.answered]).chain([to]);
        let mut while_held = stamps.filter(|stamp| (life.asked..=to).contains(stamp));
        life.answered <= from
            && others.map(|entry| entry.asked).min().is_none_or(|ended| ended > to)
            && while_held.all(|stamp| life.hold.is_live(self.clock(stamp).1))
    }

    pub fn check(&self, kept: &Kept, made: &Made) -> Broken {
        self.no_place_has_two_holders(kept, made)?;
        self.a_live_hold_can_be_booked()?;
        self.a_limit_has_a_reason()
    }

    fn no_place_has_two_holders(&self, kept: &Kept, made: &Made) -> Broken {
        for life in &self.lives {
            let places = || life.hold.claims.iter();
            let rival = self.lives.iter().find(|other| {
                let shares = other.hold.claims.iter().any(|place| life.hold.claims.contains(place));
                other.hold.id != life.hold.id && shares && self.must_live(life, (other.asked, other.answered))
            });
            if let Some(rival) = rival {
                return Err(format!("the hold {} has a place of the live hold {}", rival.hold.id, life.hold.id));
            }
            for (id, revisions) in &kept.revisions {
                for (index, revision) in revisions.iter().enumerate() {
                    let stamps = |number: u32| made.get(&(*id, number)).copied();
                    let number = revision.appointment.revision;
                    let Some((asked, answered)) = stamps(number) else { continue };
                    let before = index.checked_sub(1).map(|before| &revisions[before]);
                    let has = |place| revision.claims.contains(place);
                    let had = |place| before.is_some_and(|before| before.claims.contains(place));
                    if places().any(|place| has(place) && !had(place)) && self.must_live(life, (asked, answered)) {
                        return Err(format!("revision {number} of {id} has a place of the live hold {}", life.hold.id));
                    }
                    // Until the next revision is asked for, by whomever.
                    let is_latest = revisions.len() == index + 1;
                    let next = if is_latest { Some((u64::MAX, 0)) } else { stamps(number + 1) };
                    let Some((until, _)) = next else { continue };
                    if places().any(has) && answered <= life.asked && life.answered < until && self.is_complete(life) {
                        return Err(format!("the hold {} has a place of revision {number} of {id}", life.hold.id));
                    }
                }
            }
        }
        Ok(())
    }

    /// True if every request before the end of this one has an answer, so that nobody else can have changed an appointment.
    fn is_complete(&self, life: &Life) -> bool {
        let is_unknown = |entry: &Entry| matches!(entry.answer, Answer::Unknown(_)) && entry.asked < life.answered;
        !self.history.entries.iter().any(is_unknown)
    }

    fn a_live_hold_can_be_booked(&self) -> Broken {
        for entry in &self.history.entries {
            let Some(life) = self.life(entry).filter(|_| self.must_live_for(entry)) else { continue };
            let id = life.hold.id;
            let places = || life.hold.claims.iter().filter(|held| !held.key.starts_with("hold/"));
            match &entry.answer {
                Answer::Outside => return Err(format!("the live hold {id} was refused for the agenda")),
                Answer::HoldExpired if entry.about.is_none() => {
                    return Err(format!("the live hold {id} was called expired"));
                }
                Answer::Taken(Some(claim)) if places().any(|held| held.key == *claim) => {
                    return Err(format!("a place of the live hold {id} was taken: {claim}"));
                }
                Answer::Refused(why) if entry.about.is_none() && why.contains("hold") => {
                    return Err(format!("the live hold {id} was refused: {why}"));
                }
                // An appointment that is moved may have a place of the same claim already.
                Answer::Stored(revision)
                    if entry.about.is_none() && !places().all(|held| revision.claims.contains(held)) =>
                {
                    return Err(format!("places of the hold {id} did not pass to the appointment"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn a_limit_has_a_reason(&self) -> Broken {
        for Entry { asked, answered, request, answer, .. } in &self.history.entries {
            let (Request::Hold { account, .. }, Answer::HoldLimit) = (request, answer) else { continue };
            let is_own = |life: &&Life| account_of(&life.hold.owner) == *account;
            let live = self.lives.iter().filter(is_own).filter(|life| self.may_live(life, (*asked, *answered))).count();
            if live < OF_ACCOUNT && !self.has_unknown() {
                return Err(format!("account {account} has {live} holds and may not have another"));
            }
        }
        let is_counted = |life: &&Life| {
            let mut of_account = life.hold.claims.iter().filter(|held| held.key.starts_with("hold/"));
            of_account.next().is_some_and(|held| usize::from(held.ordinal) < OF_ACCOUNT)
        };
        if let Some(life) = self.lives.iter().find(|life| !is_counted(life)) {
            return Err(format!("the hold {} does not count among those of its account", life.hold.id));
        }
        Ok(())
    }
}

impl Answer {
    /// True if the hold that a request names has ended with it.
    fn ends_hold(&self) -> bool {
        matches!(self, Self::Released | Self::Stored(_))
    }
}
