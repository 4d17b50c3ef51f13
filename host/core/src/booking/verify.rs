//! Verification: staff, or an account that is or acts for the patient, confirm an appointment that an account booked without
//! a verified tie to the patient. From then on it is the patient's: others who act for the patient see it, and its personal
//! claims are those of the patient. The host does this without the rules, because it changes nothing that they planned.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::booking::error::BookingError;
use crate::booking::idempotency::InUse;
use crate::booking::presentation::entity_tag;
use crate::booking::{ActionRequest, Booking, MAX_ATTEMPTS, NamedSlot, View};
use crate::model::{
    Appointment, Caller, Claim, Context, CountryCode, Forbidden, HeldClaim, Provenance, ReadOperation, Revision, Scope,
    Step, VERIFY, personal_key,
};
use crate::people::Access;
use crate::ports::{Change, CommitError, Committed};
use crate::release::InForce;
use crate::rules::{HOLD, SLOT, schema};

impl Booking {
    /// Verifies an appointment. One that is verified already stays as it is.
    pub(super) async fn verify(
        &self,
        caller: &Caller,
        country: CountryCode,
        request: ActionRequest<'_>,
    ) -> Result<View, BookingError> {
        let (rules, access) = self.enter(caller, country, Scope::Write).await?;
        let mut current = self.verifiable(&access, country, request.id).await?;
        needs_no_input(&rules, &request)?;
        let target = format!("{}/{VERIFY}", request.id);
        let key = self.use_key(caller, country, &target, &request.input, request.key)?;
        if let Some(earlier) = self.earlier(&rules, &access, key.as_ref()).await? {
            return Ok(earlier);
        }
        for _ in 0..MAX_ATTEMPTS {
            let shown_by = &rules.of(&current.appointment.patient).id.digest;
            if request.if_match.as_ref().is_some_and(|seen| !seen.contains(&entity_tag(&current, shown_by))) {
                break;
            }
            if current.owner.is_none() {
                let view = self.view(&rules, access.role, current).await?;
                self.log_shown(&access, ReadOperation::Get, country, [&*view.revision]).await?;
                return Ok(view);
            }
            match self.store_verified(&rules, &access, key.as_ref(), &current).await {
                Err(BookingError::Stale { .. }) => current = self.verifiable(&access, country, request.id).await?,
                stored => return stored,
            }
        }
        Err(BookingError::Stale { current: current.appointment.revision })
    }

    /// Returns an appointment if the caller may verify it. Whoever acts for the patient may, without having seen it.
    pub(super) async fn verifiable(
        &self,
        access: &Access,
        country: CountryCode,
        id: Uuid,
    ) -> Result<Arc<Revision>, BookingError> {
        let found = self.decider.ledger.appointment(country, id).await?;
        let may_know = |found: &Arc<Revision>| access.sees(found) || access.acts_for(&found.appointment.patient);
        let found = found.filter(may_know).ok_or(BookingError::UnknownAppointment)?;
        if access.owner_for(&found.appointment.patient).is_some() {
            let who = "staff, and accounts that are the patient or act for the patient";
            return Err(Forbidden(format!("`{VERIFY}` is for {who}")).into());
        }
        Ok(found)
    }

    async fn store_verified(
        &self,
        rules: &InForce,
        access: &Access,
        key: Option<&InUse<'_>>,
        current: &Arc<Revision>,
    ) -> Result<View, BookingError> {
        let now = self.clock.now();
        let step = Step { action: VERIFY.to_owned(), role: access.role, at: now };
        let before = &current.appointment;
        let revision = Revision {
            appointment: Appointment {
                unverified: false,
                revision: before.revision.saturating_add(1),
                steps: step.after(Some(before)),
                ..before.clone()
            },
            claims: Vec::new(),
            owner: None,
            personal_places: BTreeMap::new(),
            updated_at: now,
            provenance: Provenance {
                action: VERIFY.to_owned(),
                input: Vec::new(),
                context: Context { now: now.as_second(), clocks: vec![], caller: access.for_rules(), facts: vec![] },
                facts: Vec::new(),
                host: self.decider.host_version.to_owned(),
                subject: access.subject.clone(),
                request_id: access.request_id.clone(),
                ..current.provenance.clone()
            },
            ..(**current).clone()
        };
        let shown = self.listed(rules, access.role, vec![revision.clone()]).await?.pop();
        let change = Change {
            claims: current.claims.iter().map(|held| of_patient(held, &current.personal_places)).collect(),
            choices: Vec::new(),
            held: current.claims.clone(),
            hold: None,
            receipt: key.map(|key| key.receipt(before.id, revision.appointment.revision, now)),
            agenda: None,
            events: Vec::new(),
            revision,
        };
        match self.decider.ledger.commit(change).await {
            Ok(Committed { revision, .. }) => Ok(View { revision, ..shown.expect("a page has its first item") }),
            Err(CommitError::ClaimTaken(_)) => Err(BookingError::PatientTaken),
            Err(CommitError::KeyUsed) => self.earlier(rules, access, key).await?.ok_or(BookingError::InProgress),
            Err(CommitError::Stale | CommitError::AgendaChanged) => {
                Err(BookingError::Stale { current: before.revision })
            }
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }
}

/// Returns the claim of the patient for a place that an account holds. Any other claim stays as it is.
fn of_patient(held: &HeldClaim, places: &BTreeMap<String, u16>) -> Claim {
    let places = places.get(&held.key).copied().unwrap_or(1);
    Claim { places, ..Claim::new(personal_key(&held.key).unwrap_or(&held.key)) }
}

/// Refuses a request that has an input.
fn needs_no_input(rules: &InForce, request: &ActionRequest<'_>) -> Result<(), BookingError> {
    static NO_INPUT: LazyLock<Validator> = LazyLock::new(|| {
        let schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        schema::validator("input-schema", &schema).expect("a small schema")
    });
    let mut document = request.input.clone();
    if let (Some(slot), Some(members)) = (&request.slot, document.as_object_mut()) {
        let member = if matches!(slot, NamedSlot::Free(_)) { SLOT } else { HOLD };
        members.insert(member.to_owned(), Json::Null);
    }
    let violations = schema::violations(&NO_INPUT, &document);
    if violations.is_empty() { Ok(()) } else { Err(BookingError::refused(&rules.used, violations)) }
}
