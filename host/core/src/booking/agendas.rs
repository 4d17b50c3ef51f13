//! The use cases of agendas: read, list, history and replace. Staff set them up; what may be booked of them, the country
//! decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;
use jsonschema::Validator;
use serde_json::{Map, Value as Json};

use crate::booking::Booking;
use crate::booking::error::BookingError;
use crate::booking::filters::{self, Spellings};
use crate::booking::slots::leaves;
use crate::model::json::escape;
use crate::model::{
    Agenda, AgendaRevision, Caller, Closed, CountryCode, Forbidden, Hours, Overlap, Party, Phase, Place, Precondition,
    Revision, Role, Scope, TimeOfDay, Violation,
};
use crate::people::Access;
use crate::ports::{AgendaError, Fault, Query, Unavailable};
use crate::release::InForce;
use crate::rules::{LoadedRules, Rejection, schema};

/// Members of a request that an agenda does not fix, because it has them elsewhere.
pub const AGENDA_KEYS: [&str; 2] = ["doctor", "hospital"];

/// Maximum number of appointments outside an agenda that a response names.
pub const MAX_OUTSIDE: usize = 100;

/// Number of appointments that one read of the search for those outside returns.
const PAGE: usize = 100;

/// Maximum number of these reads.
const MAX_PAGES: usize = 20;

/// Schema of an agenda, and its validator.
static SCHEMA: LazyLock<(Json, Validator)> = LazyLock::new(|| {
    let schema = Agenda::schema();
    let validator = schema::validator("agenda", &schema).expect("the schema is valid");
    (schema, validator)
});

/// A new revision of a doctor's agenda.
pub struct AgendaRequest<'a> {
    /// The doctor, as the caller spells the key.
    pub doctor: &'a str,
    /// The agenda, not checked yet.
    pub agenda: Json,
    /// Condition on the present revision. Only a dry run needs none.
    pub condition: Precondition,
    /// True if nothing is to be stored.
    pub is_dry_run: bool,
}

/// A search for agendas.
pub struct AgendaSearch {
    /// Hospital, as the caller spells it.
    pub hospital: Option<String>,
    /// Members of a booking request that are known, as texts.
    pub members: Vec<(String, String)>,
    /// Key of the doctor after whom the page begins.
    pub after: Option<String>,
    /// Maximum number of agendas.
    pub limit: usize,
}

/// A revision of an agenda, and the appointments to come that no longer lie in it.
#[derive(Debug)]
pub struct AgendaChange {
    /// The revision.
    pub revision: AgendaRevision,
    /// Appointments outside, by start, at most [`MAX_OUTSIDE`].
    pub outside: Vec<Revision>,
    /// True if there may be more.
    pub more: bool,
}

