//! Measures one call to the rules, with a fresh instance, conversion of arguments and results, and fuel counting. For
//! comparison calls the same rules natively.

use std::time::Duration;

use citas_core::model::{Appointment, Context, Fact, FactQuery, Field, Role, Value};
use citas_core::ports::{Clock as _, Fault};
use citas_core::rules::LoadedRules;
use citas_kit::AppointmentRules;
use jiff::civil::DateTime;

use crate::platform::{component, loaded, peru};
use crate::report::{Report, micros, spread};
use crate::requests::{booked, example, leaves};
use crate::timing::{median, time, time_answer};

const CALLS: usize = 20_000;
const PAGES: usize = 500;

/// Maximum median time of a call to Peru's `book`.
const PERU_TARGET: Duration = Duration::from_micros(20);

/// Maximum median time of Colombia's calls for a request: the queries of its facts, and `book` with the facts. They
/// are those of most patients, who have missed no appointment.
const COLOMBIA_TARGET: Duration = Duration::from_micros(30);

pub fn measure(report: &mut Report) {
    country::<citas_pe::Peru>(report, "pe", peru(), Some(PERU_TARGET));
    country::<citas_cl::Chile>(report, "cl", &component("cl"), None);
    country::<citas_co::Colombia>(report, "co", &component("co"), Some(COLOMBIA_TARGET));
}

fn country<Native: AppointmentRules>(report: &mut Report, name: &str, component: &[u8], target: Option<Duration>) {
    let rules = loaded(component);
    let mut context = rules.context(citas::system::SystemClock.now(), Role::Patient);
    let request = leaves(&example(&rules));
    let queries = rules.rules().queries(&context, None, &request).expect("queries");
    let fact = |query: FactQuery| Fact { name: query.name, appointments: Vec::new(), more: false };
    context.facts = queries.into_iter().map(fact).collect();
    let ask = || {
        if rules.rules().has_facts() {
            rules.rules().queries(&context, None, &request)?;
        }
        rules.rules().book(&context, &request)
    };
    let (theirs, asked) = (native_context(&context), native_fields(&request));

    let (mut called, mut natively) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        called.push(time_answer(ask));
        let (context, request) = (theirs.clone(), asked.clone());
        natively.push(time(|| Native::book(context, request).expect("a plan")));
    }
    let (what, time) = (format!("{name}: book"), median(&mut called));
    match target {
        Some(target) => {
            report.target(what, spread(&mut called), &format!("≤ {} µs", target.as_micros()), time <= target);
        }
        None => report.figure(what, spread(&mut called)),
    }
    report.figure(format!("{name}: book, natively"), spread(&mut natively));

    let appointment = booked(&rules);
    let present = || rules.rules().present(Role::Patient, &[&appointment]);
    let mut one: Vec<_> = (0..CALLS).map(|_| time_answer(present)).collect();
    report.figure(format!("{name}: present 1"), spread(&mut one));
    let page = vec![&appointment; 100];
    let mut hundred: Vec<_> = (0..PAGES).map(|_| time_answer(|| present_all(&rules, &page))).collect();
    let each = micros(median(&mut hundred) / 100);
    report.figure(format!("{name}: present 100"), format!("{}, {each} each", micros(median(&mut hundred))));
}

/// Presents a page in as many calls as its size requires.
fn present_all(rules: &LoadedRules, page: &[&Appointment]) -> Result<(), Fault> {
    let mut rest = page;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(rules.rules().fitting(rest));
        rules.rules().present(Role::Patient, batch)?;
        rest = others;
    }
    Ok(())
}

fn native_context(context: &Context) -> citas_kit::Context {
    let clock = |clock: &citas_core::model::ZoneClock| citas_kit::ZoneClock {
        zone: clock.zone.clone(),
        now: native_civil(clock.now),
        shifts: clock
            .shifts
            .iter()
            .map(|shift| citas_kit::Shift { at: shift.at, offset_minutes: shift.offset_minutes })
            .collect(),
    };
    citas_kit::Context {
        now: context.now,
        clocks: context.clocks.iter().map(clock).collect(),
        caller: citas_kit::Caller {
            role: citas_kit::Role::Patient,
            account: context.caller.account.clone(),
            ties: Vec::new(),
            hospitals: None,
        },
        facts: Vec::new(),
    }
}

fn native_civil(time: DateTime) -> citas_kit::Civil {
    citas_kit::Civil {
        year: time.year(),
        month: time.month().unsigned_abs(),
        day: time.day().unsigned_abs(),
        hour: time.hour().unsigned_abs(),
        minute: time.minute().unsigned_abs(),
    }
}

fn native_fields(fields: &[Field]) -> Vec<citas_kit::Field> {
    let value = |value: &Value| match value {
        Value::Text(text) => citas_kit::Value::Text(text.clone()),
        Value::Integer(number) => citas_kit::Value::Integer(*number),
        Value::Decimal(digits) => citas_kit::Value::Decimal(digits.clone()),
        Value::Flag(flag) => citas_kit::Value::Flag(*flag),
        Value::Texts(texts) => citas_kit::Value::Texts(texts.clone()),
    };
    fields.iter().map(|field| citas_kit::Field { path: field.path.clone(), value: value(&field.value) }).collect()
}
