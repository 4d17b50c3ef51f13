//! Watches the calls to rules, so that their team can repeat a failed one outside the component, where it fails with
//! words. Changes no result.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use jiff::civil::DateTime;
use serde_json::{Value as Json, json};

use crate::model::{Appointment, Context, Descriptor, Field, Notice, Offer, Slot, Value, Verdict};
use crate::ports::{FailedCall, Fault, Rules};

/// Returns the same rules. Sends each call that traps to `failed`. A call for
/// which the channel has no room is left out.
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
    fn describe(&self) -> Result<Descriptor, Fault> {
        let answer = self.note("describe", self.rules.describe(), Vec::new)?;
        self.country.get_or_init(|| answer.country.clone());
        Ok(answer)
    }

    fn book(&self, asked: &Context, request: &[Field]) -> Result<Verdict, Fault> {
        self.note("book", self.rules.book(asked, request), || vec![context(asked), fields(request)])
    }

    fn act(&self, asked: &Context, current: &Appointment, action: &str, input: &[Field]) -> Result<Verdict, Fault> {
        self.note("act", self.rules.act(asked, current, action, input), || {
            vec![context(asked), appointment(current), json!(action), fields(input)]
        })
    }

    fn present(&self, appointments: &[&Appointment]) -> Result<Vec<Vec<Field>>, Fault> {
        self.note("present", self.rules.present(appointments), || {
            vec![appointments.iter().map(|current| appointment(current)).collect()]
        })
    }

    fn fitting(&self, appointments: &[&Appointment]) -> usize {
        self.rules.fitting(appointments)
    }

    fn offers(&self, asked: &Context, place: &[Field], openings: &[Slot]) -> Result<Option<Vec<Offer>>, Fault> {
        self.note("offers", self.rules.offers(asked, place, openings), || {
            vec![context(asked), fields(place), openings.iter().map(slot).collect()]
        })
    }

    fn notices(&self, event: &str, current: &Appointment) -> Result<Vec<Notice>, Fault> {
        self.note("notices", self.rules.notices(event, current), || vec![json!(event), appointment(current)])
    }
}

fn context(context: &Context) -> Json {
    let clocks = context.clocks.iter().map(|clock| {
        let shifts = clock.shifts.iter().map(|shift| json!({ "at": shift.at, "offset-minutes": shift.offset_minutes }));
        json!({ "zone": clock.zone, "now": civil(clock.now), "shifts": shifts.collect::<Vec<_>>() })
    });
    json!({ "now": context.now, "clocks": clocks.collect::<Vec<_>>(), "role": context.role.as_str() })
}

fn civil(time: DateTime) -> Json {
    json!({
        "year": time.year(), "month": time.month(), "day": time.day(), "hour": time.hour(), "minute": time.minute(),
    })
}

fn slot(slot: &Slot) -> Json {
    json!({ "start": civil(slot.start), "minutes": slot.minutes, "zone": slot.zone })
}

fn appointment(appointment: &Appointment) -> Json {
    json!({
        "id": appointment.id, "phase": appointment.phase.as_str(), "slot": appointment.slot.as_ref().map(slot),
        "revision": appointment.revision, "attributes": fields(&appointment.attributes),
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
