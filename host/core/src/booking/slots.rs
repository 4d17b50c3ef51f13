//! Free slots: the openings that the country offers, without those whose claims are held. They are computed for each
//! search and stored nowhere. No patient is part of a search, and no account: a limit is the caller's and not the slot's.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::booking::Booking;
use crate::booking::error::BookingError;
use crate::booking::filters::{self, Spellings};
use crate::booking::openings::Openings;
use crate::model::json::flatten;
use crate::model::{
    Appointment, Caller, Claim, Context, CountryCode, Field, Offer, Offered, Opening, Place, Pseudonyms, Revision,
    Scope, Slot, Violation,
};
use crate::ports::Ledger;
use crate::release::InForce;
use crate::rules::{LoadedRules, Rejection};

/// Maximum number of days of a search.
pub const MAX_DAYS: u8 = 31;

/// Number of days that one call to the rules gets first. A result is bounded, so a call that fails is repeated for fewer.
const DAYS_OF_A_CALL: i32 = 7;

/// Maximum number of openings of a search: those of a month of a hospital with 80 doctors.
const MAX_OPENINGS: usize = 40_000;

/// Code of the reason if there are no openings.
const NO_AGENDA: &str = "no-agenda";

/// Code of the reason if everything is taken.
const FULL: &str = "full";

/// A search for free slots.
#[derive(Clone, Debug)]
pub struct SlotSearch {
    /// Doctor and hospital, as the caller spells them.
    pub spelt: Spellings,
    /// Members of a booking request that are known, as texts.
    pub members: Vec<(String, String)>,
    /// Appointment that is to be moved. What the search leaves out is as it has it.
    pub appointment: Option<Uuid>,
    /// First day, by the clocks of the place; by default today.
    pub from: Option<Date>,
    /// Number of days, at most [`MAX_DAYS`].
    pub days: u8,
    /// Position after which the page begins.
    pub after: Option<SlotPosition>,
    /// Maximum number of slots.
    pub limit: usize,
}

/// A slot that can be booked.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeSlot {
    /// The slot in local time.
    pub slot: Slot,
    /// Start of the slot.
    pub starts_at: Timestamp,
    /// Key of the doctor.
    pub doctor: Option<String>,
    /// Key of the hospital.
    pub hospital: Option<String>,
    /// Number of places that are free, if the opening is for several patients at once.
    pub places: Option<u16>,
    /// Leaves of the request, or of an action's input, that select the slot.
    pub request: Vec<Field>,
}

/// Position in a list of free slots. Two slots with one position are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotPosition {
    starts_at: Timestamp,
    doctor: Option<String>,
    hospital: Option<String>,
    /// Length, zone and leaves, as JSON.
    rest: String,
}

/// A page of free slots.
#[derive(Debug)]
pub struct SlotPage {
    /// Zone of the place.
    pub zone: String,
    /// First day of the search.
    pub from: Date,
    /// Last day of the search.
    pub to: Date,
    /// Time at which the slots were free.
    pub as_of: Timestamp,
    /// Leaves of the place that the search has.
    pub place: Vec<Field>,
    /// Slots in order, each once.
    pub slots: Vec<FreeSlot>,
    /// Position after which the next page begins; `None` on the last page.
    pub next: Option<SlotPosition>,
    /// First free slot after the days of the search, if they have none.
    pub next_available: Option<FreeSlot>,
    /// Reason why the days have no free slot.
    pub reason: Option<Rejection>,
}

/// An offer with the keys of its opening.
pub(super) struct Candidate {
    pub offer: Offer,
    pub doctor: Option<String>,
    pub hospital: Option<String>,
    /// True if the opening is for several patients at once.
    pub is_shared: bool,
}

/// Offers of the rules in some days.
#[derive(Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    /// Zone of the first opening.
    zone: Option<String>,
    pub reason: Option<Violation>,
}

/// The ledger's view of offers.
pub(super) struct Vacancies<'a> {
    pub ledger: &'a dyn Ledger,
    pub names: &'a Pseudonyms,
    pub rules: &'a LoadedRules,
    /// Patient of the booking, if known. Claims that contain this key are personal.
    pub patient: Option<&'a str>,
    /// Owner of the booking, if it has one.
    pub owner: Option<&'a str>,
    /// Appointment to be moved. Its claims are no obstacle.
    pub own: Option<Uuid>,
    /// Time from which expired holds are no obstacle.
    pub now: Timestamp,
}

/// A place at which the rules look for slots, at one time.
pub(super) struct Finder {
    pub rules: Arc<LoadedRules>,
    pub context: Context,
    pub place: Place,
    openings: Openings,
    /// Appointment to be moved.
    pub current: Option<Arc<Revision>>,
    /// Time of the search.
    pub now: Timestamp,
}

