//! Revisions and events in the former format, which did not separate personal data. Migrations convert them to the
//! current format.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::model::appointment::{Appointment, CountryCode, Field, Phase, Provenance, Revision, RulesId, Slot, Step};
use crate::model::claim::{Claim, HeldClaim};
use crate::model::context::{Context, Role, ZoneClock};
use crate::model::event::{Event, EventData};
use crate::model::pseudonym::Pseudonyms;

/// A revision in the former format. Unknown members are an error, so that a migration loses none.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormerRevision {
    country: CountryCode,
    appointment: FormerAppointment,
    starts_at: Option<Timestamp>,
    claims: Vec<String>,
    owner: String,
    patient: String,
    doctor: Option<String>,
    hospital: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    provenance: FormerProvenance,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FormerAppointment {
    id: Uuid,
    phase: Phase,
    slot: Option<Slot>,
    revision: u32,
    attributes: Vec<Field>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FormerProvenance {
    action: String,
    input: Vec<Field>,
    context: FormerContext,
    rules: RulesId,
    contract: String,
    host: String,
    subject: String,
    request_id: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FormerContext {
    now: i64,
    clocks: Vec<ZoneClock>,
    role: Role,
}

/// An event in the former format, with the whole revision.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormerEvent {
    specversion: String,
    id: Uuid,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Uuid,
    time: Timestamp,
    datacontenttype: String,
    country: CountryCode,
    data: FormerRevision,
}

impl FormerRevision {
    /// Sets the attributes of the appointment, for a ledger that stored them separately.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Vec<Field>) -> Self {
        self.appointment.attributes = attributes;
        self
    }

    /// Returns the id of the appointment and the number of the revision.
    pub fn place(&self) -> (Uuid, u32) {
        (self.appointment.id, self.appointment.revision)
    }

    /// Returns the country.
    pub fn country(&self) -> CountryCode {
        self.country
    }

    /// Returns the keys of the claims in the former format.
    pub fn claims(&self) -> &[String] {
        &self.claims
    }

    /// Converts the revision to the current format. `before` is the preceding one; `None` for the first. All attributes
    /// count as personal, because the schemas of the rules are not known here.
    pub fn into_revision(self, names: &Pseudonyms, before: Option<&Revision>) -> Revision {
        let Self { country, appointment, provenance, patient, .. } = self;
        let step = Step { action: provenance.action.clone(), role: provenance.context.role, at: self.updated_at };
        // What staff booked is the patient's, as it is now.
        let owner = match before {
            Some(before) => before.owner.clone(),
            None => (step.role == Role::Patient).then_some(self.owner),
        };
        let held = |key: String| {
            let personal = Claim::new(key.clone()).is_about(&patient);
            HeldClaim { key: names.claim(country, Claim { personal, ..Claim::new(key) }, None).key, ordinal: 0 }
        };
        Revision {
            country,
            person: names.patient(country, &patient),
            claims: self.claims.into_iter().map(held).collect(),
            owner,
            personal_places: BTreeMap::new(),
            updated_at: self.updated_at,
            personal: appointment.attributes.iter().map(|field| field.path.clone()).collect(),
            appointment: Appointment {
                id: appointment.id,
                phase: appointment.phase,
                slot: appointment.slot,
                starts_at: self.starts_at,
                created_at: self.created_at,
                patient,
                doctor: self.doctor,
                hospital: self.hospital,
                unverified: false,
                wake: None,
                revision: appointment.revision,
                steps: step.after(before.map(|before| &before.appointment)),
                attributes: appointment.attributes,
            },
            provenance: Provenance {
                action: provenance.action,
                input: provenance.input,
                context: Context {
                    now: provenance.context.now,
                    clocks: provenance.context.clocks,
                    caller: provenance.context.role.into(),
                    facts: Vec::new(),
                },
                facts: Vec::new(),
                rules: provenance.rules,
                contract: provenance.contract,
                host: provenance.host,
                subject: provenance.subject,
                request_id: provenance.request_id,
            },
        }
    }
}