impl Booking {
    /// Returns the agenda of a doctor.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn agenda(
        &self,
        caller: &Caller,
        country: CountryCode,
        doctor: &str,
    ) -> Result<AgendaRevision, BookingError> {
        let (rules, access) = self.enter_as_staff(caller, country, Scope::Read)?;
        let doctor = self.doctor(&rules, doctor).await?;
        self.own_agenda(&access, country, &doctor).await?.ok_or(BookingError::NoAgenda)
    }

    /// Returns at most `limit` revisions of a doctor's agenda after revision `after`, the oldest first, and true if there are
    /// more.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn agenda_history(
        &self,
        caller: &Caller,
        country: CountryCode,
        doctor: &str,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<AgendaRevision>, bool), BookingError> {
        let (rules, access) = self.enter_as_staff(caller, country, Scope::Read)?;
        let doctor = self.doctor(&rules, doctor).await?;
        if !access.sees_all() {
            self.own_agenda(&access, country, &doctor).await?;
        }
        let mut revisions = self.decider.ledger.agenda_history(country, &doctor, after, limit + 1).await?;
        if after == 0 && revisions.is_empty() {
            return Err(BookingError::NoAgenda);
        }
        let more = revisions.len() > limit;
        revisions.truncate(limit);
        Ok((revisions, more))
    }

    /// Returns the agendas of the caller's hospitals that may have openings at a place, by the doctors' keys, and true if there
    /// are more.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn agendas(
        &self,
        caller: &Caller,
        country: CountryCode,
        search: AgendaSearch,
    ) -> Result<(Vec<AgendaRevision>, bool), BookingError> {
        let (rules, access) = self.enter_as_staff(caller, country, Scope::Read)?;
        let AgendaSearch { hospital, members, after, limit } = search;
        let spelt = Spellings { hospital, ..Spellings::default() };
        let find = move || {
            let (keys, fields) = (filters::keys(&rules, &spelt)?, leaves(&rules.used, &members)?);
            Ok::<_, BookingError>(Place { doctor: None, hospital: keys.hospital, fields })
        };
        let place = self.decider.catalogue.executor().run(country, find).await??;
        let all = self.agenda_lists.all(&*self.decider.ledger, country).await?;
        let is_found = |AgendaRevision { doctor, agenda, .. }: &&AgendaRevision| {
            after.as_ref().is_none_or(|after| doctor > after) && agenda.is_at(&place) && access.has_agenda(agenda)
        };
        let mut found: Vec<AgendaRevision> = all.iter().filter(is_found).take(limit + 1).cloned().collect();
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Stores a new revision of a doctor's agenda, unless it is a dry run. Appointments that no longer lie in an opening stay
    /// as they are.
    ///
    /// # Errors
    /// See [`BookingError`].
    pub async fn put_agenda(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: AgendaRequest<'_>,
    ) -> Result<AgendaChange, BookingError> {
        let (rules, access) = self.enter_as_staff(caller, country, Scope::Write)?;
        let AgendaRequest { doctor, agenda: document, condition, is_dry_run } = request;
        let doctor = self.doctor(&rules, doctor).await?;
        let before = self.own_agenda(&access, country, &doctor).await?.map_or(0, |before| before.revision);
        check_condition(&condition, before, is_dry_run)?;
        let (now, known) = (self.clock.now(), Arc::clone(&rules.used));
        let today = rules.used.context(now, access.role).clocks.iter().map(|clock| clock.now.date()).min();
        let check = move || checked(&rules, document, today.unwrap_or_default());
        let agenda = self.decider.catalogue.executor().run(country, check).await??;
        check_hospitals(&access, &agenda)?;
        let revision = AgendaRevision {
            country,
            doctor,
            revision: before.saturating_add(1),
            updated_at: now,
            subject: caller.subject.clone(),
            role: access.role,
            request_id: caller.request_id.clone(),
            agenda,
        };
        if !is_dry_run {
            self.decider.ledger.put_agenda(revision.clone()).await.map_err(|error| match error {
                AgendaError::Stale => BookingError::AgendaStale,
                AgendaError::Unavailable(unavailable) => unavailable.into(),
            })?;
        }
        // Whoever books from now on sees this revision, so none is missed.
        let (outside, more) = self.outside(&access, &known, &revision).await.unwrap_or_else(|error| {
            tracing::warn!(%country, %error, "the appointments outside an agenda are not known");
            (Vec::new(), true)
        });
        Ok(AgendaChange { revision, outside, more })
    }

    /// Returns live appointments to come that lie outside an agenda and that the caller may see, and true if there may be
    /// more.
    async fn outside(
        &self,
        access: &Access,
        rules: &LoadedRules,
        AgendaRevision { country, doctor, updated_at, agenda, .. }: &AgendaRevision,
    ) -> Result<(Vec<Revision>, bool), Unavailable> {
        let mut query = Query {
            doctor: Some(doctor.clone()),
            from: Some(*updated_at),
            phases: Phase::ALL.into_iter().filter(|phase| phase.is_live()).collect(),
            limit: PAGE,
            ..Query::default()
        };
        let is_outside = |revision: &Revision| {
            let appointment = &revision.appointment;
            let Some((slot, starts_at)) = appointment.slot.as_ref().zip(appointment.starts_at) else { return false };
            let (hospital, fields) = (appointment.hospital.clone(), appointment.attributes.clone());
            !agenda.covers(slot, starts_at, &Place { doctor: None, hospital, fields }, rules.zones())
        };
        let mut outside = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.decider.ledger.page(*country, &query).await?;
            outside.extend(page.items.into_iter().filter(|item| access.sees(item) && is_outside(item)));
            if outside.len() > MAX_OUTSIDE {
                outside.truncate(MAX_OUTSIDE);
                return Ok((outside, true));
            }
            let Some(next) = page.next else { return Ok((outside, false)) };
            query.after = Some(next);
        }
        Ok((outside, true))
    }

    /// Returns the rules of a country with free slots and the access of a caller who is not a patient.
    fn enter_as_staff(
        &self,
        caller: &Caller,
        country: CountryCode,
        scope: Scope,
    ) -> Result<(InForce, Access), BookingError> {
        let (rules, access) = self.access_control.admit(caller, country, scope)?;
        if access.role == Role::Patient {
            return Err(Forbidden(format!("agendas are for the staff of `{country}`")).into());
        }
        if rules.used.has_openings() { Ok((rules, access)) } else { Err(BookingError::NoSlots) }
    }

    /// Returns the agenda of a doctor, if there is one. Refuses one of other hospitals than the caller's.
    async fn own_agenda(
        &self,
        access: &Access,
        country: CountryCode,
        doctor: &str,
    ) -> Result<Option<AgendaRevision>, BookingError> {
        let found = self.decider.ledger.agenda(country, doctor).await?;
        if let Some(AgendaRevision { agenda, .. }) = &found {
            check_hospitals(access, agenda)?;
        }
        Ok(found)
    }

    /// Returns the key that the rules give to a spelling of a doctor.
    async fn doctor(&self, rules: &InForce, spelt: &str) -> Result<String, BookingError> {
        let (rules, country) = (rules.clone(), rules.used.country);
        let spelt = Spellings { doctor: Some(spelt.to_owned()), ..Spellings::default() };
        let keys = self.decider.catalogue.executor().run(country, move || filters::keys(&rules, &spelt)).await??;
        keys.doctor.ok_or(BookingError::NoAgenda)
    }
}