impl SlotPosition {
    fn of(slot: &FreeSlot) -> Self {
        let FreeSlot { starts_at, doctor, hospital, .. } = slot;
        Self { starts_at: *starts_at, doctor: doctor.clone(), hospital: hospital.clone(), rest: slot.rest() }
    }
}

impl FreeSlot {
    /// Orders slots as their positions do. Few of them need more than their starts.
    fn order(&self, other: &Self) -> Ordering {
        let starts = self.starts_at.cmp(&other.starts_at);
        let places = starts.then_with(|| (&self.doctor, &self.hospital).cmp(&(&other.doctor, &other.hospital)));
        places.then_with(|| self.rest().cmp(&other.rest()))
    }

    /// Returns the length, zone and leaves, as JSON.
    fn rest(&self) -> String {
        json!([self.slot.minutes, self.slot.zone, self.request]).to_string()
    }
}

impl SlotSearch {
    /// Returns the place of this search. What it does not say is that of the appointment to be moved.
    fn place(&self, rules: &InForce, current: Option<&Revision>) -> Result<Place, BookingError> {
        let Spellings { doctor, hospital, .. } = filters::keys(rules, &self.spelt)?;
        let mut place = Place { doctor, hospital, fields: leaves(&rules.used, &self.members)? };
        if let Some(current) = current {
            let Appointment { doctor, hospital, attributes, .. } = &current.appointment;
            place.doctor = place.doctor.or_else(|| doctor.clone());
            place.hospital = place.hospital.or_else(|| hospital.clone());
            let is_known = |field: &&Field| place.fields.iter().any(|known| known.path == field.path);
            let others: Vec<Field> = attributes.iter().filter(|field| !is_known(field)).cloned().collect();
            place.fields.extend(others);
        }
        Ok(place)
    }

    /// Returns the first day, and the day after the last one.
    pub(super) fn range(&self, context: &Context) -> Result<(Date, Date), BookingError> {
        let today = || context.clocks.iter().map(|clock| clock.now.date()).min().unwrap_or_default();
        let from = self.from.unwrap_or_else(today);
        let until = from.checked_add(i32::from(self.days).days());
        until.map(|until| (from, until)).map_err(|_| BookingError::NoSuchTime("`from` is at the end of the calendar"))
    }

    /// Returns the page of these slots, which are in order, after the position, and the position of the next page.
    pub(super) fn page(&self, mut slots: Vec<FreeSlot>) -> (Vec<FreeSlot>, Option<SlotPosition>) {
        if let Some(after) = &self.after {
            slots.drain(..slots.partition_point(|slot| SlotPosition::of(slot) <= *after));
        }
        let is_more = slots.len() > self.limit;
        slots.truncate(self.limit);
        let next = slots.last().filter(|_| is_more).map(SlotPosition::of);
        (slots, next)
    }
}

/// Returns the leaves of these members. Refuses a value that the schema of a request refuses.
pub(super) fn leaves(rules: &LoadedRules, members: &[(String, String)]) -> Result<Vec<Field>, BookingError> {
    let known = rules.place_members();
    let typed = |(name, text): &(String, String)| (name.clone(), value_of(known.get(name.as_str()).copied(), text));
    let document: Json = members.iter().map(typed).collect::<Map<_, _>>().into();
    // Other members are missing. Only what is wrong with these counts.
    let violations = rules.check_request(&document)?;
    let member = |violation: &Violation| violation.path.strip_prefix('/')?.split('/').next().map(str::to_owned);
    let bad = violations.iter().find_map(|violation| {
        member(violation).filter(|name| document.get(name).is_some()).map(|name| (name, violation.code.clone()))
    });
    match bad {
        Some((parameter, code)) => Err(BookingError::NoSuchPlace { parameter, code }),
        None => flatten(&document).map_err(|large| BookingError::TooLarge { limit: large.limit }),
    }
}