impl FormerEvent {
    /// Converts the event to the current format.
    pub fn into_event(self, names: &Pseudonyms) -> Event {
        let patient = names.patient(self.data.country, &self.data.patient);
        Event {
            specversion: self.specversion,
            id: self.id,
            source: self.source,
            kind: self.kind,
            subject: self.subject,
            time: self.time,
            datacontenttype: self.datacontenttype,
            country: self.country,
            data: EventData { revision: self.data.appointment.revision, patient },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn written(number: u32, action: &str) -> Json {
        json!({
            "country": "pe",
            "appointment": {
                "id": "01935f00-0000-7000-8000-000000000001", "phase": "booked", "revision": number,
                "slot": { "start": "2026-12-01T09:30:00", "minutes": 30, "zone": "America/Lima" },
                "attributes": [{ "path": "/dni", "value": { "text": "10117410" } }],
            },
            "startsAt": "2026-12-01T14:30:00Z",
            "claims": ["doctor/45678/2026-12-01T14:30Z", "patient/dni:10117410/2026-12-01T14:30Z"],
            "owner": "ana", "patient": "dni:10117410", "doctor": "45678", "hospital": null,
            "createdAt": "2026-11-24T15:00:00Z", "updatedAt": format!("2026-11-24T15:0{number}:00Z"),
            "provenance": {
                "action": action, "input": [{ "path": "/email", "value": { "text": "ana@example.com" } }],
                "context": { "now": 1, "clocks": [], "role": "staff" },
                "rules": { "version": "1.0.0", "digest": "sha256:ab" },
                "contract": "1.0.0", "host": "0.1.0", "subject": "ana", "requestId": "r",
            },
        })
    }

    fn read(number: u32, action: &str) -> FormerRevision {
        serde_json::from_value(written(number, action)).unwrap()
    }

    #[test]
    fn a_former_history_becomes_revisions_whose_open_parts_name_nobody() {
        let names = Pseudonyms::new(b"key");
        let first = read(1, "book").into_revision(&names, None);
        let second = read(2, "reschedule").into_revision(&names, Some(&first));
        let steps: Vec<_> = second.appointment.steps.iter().map(|step| (step.action.as_str(), step.role)).collect();
        assert_eq!(steps, [("book", Role::Staff), ("reschedule", Role::Staff)]);
        assert_eq!(second.appointment.steps[0].at, "2026-11-24T15:01:00Z".parse().unwrap());
        assert_eq!(second.person, names.patient(second.country, "dni:10117410"));
        assert_eq!(second.claims[0].key, "doctor/45678/2026-12-01T14:30Z");
        let (open, personal) = second.clone().apart();
        let text = serde_json::to_string(&open).unwrap();
        assert!(!text.contains("10117410") && !text.contains("ana@example.com"), "{text}");
        assert_eq!(open.complete(Some(personal)), second);
    }

    #[test]
    fn what_a_patient_booked_is_still_the_accounts_and_what_staff_booked_is_the_patients() {
        let owner = |role: &str| {
            let mut booked = written(1, "book");
            booked["provenance"]["context"]["role"] = role.into();
            let names = Pseudonyms::new(b"key");
            let first = serde_json::from_value::<FormerRevision>(booked).unwrap().into_revision(&names, None);
            let second = read(2, "reschedule").into_revision(&names, Some(&first));
            assert_eq!(first.owner, second.owner);
            second.owner
        };
        assert_eq!(owner("patient").as_deref(), Some("ana"));
        assert_eq!((owner("staff"), owner("platform")), (None, None));
    }

    #[test]
    fn a_former_event_keeps_its_id_and_loses_its_content() {
        let event = json!({
            "specversion": "1.0", "id": "01935f00-0000-7000-8000-000000000002", "source": "/v1/pe/appointments",
            "type": "citas.appointment.booked", "subject": "01935f00-0000-7000-8000-000000000001",
            "time": "2026-11-24T15:02:00Z", "datacontenttype": "application/json", "country": "pe",
            "data": written(2, "book"),
        });
        let former: FormerEvent = serde_json::from_value(event.clone()).unwrap();
        let kept = serde_json::to_value(former.into_event(&Pseudonyms::new(b"key"))).unwrap();
        assert_eq!((&kept["id"], &kept["data"]["revision"]), (&event["id"], &json!(2)));
        assert!(!kept.to_string().contains("10117410"), "{kept}");
    }

    #[test]
    fn a_member_that_is_not_known_is_an_error() {
        let mut odd = written(1, "book");
        odd["provenance"]["more"] = json!(1);
        assert!(serde_json::from_value::<FormerRevision>(odd).unwrap_err().to_string().contains("`more`"));
    }
}
