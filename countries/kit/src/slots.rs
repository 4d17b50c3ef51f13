//! Free slots of a [`House`]: its own openings, and the openings that may be booked.

use crate::actions::Change;
use crate::civil::{Date, Time};
use crate::fields::{Fields, unpadded};
use crate::house::House;
use crate::quotas::{Quotas, booked_by};
use crate::schedule::Holders;
use crate::settings::Setting;
use crate::{Appointment, Civil, Claim, Context, Field, Offer, Offered, Opening, Place, Violation};

/// A search for a free slot: for a new booking, or for an appointment that is to be moved.
struct Search<'a> {
    context: &'a Context,
    place: &'a Place,
    current: Option<&'a Appointment>,
    /// Leaves that describe the appointment: its attributes, and those of the place.
    known: Vec<Field>,
    patient: Option<String>,
    /// Claims of the appointment that do not depend on its time.
    counted: Vec<Claim>,
}

impl House {
    /// Returns the openings of a doctor, or of the hospital's sessions, by the house's hours. There are none if the place
    /// names neither.
    #[must_use]
    pub fn openings(&self, context: &Context, place: &Place, since: Civil, until: Civil) -> Vec<Opening> {
        let fields = Fields::new(&place.fields);
        let setting = (self.setting)(fields);
        let has_session = setting.is_session();
        let whose = if has_session { &place.hospital } else { &place.doctor };
        if whose.is_none() {
            return Vec::new();
        }
        let visit = (self.visit)(context, fields, None);
        let opening = |slot| Opening {
            slot,
            doctor: place.doctor.clone().filter(|_| !has_session),
            hospital: place.hospital.clone(),
            places: setting.places(),
            fields: Vec::new(),
        };
        self.schedule.house_hours(&visit, since, until).map(opening).collect()
    }

    /// Returns the openings that may be booked, or to which `current` may be moved. If there are none, the first
    /// violation of the first opening is the reason.
    #[must_use]
    pub fn offers(
        &self,
        context: &Context,
        place: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Offered {
        if let Some(Err(reason)) = current.map(|current| self.movable(context, current)) {
            return Offered { offers: Vec::new(), reason: Some(reason) };
        }
        let search = self.search(context, place, current);
        let (mut offers, mut reason) = (Vec::new(), None);
        for (index, opening) in (0..).zip(openings) {
            match self.offer(&search, index, opening) {
                Ok(offer) => offers.push(offer),
                Err(violations) => reason = reason.or(violations.into_iter().next()),
            }
        }
        Offered { reason: reason.filter(|_| offers.is_empty()), offers }
    }

    fn search<'a>(&self, context: &'a Context, place: &'a Place, current: Option<&'a Appointment>) -> Search<'a> {
        let attributes = current.map_or(&[][..], |current| &current.attributes);
        let known = [attributes, &place.fields].concat();
        let patient = (self.patient)(Fields::new(&known));
        let (quotas, account) = match current {
            Some(_) => (Quotas::NONE, booked_by(Fields::new(attributes))),
            None => (self.quotas.of(&context.caller), context.caller.counted()),
        };
        let counted = quotas.claims(patient.as_deref(), account).collect();
        Search { context, place, current, known, patient, counted }
    }

    fn movable(&self, context: &Context, current: &Appointment) -> Result<(), Violation> {
        let change = Change { country: self.schedule.country, action: "reschedule", context, current };
        change.still_open()?;
        change.in_time(self.change_hours)
    }

    /// Returns the offer of an opening, or the rules that it breaks. The list is empty if the opening is not for this search.
    fn offer(&self, search: &Search, index: u32, opening: &Opening) -> Result<Offer, Vec<Violation>> {
        let fields = Fields::over(&opening.fields, &search.known);
        let setting = (self.setting)(fields);
        let (doctor, hospital) = search.whose(opening, setting).ok_or_else(Vec::new)?;
        let visit = (self.visit)(search.context, fields, Some(&opening.slot));
        let (slot, start) = self.schedule.within(&visit, &opening.slot)?;
        let holders = Holders { doctor, patient: search.patient.as_deref() };
        let (at_hospital, minutes, cell) = (hospital.unwrap_or_default(), slot.minutes, self.schedule.claim_minutes);
        let of_setting = setting.claims(at_hospital, start, minutes, cell);
        let claims = [self.schedule.claims(holders, start, minutes), of_setting, search.counted.clone()].concat();
        let choices = setting.choices(at_hospital, start, minutes, cell);
        let mut request = at(slot.start);
        if search.current.is_none_or(|current| current.slot.is_none()) {
            request.extend(doctor.map(|doctor| Field::text("/doctor", doctor)));
            request.extend(hospital.map(|hospital| Field::text("/hospital", hospital)));
            request.extend(opening.fields.iter().filter(|field| self.places.contains(&field.path.as_str())).cloned());
        }
        Ok(Offer { opening: index, slot, claims, choices, request })
    }
}

impl Search<'_> {
    /// Returns the doctor and the hospital of an opening, unless the search is for another doctor, hospital or leaf. A
    /// session needs the hospital and is no doctor's opening, and any other opening needs the doctor.
    fn whose<'a>(&'a self, opening: &'a Opening, setting: Setting) -> Option<(Option<&'a str>, Option<&'a str>)> {
        let known = Fields::new(&self.known);
        if setting.is_session() && opening.doctor.is_some() {
            return None;
        }
        let asked = || self.place.doctor.as_deref().or_else(|| known.text("/doctor").map(unpadded));
        let doctor = opening.doctor.as_deref().or_else(asked).filter(|_| !setting.is_session());
        let hospital = opening.hospital.as_deref().or(self.place.hospital.as_deref());
        if setting.is_session() { hospital } else { doctor }?;
        let stays = |before: Option<&str>, now: Option<&str>| before.is_none() || now.is_none() || before == now;
        let same = self.current.is_none_or(|current| {
            stays(current.doctor.as_deref(), doctor) && stays(current.hospital.as_deref(), hospital)
        });
        let fits = |field: &Field| known.get(&field.path).is_none_or(|value| *value == field.value);
        (same && opening.fields.iter().all(fits)).then_some((doctor, hospital))
    }
}

/// Returns the leaves of a request for this start.
fn at(start: Civil) -> Vec<Field> {
    let date = Date::of(start).map(|date| Field::text("/date", date.text()));
    date.into_iter().chain([Field::text("/time", Time::of(start).text())]).collect()
}