/// Returns the value that a text has by the schema of its member.
fn value_of(schema: Option<&Json>, text: &str) -> Json {
    let kind = schema.and_then(|schema| schema["type"].as_str());
    match kind {
        Some("boolean" | "integer" | "number") => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

impl Finder {
    /// Returns the leaves of the place that a search may have. An appointment to be moved has others besides.
    fn place_leaves(&self) -> Vec<Field> {
        let members = self.rules.place_members();
        let is_of_place = |field: &&Field| field.path.split('/').nth(1).is_some_and(|name| members.contains_key(name));
        self.place.fields.iter().filter(is_of_place).cloned().collect()
    }

    /// Returns the offers that start on the days from `since` until `until`, which is excluded.
    pub(super) fn find(&self, since: Date, until: Date) -> Result<Found, BookingError> {
        let openings = self.openings(since, until)?;
        let Self { rules, context, place, current, .. } = self;
        let current = current.as_ref().map(|current| &current.appointment);
        let Offered { offers, reason } = rules.offers_in_parts(context, place, current, &openings)?;
        let is_within = |offer: &Offer| (since..until).contains(&offer.slot.start.date());
        let offers = offers.into_iter().filter(is_within);
        let candidates = offers.map(|offer| Candidate::new(offer, &openings, place)).collect();
        Ok(Found { candidates, zone: openings.into_iter().next().map(|opening| opening.slot.zone), reason })
    }

    fn openings(&self, since: Date, until: Date) -> Result<Vec<Opening>, BookingError> {
        let Self { rules, context, place, openings, .. } = self;
        let midnight = |date: Date| date.at(0, 0, 0, 0);
        let (mut found, mut first, mut days) = (Vec::new(), since, DAYS_OF_A_CALL);
        while first < until {
            let end = first.saturating_add(days.days()).min(until);
            match openings.find(rules, context, place, midnight(first), midnight(end)) {
                Ok(part) => {
                    found.extend(part);
                    first = end;
                }
                // The result may be too much for one call.
                Err(_) if days > 1 => days = (days / 2).max(1),
                Err(fault) => return Err(fault.into()),
            }
            if found.len() > MAX_OPENINGS {
                return Err(BookingError::TooManyOpenings { limit: MAX_OPENINGS });
            }
        }
        Ok(found)
    }
}

impl Candidate {
    /// Returns an offer of one of these openings. What an opening does not say is that of the place.
    pub(super) fn new(offer: Offer, openings: &[Opening], place: &Place) -> Self {
        let opening = &openings[offer.opening];
        let or_place = |own: &Option<String>, of_place: &Option<String>| own.as_ref().or(of_place.as_ref()).cloned();
        Self {
            doctor: or_place(&opening.doctor, &place.doctor),
            hospital: or_place(&opening.hospital, &place.hospital),
            is_shared: opening.places > 1,
            offer,
        }
    }

    /// Returns the claims of the offer and of its choices.
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.offer.claims.iter().chain(self.offer.choices.iter().flat_map(|choice| &choice.claims))
    }
}

impl Vacancies<'_> {
    /// Returns the slots of the offers that are free, in their order. The ledger is asked once.
    pub(super) async fn free(&self, candidates: Vec<Candidate>) -> Result<Vec<FreeSlot>, BookingError> {
        let kept: HashSet<Cow<'_, Claim>> =
            candidates.iter().flat_map(Candidate::claims).map(|claim| self.kept(claim)).collect();
        let kept: Vec<Claim> = kept.into_iter().map(Cow::into_owned).collect();
        let taken = self.ledger.taken(self.rules.country, &kept, self.now).await?;
        let others = |(key, holders): (String, Vec<(u16, Uuid)>)| {
            let others = holders.into_iter().filter(|(_, holder)| Some(*holder) != self.own);
            (key, others.map(|(ordinal, _)| ordinal).collect())
        };
        let taken: HashMap<String, HashSet<u16>> = taken.into_iter().map(others).collect();
        let places = |claim: &Claim| match taken.get(&self.kept(claim).key) {
            Some(held) => (0..claim.places).filter(|ordinal| !held.contains(ordinal)).count(),
            None => claim.places.into(),
        };
        let fewest = |claims: &[Claim]| claims.iter().map(places).min();
        let mut slots = Vec::new();
        for Candidate { offer, doctor, hospital, is_shared } in candidates {
            let Offer { slot, claims, choices, request, .. } = offer;
            let has_choice = choices.is_empty() || choices.iter().any(|choice| fewest(&choice.claims) != Some(0));
            let fewest = fewest(&claims);
            if !has_choice || fewest == Some(0) {
                continue;
            }
            // A start that the clocks skip cannot be booked.
            let Some(starts_at) = self.rules.start(&slot)? else { continue };
            let places = fewest.and_then(|fewest| u16::try_from(fewest).ok()).filter(|_| is_shared);
            slots.push(FreeSlot { slot, starts_at, doctor, hospital, places, request });
        }
        Ok(slots)
    }

    /// Returns a claim in the ledger's form.
    fn kept<'a>(&self, claim: &'a Claim) -> Cow<'a, Claim> {
        if self.patient.map_or(claim.personal, |patient| claim.is_about(patient)) {
            return Cow::Owned(self.names.claim(
                self.rules.country,
                Claim { personal: true, ..claim.clone() },
                self.owner,
            ));
        }
        Cow::Borrowed(claim)
    }
}

