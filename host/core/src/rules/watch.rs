//! Watches the calls to rules, so that their team can repeat a trapped one outside the component, where it fails with an
//! error text. Changes no result.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Value as Json, json};

use crate::model::{
    Appointment, Context, Demand, Descriptor, FactQuery, Field, Notice, Offered, Opening, Party, Place, Role, Slot,
    Value, Verdict,
};
use crate::ports::{FIRST_CONTRACT, FailedCall, Fault, Rules};

/// Returns the rules with a watch, which sends each call that traps to `failed`. Drops a call if the channel is full.
pub fn watched(rules: Arc<dyn Rules>, failed: SyncSender<FailedCall>) -> Arc<dyn Rules> {
    Arc::new(Watched { rules, failed, country: OnceLock::new() })
}

struct Watched {
    rules: Arc<dyn Rules>,
    failed: SyncSender<FailedCall>,
    country: OnceLock<String>,
}

impl Watched {
    fn note<T>(
        &self,
        function: &str,
        answer: Result<T, Fault>,
        arguments: impl FnOnce() -> Vec<Json>,
    ) -> Result<T, Fault> {
        // Other faults say what is wrong, and outside the component they fail differently, if at all.
        if let Err(Fault::Trapped(_)) = answer {
            let country = self.country.get().cloned().unwrap_or_default();
            let _ = self.failed.try_send(FailedCall { country, function: function.into(), arguments: arguments() });
        }
        answer
    }
}

impl Rules for Watched {
    fn contract(&self) -> &'static str {
        self.rules.contract()
    }

    fn describe(&self) -> Result<Descriptor, Fault> {
        let answer = self.note("describe", self.rules.describe(), Vec::new)?;
        self.country.get_or_init(|| answer.country.clone());
        Ok(answer)
    }

    fn book(&self, asked: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        self.note("book", self.rules.book(asked, request), || vec![self.context(asked), fields(request)])
    }

    fn act(&self, asked: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Verdict, Fault> {
        self.note("act", self.rules.act(asked, current, action, input), || {
            vec![self.context(asked), self.appointment(current), json!(action), fields(input)]
        })
    }

    fn present(&self, role: Role, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        self.note("present", self.rules.present(role, appointments), || {
            let appointments: Json = appointments.iter().map(|current| self.appointment(current)).collect();
            if self.is_first() { vec![appointments] } else { vec![json!(role.as_str()), appointments] }
        })
    }

    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        self.rules.fitting(appointments)
    }

    fn key(&self, of: Party, spelling: &str) -> Result<Option<String>, Fault> {
        self.note("key", self.rules.key(of, spelling), || vec![json!(of.as_str()), json!(spelling)])
    }

    fn has_facts(&self) -> bool {
        self.rules.has_facts()
    }

    fn queries(
        &self,
        asked: &Context,
        acting: Option<(&str, &Appointment)>,
        input: &[Field],
    ) -> Result<Vec<FactQuery>, Fault> {
        let function = if acting.is_some() { "before-action" } else { "before-booking" };
        self.note(function, self.rules.queries(asked, acting, input), || match acting {
            Some((action, current)) => {
                vec![self.context(asked), self.appointment(current), json!(action), fields(input)]
            }
            None => vec![self.context(asked), fields(input)],
        })
    }

    fn has_openings(&self) -> bool {
        self.rules.has_openings()
    }

    fn openings(
        &self,
        asked: &Context,
        place: &Place,
        since: DateTime,
        until: DateTime,
    ) -> Result<Vec<Opening>, Fault> {
        self.note("openings", self.rules.openings(asked, place, since, until), || {
            vec![self.context(asked), self::place(place), civil(since), civil(until)]
        })
    }

    fn offers(
        &self,
        asked: &Context,
        place: &Place,
        current: Option<&Appointment>,
        openings: &[Opening],
    ) -> Result<Option<Offered>, Fault> {
        self.note("offers", self.rules.offers(asked, place, current, openings), || {
            if self.is_first() {
                let slots = openings.iter().map(|opening| slot(&opening.slot)).collect();
                return vec![self.context(asked), fields(&place.fields), slots];
            }
            let current = current.map_or(Json::Null, |current| self.appointment(current));
            vec![self.context(asked), self::place(place), current, openings.iter().map(opening).collect()]
        })
    }

    fn due(&self, asked: &Context, demand: Demand, received: i64) -> Result<Option<i64>, Fault> {
        self.note("due", self.rules.due(asked, demand, received), || {
            vec![self.context(asked), json!(demand.as_str()), json!(received)]
        })
    }

    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        self.note("notices", self.rules.notices(event, current), || vec![json!(event), self.appointment(current)])
    }
}