fn check_hospitals(access: &Access, agenda: &Agenda) -> Result<(), Forbidden> {
    if access.has_agenda(agenda) {
        return Ok(());
    }
    Err(Forbidden("this token is for the staff of hospitals, and the agenda has hours elsewhere, or none".to_owned()))
}

fn check_condition(condition: &Precondition, before: u32, is_dry_run: bool) -> Result<(), BookingError> {
    if *condition == Precondition::None && !is_dry_run {
        return Err(BookingError::AgendaUnconditional);
    }
    if condition.holds(before) { Ok(()) } else { Err(BookingError::AgendaStale) }
}

/// Returns the agenda of a document, with the hospitals' keys.
fn checked(rules: &InForce, document: Json, today: Date) -> Result<Agenda, BookingError> {
    let refused =
        |violations: Vec<Violation>| BookingError::BadAgenda(Rejection { violations, rules: Arc::clone(&rules.used) });
    let (schema, validator) = &*SCHEMA;
    let violations = schema::violations(validator, &document);
    if !violations.is_empty() {
        return Err(refused(violations.into_iter().map(|violation| schema::labelled(schema, violation)).collect()));
    }
    let parsed = serde_json::from_value(document);
    let mut agenda: Agenda = parsed.map_err(|_| refused(vec![Violation::new("", "agenda.invalid")]))?;
    let mut check = Check { rules, violations: Vec::new(), hospitals: HashMap::new() };
    for (index, weekly) in agenda.weekly.iter_mut().enumerate() {
        let at = format!("/weekly/{index}");
        check.hours(&at, &mut weekly.hours)?;
        if weekly.since.zip(weekly.until).is_some_and(|(since, until)| until < since) {
            check.note(format!("{at}/until"), "agenda.order", vec![]);
        }
    }
    for (index, extra) in agenda.extra.iter_mut().enumerate() {
        check.hours(&format!("/extra/{index}"), &mut extra.hours)?;
    }
    for (index, Closed { from, to, .. }) in agenda.closed.iter().enumerate() {
        let begins = from.map_or(0, TimeOfDay::minutes);
        if to.is_some_and(|to| to.minutes() <= begins) {
            check.note(format!("/closed/{index}/to"), "agenda.order", vec![]);
        }
    }
    if check.violations.is_empty() {
        let of = |overlap: Overlap| {
            let params = vec![("other".to_owned(), overlap.with)];
            Violation { params, ..Violation::new(overlap.at, "agenda.overlap") }
        };
        check.violations = agenda.overlaps(rules.used.zones(), today).into_iter().map(of).collect();
    }
    check.violations.truncate(schema::MAX_VIOLATIONS);
    if check.violations.is_empty() { Ok(agenda) } else { Err(refused(check.violations)) }
}