impl Booking {
    /// Returns a page of the slots that are free at a place. An empty search has the reason, and the next free slot.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn slots(
        &self,
        caller: &Caller,
        country: CountryCode,
        search: SlotSearch,
    ) -> Result<SlotPage, BookingError> {
        let (in_force, access) = match search.appointment {
            Some(_) => self.enter(caller, country, Scope::Read).await?,
            None => self.access_control.admit(caller, country, Scope::Read)?,
        };
        let rules = Arc::clone(&in_force.used);
        if !rules.has_openings() {
            return Err(BookingError::NoSlots);
        }
        let now = self.clock.now();
        let context = rules.context(now, access.role);
        let (from, until) = search.range(&context)?;
        let current = match search.appointment {
            Some(id) => Some(self.visible(&access, country, id).await?),
            None => None,
        };
        let search = Arc::new(search);
        let asked = Arc::clone(&search);
        let moved = current.clone();
        let place = move || asked.place(&in_force, moved.as_deref());
        let place = self.decider.catalogue.executor().run(country, place).await??;
        let finder = Arc::new(self.finder(&rules, context, place, current, now).await?);
        let asked = Arc::clone(&finder);
        let find = move || asked.find(from, until);
        let found = self.decider.catalogue.executor().run(country, find).await??;
        let Found { candidates, zone, reason } = found;
        let had_offers = !candidates.is_empty();
        let slots = self.vacant(&finder, candidates).await?;
        let place = finder.place_leaves();
        let (mut next_available, mut why) = (None, None);
        if slots.is_empty() {
            let code = if had_offers { FULL } else { NO_AGENDA };
            let violation = reason.filter(|_| !had_offers).unwrap_or_else(|| Violation::new("", code));
            why = Some(Rejection { violations: vec![violation], rules: Arc::clone(&rules) });
            next_available = self.next_available(&finder, until).await?;
        }
        let zone = zone.or_else(|| next_available.as_ref().map(|next: &FreeSlot| next.slot.zone.clone()));
        let (slots, next) = search.page(slots);
        Ok(SlotPage {
            zone: zone.unwrap_or_else(|| rules.descriptor.zones[0].clone()),
            from,
            to: until.yesterday().unwrap_or(from),
            as_of: now,
            place,
            slots,
            next,
            next_available,
            reason: why,
        })
    }

    /// Returns the finder of slots at a place, which asks these rules.
    pub(super) async fn finder(
        &self,
        rules: &Arc<LoadedRules>,
        context: Context,
        place: Place,
        current: Option<Arc<Revision>>,
        now: Timestamp,
    ) -> Result<Finder, BookingError> {
        let openings = Openings::at(&place, &*self.decider.ledger, &self.agenda_lists, rules.country).await?;
        Ok(Finder { rules: Arc::clone(rules), context, place, openings, current, now })
    }

    /// Returns the first slot that is free from this day on, or from today on, until the country's horizon.
    async fn next_available(&self, finder: &Arc<Finder>, since: Date) -> Result<Option<FreeSlot>, BookingError> {
        let rules = &finder.rules;
        let today = || finder.context.clocks.iter().map(|clock| clock.now.date());
        let (Some(first), Some(last)) = (today().min(), today().max()) else { return Ok(None) };
        let horizon = i32::from(rules.descriptor.horizon_days.unwrap_or_default());
        let end = last.saturating_add((horizon + 1).days());
        let (mut since, mut days) = (since.max(first), i32::from(MAX_DAYS));
        while since < end {
            let until = since.saturating_add(days.days()).min(end);
            let asked = Arc::clone(finder);
            let find = move || asked.find(since, until);
            let found = match self.decider.catalogue.executor().run(rules.country, find).await? {
                Err(BookingError::TooManyOpenings { .. }) if days > 1 => {
                    days /= 2;
                    continue;
                }
                // One day has too many: the next free slot is not known.
                Err(BookingError::TooManyOpenings { .. }) => return Ok(None),
                found => found?,
            };
            if let Some(slot) = self.vacant(finder, found.candidates).await?.into_iter().next() {
                return Ok(Some(slot));
            }
            since = until;
        }
        Ok(None)
    }

    /// Returns the slots that are free, in order and each once, without the time that the appointment has.
    pub(super) async fn vacant(
        &self,
        finder: &Finder,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<FreeSlot>, BookingError> {
        let (ledger, names) = (&*self.decider.ledger, &self.decider.names);
        let owner = finder.current.as_ref().and_then(|current| current.owner.as_deref());
        let current = finder.current.as_ref().map(|current| &current.appointment);
        let (patient, own) = (current.map(|current| current.patient.as_str()), current.map(|current| current.id));
        let vacancies = Vacancies { ledger, names, rules: &finder.rules, patient, owner, own, now: finder.now };
        let free = vacancies.free(candidates).await?;
        let present = current.and_then(|current| current.starts_at);
        let mut others: Vec<FreeSlot> = free.into_iter().filter(|slot| Some(slot.starts_at) != present).collect();
        others.sort_by(FreeSlot::order);
        others.dedup_by(|one, other| one.order(other).is_eq());
        Ok(others)
    }
}