impl Watched {
    /// True for rules of contract 1.0.0, whose records have fewer members.
    fn is_first(&self) -> bool {
        self.contract() == FIRST_CONTRACT
    }

    fn context(&self, context: &Context) -> Json {
        let clocks = context.clocks.iter().map(|clock| {
            let shifts =
                clock.shifts.iter().map(|shift| json!({ "at": shift.at, "offset-minutes": shift.offset_minutes }));
            json!({ "zone": clock.zone, "now": civil(clock.now), "shifts": shifts.collect::<Vec<_>>() })
        });
        let mut json = json!({ "now": context.now, "clocks": clocks.collect::<Vec<_>>() });
        let caller = &context.caller;
        if self.is_first() {
            json["role"] = caller.role.as_str().into();
            return json;
        }
        let ties = caller.ties.iter().map(|tie| json!({ "patient": tie.patient, "relation": tie.relation }));
        json["caller"] = json!({
            "role": caller.role.as_str(), "account": caller.account, "ties": ties.collect::<Vec<_>>(),
            "hospitals": caller.hospitals,
        });
        let facts = context.facts.iter().map(|fact| {
            let appointments: Vec<Json> = fact.appointments.iter().map(|found| self.appointment(found)).collect();
            json!({ "name": fact.name, "appointments": appointments, "more": fact.more })
        });
        json["facts"] = facts.collect();
        json
    }

    fn appointment(&self, appointment: &Appointment) -> Json {
        let mut json = json!({
            "id": appointment.id, "phase": appointment.phase.as_str(), "slot": appointment.slot.as_ref().map(slot),
            "revision": appointment.revision, "attributes": fields(&appointment.attributes),
        });
        if self.is_first() {
            return json;
        }
        let steps = appointment
            .steps
            .iter()
            .map(|step| json!({ "action": step.action, "role": step.role.as_str(), "at": step.at.as_second() }));
        let wake = appointment.wake.as_ref().map(|wake| json!({ "at": wake.at.as_second(), "action": wake.action }));
        let more = json!({
            "starts-at": appointment.starts_at.map(Timestamp::as_second),
            "created-at": appointment.created_at.as_second(),
            "patient": appointment.patient, "doctor": appointment.doctor, "hospital": appointment.hospital,
            "unverified": appointment.unverified, "wake": wake, "steps": steps.collect::<Vec<_>>(),
        });
        if let (Json::Object(json), Json::Object(more)) = (&mut json, more) {
            json.extend(more);
        }
        json
    }
}

fn civil(time: DateTime) -> Json {
    json!({
        "year": time.year(), "month": time.month(), "day": time.day(), "hour": time.hour(), "minute": time.minute(),
    })
}

fn slot(slot: &Slot) -> Json {
    json!({ "start": civil(slot.start), "minutes": slot.minutes, "zone": slot.zone })
}

fn place(place: &Place) -> Json {
    json!({ "doctor": place.doctor, "hospital": place.hospital, "fields": fields(&place.fields) })
}

fn opening(opening: &Opening) -> Json {
    json!({
        "slot": slot(&opening.slot), "doctor": opening.doctor, "hospital": opening.hospital, "places": opening.places,
        "fields": fields(&opening.fields),
    })
}

fn fields(fields: &[Field]) -> Json {
    fields.iter().map(|field| json!({ "path": field.path, "value": value(&field.value) })).collect()
}

fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({ "tag": "text", "val": text }),
        Value::Integer(number) => json!({ "tag": "integer", "val": number }),
        Value::Decimal(digits) => json!({ "tag": "decimal", "val": digits }),
        Value::Flag(flag) => json!({ "tag": "flag", "val": flag }),
        Value::Texts(texts) => json!({ "tag": "texts", "val": texts }),
    }
}