/// Checks hours by the rules in use.
struct Check<'a> {
    rules: &'a InForce,
    violations: Vec<Violation>,
    /// Key of each hospital by its spelling.
    hospitals: HashMap<String, Option<String>>,
}

impl Check<'_> {
    fn note(&mut self, path: String, code: &str, params: Vec<(String, String)>) {
        self.violations.push(Violation { params, ..Violation::new(path, code) });
    }

    fn hours(&mut self, at: &str, hours: &mut Hours) -> Result<(), BookingError> {
        let (from, to) = (hours.from.minutes(), hours.to.minutes());
        if to <= from {
            self.note(format!("{at}/to"), "agenda.order", vec![]);
        } else if to - from < hours.minutes {
            self.note(format!("{at}/minutes"), "agenda.too-long", vec![]);
        }
        let zones = &self.rules.used.descriptor.zones;
        if !zones.contains(&hours.zone) {
            self.note(format!("{at}/zone"), "agenda.zone", vec![("expected".into(), zones.join(", "))]);
        }
        if let Some(spelt) = hours.hospital.take() {
            hours.hospital = self.hospital(&spelt)?;
            if hours.hospital.is_none() {
                self.note(format!("{at}/hospital"), "agenda.hospital", vec![]);
            }
        }
        self.request(at, &hours.request)?;
        Ok(())
    }

    fn hospital(&mut self, spelt: &str) -> Result<Option<String>, Fault> {
        if let Some(known) = self.hospitals.get(spelt) {
            return Ok(known.clone());
        }
        let key = self.rules.used.key(Party::Hospital, spelt)?;
        self.hospitals.insert(spelt.to_owned(), key.clone());
        Ok(key)
    }

    /// Checks the members of a request that hours fix. Other members of a request are missing here.
    fn request(&mut self, at: &str, request: &Map<String, Json>) -> Result<(), Fault> {
        let rules = &self.rules.used;
        let mut known: BTreeMap<&str, &Json> = rules.place_members();
        known.retain(|name, _| !AGENDA_KEYS.contains(name));
        for name in request.keys().filter(|name| !known.contains_key(name.as_str())) {
            let expected = known.keys().copied().collect::<Vec<_>>().join(", ");
            let params = vec![("property".into(), name.clone()), ("expected".into(), expected)];
            let at = format!("{at}/request/{}", escape(name));
            self.violations.push(Violation { params, ..Violation::new(at, "agenda.member") });
        }
        let is_given = |path: &str| {
            let name = path.strip_prefix('/').and_then(|path| path.split('/').next());
            name.is_some_and(|name| request.keys().any(|key| escape(key) == name && known.contains_key(key.as_str())))
        };
        let refused = rules.check_request(&Json::Object(request.clone()))?;
        let refused = refused.into_iter().filter(|violation| is_given(&violation.path));
        let below = |violation: Violation| Violation { path: format!("{at}/request{}", violation.path), ..violation };
        self.violations.extend(refused.map(below));
        Ok(())
    }
}
