//! Checks plans, offers and notices against the contract: their number, length and form, and claims that are empty or
//! repeated. The host stores and mails the results of the rules as they are. So it first refuses everything that some
//! ledger could not store, or that some mail server or calendar could not handle.

use std::collections::HashSet;

use crate::model::json::MAX_INTEGER;
use crate::model::{
    Claim, FactQuery, Field, MAX_CHOICES, MAX_CLAIMS, MAX_EVENTS, MAX_KEY_BYTES, Notice, Offer, Offered, Opening, Plan,
    Value, Verdict, Wake,
};
use crate::ports::Fault;

/// Minimum time from now until a scheduled action, in seconds.
const MIN_WAKE: i64 = 60;
/// Maximum time from now until a scheduled action, in seconds: 400 days.
const MAX_WAKE: i64 = 400 * 24 * 60 * 60;
/// Maximum length of an offer's part of a request in bytes. A slot's token has it, and a client sends that in a URL or a body.
const MAX_OFFER_BYTES: usize = 1024;
/// Maximum number of queries for the facts of one decision.
const MAX_QUERIES: usize = 4;
/// Maximum number of appointments of one fact.
const MAX_FOUND: u8 = 20;
/// Maximum number of notices for one event.
pub(crate) const MAX_NOTICES: usize = 10;
/// Maximum length of a mail address in bytes (RFC 5321, section 4.5.3.1.3, without the brackets of a path).
const MAX_ADDRESS: usize = 254;
/// Maximum length of a locale in bytes (RFC 5646, section 4.4.1).
const MAX_LOCALE: usize = 35;
/// Maximum length of a subject in bytes (RFC 5322, section 2.1.1: a line).
const MAX_SUBJECT: usize = 998;
/// Maximum length of a text or an HTML part in bytes. A mail contains the text three times: as its text, and in the
/// invitation as a part and as a file.
const MAX_PART: usize = 64 << 10;

/// Validates the plan against the contract. Clears the claims if the phase does not hold any. `now` is the time of the
/// call, in Unix seconds, and `is_scheduled` is true for the names of the actions that the clock may do.
pub(crate) fn check_verdict(verdict: Verdict, now: i64, is_scheduled: impl Fn(&str) -> bool) -> Result<Verdict, Fault> {
    let Ok(mut plan) = verdict else {
        let is_empty = verdict.as_ref().is_err_and(Vec::is_empty);
        return if is_empty { Err(Fault::BadAnswer("a refusal without a violation".into())) } else { Ok(verdict) };
    };
    if let Some(objection) = objection(&plan).or_else(|| about_wake(plan.wake.as_ref()?, now, is_scheduled)) {
        return Err(Fault::BadAnswer(objection));
    }
    if !plan.phase.is_live() {
        plan.claims.clear();
        plan.choices.clear();
    }
    Ok(Ok(plan))
}

fn objection(plan: &Plan) -> Option<String> {
    about_choices(plan)
        .or_else(|| about_keys(plan))
        .or_else(|| about_attributes(&plan.attributes))
        .or_else(|| about_events(&plan.events))
        .or_else(|| plan.slot.as_ref().filter(|slot| slot.minutes == 0).map(|_| "a slot of 0 minutes".into()))
}

/// Checks the claims together with those of each choice: the appointment gets both.
fn about_choices(plan: &Plan) -> Option<String> {
    if plan.choices.len() > MAX_CHOICES {
        return Some(format!("a plan with {} choices, and {MAX_CHOICES} are allowed", plan.choices.len()));
    }
    about_claims(&plan.claims, &[]).or_else(|| {
        plan.choices.iter().find_map(|choice| {
            about_claims(&plan.claims, &choice.claims).or_else(|| about_attributes(&choice.attributes))
        })
    })
}

fn about_claims(claims: &[Claim], chosen: &[Claim]) -> Option<String> {
    let all = || claims.iter().chain(chosen);
    let number = all().count();
    if number > MAX_CLAIMS {
        return Some(format!("a plan with {number} claims, and {MAX_CLAIMS} are allowed"));
    }
    // A key may tell who the patient is, so an objection counts the claims.
    (1..).zip(all()).find_map(|(number, Claim { key, places, .. }): (usize, _)| {
        if !is_key(key) {
            let bytes = key.len();
            return Some(format!(
                "a plan whose claim {number} has a key of {bytes} bytes; 1 to {MAX_KEY_BYTES} are allowed"
            ));
        }
        let first = all().position(|claim| claim.key == *key).map_or(number, |place| place + 1);
        if first < number {
            return Some(format!(
                "a plan whose claims {first} and {number} have the same key; each has a key of its own"
            ));
        }
        (*places == 0).then(|| format!("a plan whose claim {number} has 0 places; 1 is the least"))
    })
}

fn about_wake(wake: &Wake, now: i64, is_scheduled: impl Fn(&str) -> bool) -> Option<String> {
    if !is_scheduled(&wake.action) {
        return Some(format!("a plan with a wake for `{}`, which is no action for the role clock", wake.action));
    }
    let from_now = wake.at.as_second() - now;
    (!(MIN_WAKE..=MAX_WAKE).contains(&from_now)).then(|| {
        format!("a plan with a wake {from_now} seconds from now; {MIN_WAKE} to {MAX_WAKE} (400 days) are allowed")
    })
}

fn about_keys(plan: &Plan) -> Option<String> {
    let keys =
        [("patient", Some(&plan.patient)), ("doctor", plan.doctor.as_ref()), ("hospital", plan.hospital.as_ref())];
    let (name, _) = keys.into_iter().find(|(_, key)| key.is_some_and(|key| !is_key(key)))?;
    Some(format!("a plan whose `{name}` is empty or longer than {MAX_KEY_BYTES} bytes"))
}

fn about_attributes(attributes: &[Field]) -> Option<String> {
    about_leaves(attributes, "an attribute")
}

/// Checks leaves of a document. `one` names a leaf in an objection.
fn about_leaves(leaves: &[Field], one: &str) -> Option<String> {
    let paths = || leaves.iter().map(|leaf| leaf.path.as_str());
    if let Some(path) = paths().find(|path| !path.starts_with('/')) {
        return Some(format!("{one} at `{path}`, which is no JSON Pointer below the document"));
    }
    let exact = -MAX_INTEGER..=MAX_INTEGER;
    let is_inexact = |field: &&Field| matches!(field.value, Value::Integer(integer) if !exact.contains(&integer));
    if let Some(Field { path, .. }) = leaves.iter().find(is_inexact) {
        return Some(format!("an integer at `{path}` beyond ±{MAX_INTEGER}, which JavaScript rounds; make it a text"));
    }
    (!distinct(paths())).then(|| format!("{one} at a path that another one has"))
}

fn about_events(events: &[String]) -> Option<String> {
    if events.len() > MAX_EVENTS {
        return Some(format!("a plan with {} events, and {MAX_EVENTS} are allowed", events.len()));
    }
    let event = events.iter().find(|event| !is_slug(event))?;
    Some(format!("an event named `{event}`; lower-case letters and hyphens are allowed"))
}

/// Checks a country's own openings against the contract.
///
/// # Errors
/// Returns an error that describes the first opening which breaks the contract.
pub(crate) fn check_openings(openings: &[Opening]) -> Result<(), Fault> {
    let about = |opening: &Opening| {
        let keys = [("doctor", &opening.doctor), ("hospital", &opening.hospital)];
        let bad = keys.into_iter().find(|(_, key)| key.as_ref().is_some_and(|key| !is_key(key)));
        match bad {
            Some((name, _)) => Some(format!("an opening whose `{name}` is empty or longer than {MAX_KEY_BYTES} bytes")),
            None if opening.slot.minutes == 0 => Some("an opening of 0 minutes".to_owned()),
            None => (opening.places == 0).then(|| "an opening with 0 places; 1 is the least".to_owned()),
        }
    };
    openings.iter().find_map(about).map_or(Ok(()), |objection| Err(Fault::BadAnswer(objection)))
}

/// Checks the offers for some openings against the contract.
///
/// # Errors
/// Returns an error that describes the first offer which breaks the contract.
pub(crate) fn check_offers(Offered { offers, .. }: &Offered, openings: &[Opening]) -> Result<(), Fault> {
    if offers.len() > openings.len() {
        let (given, answered) = (openings.len(), offers.len());
        return Err(Fault::BadAnswer(format!("`offers` was given {given} openings and answered {answered}")));
    }
    let about = |offer: &Offer| {
        if offer.opening >= openings.len() {
            return Some(format!("an offer of opening {}, and there are {} from 0", offer.opening, openings.len()));
        }
        if offer.slot.minutes == 0 {
            return Some("an offer of 0 minutes".to_owned());
        }
        if let Some(objection) = about_leaves(&offer.request, "a leaf of an offer's request") {
            return Some(objection);
        }
        let bytes = offer.request.iter().map(|leaf| leaf.path.len() + text_bytes(&leaf.value)).sum::<usize>();
        if bytes > MAX_OFFER_BYTES {
            return Some(format!("an offer whose request has {bytes} bytes, and {MAX_OFFER_BYTES} are allowed"));
        }
        let mut all = offer.choices.iter().map(|choice| &choice.claims[..]).chain([&[][..]]);
        let objection = all.find_map(|chosen| about_claims(&offer.claims, chosen));
        objection.map(|objection| objection.replace("a plan", "an offer"))
    };
    offers.iter().find_map(about).map_or(Ok(()), |objection| Err(Fault::BadAnswer(objection)))
}

fn text_bytes(value: &Value) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}

/// Checks the queries for the facts of a decision against the contract.
///
/// # Errors
/// Returns an error that describes the first query which breaks the contract.
pub(crate) fn check_queries(queries: &[FactQuery]) -> Result<(), Fault> {
    if queries.len() > MAX_QUERIES {
        return Err(Fault::BadAnswer(format!("{} queries, and {MAX_QUERIES} are allowed", queries.len())));
    }
    if !distinct(queries.iter().map(|query| query.name.as_str())) {
        return Err(Fault::BadAnswer("two queries of one name".into()));
    }
    let about = |query: &FactQuery| {
        if !is_key(&query.key) {
            return Some(format!("the query `{}` whose key is empty or longer than {MAX_KEY_BYTES} bytes", query.name));
        }
        let is_allowed = (1..=MAX_FOUND).contains(&query.at_most);
        (!is_allowed).then(|| format!("the query `{}` for {}; 1 to {MAX_FOUND} are allowed", query.name, query.at_most))
    };
    queries.iter().find_map(about).map_or(Ok(()), |objection| Err(Fault::BadAnswer(objection)))
}

/// Returns the notices if mails and calendar entries can be made of them.
///
/// # Errors
/// Returns an error that names the first notice and member that breaks a bound. The member's text is patient data and
/// left out.
pub(crate) fn check_notices(notices: Vec<Notice>) -> Result<Vec<Notice>, Fault> {
    if notices.len() > MAX_NOTICES {
        let words = format!("{} notices for one event, and {MAX_NOTICES} are allowed", notices.len());
        return Err(Fault::BadAnswer(words));
    }
    let objections = notices.iter().map(about_notice);
    match (1..).zip(objections).find_map(|(number, objection)| Some((number, objection?))) {
        Some((number, objection)) => Err(Fault::BadAnswer(format!("notice {number}: {objection}"))),
        None => Ok(notices),
    }
}

fn about_notice(notice: &Notice) -> Option<String> {
    about_line("to", &notice.to, 1, MAX_ADDRESS)
        .or_else(|| about_locale(&notice.locale))
        .or_else(|| about_line("subject", &notice.subject, 0, MAX_SUBJECT))
        .or_else(|| about_part("text", &notice.text))
        .or_else(|| notice.html.as_ref().and_then(|html| about_part("html", html)))
}

fn about_line(member: &str, text: &str, min: usize, max: usize) -> Option<String> {
    if !(min..=max).contains(&text.len()) {
        return Some(format!("`{member}` has {} bytes; {min} to {max} are allowed", text.len()));
    }
    let control = text.chars().find(|char| char.is_control())?;
    Some(format!("`{member}` has the control character U+{:04X}; a line has none", u32::from(control)))
}

/// Checks the shape of a BCP 47 tag: subtags of letters and digits, the first one of letters.
fn about_locale(locale: &str) -> Option<String> {
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let language = locale.split('-').next().unwrap_or_default();
    let is_language = language.len() >= 2 && language.bytes().all(|byte| byte.is_ascii_alphabetic());
    if locale.len() <= MAX_LOCALE && is_language && locale.split('-').all(is_subtag) {
        return None;
    }
    Some(format!("`locale` is no BCP 47 tag of at most {MAX_LOCALE} characters, such as `es-PE`"))
}

fn about_part(member: &str, text: &str) -> Option<String> {
    if text.len() > MAX_PART {
        return Some(format!("`{member}` has {} bytes; {MAX_PART} are allowed", text.len()));
    }
    let control = stray_control(text)?;
    Some(format!(
        "`{member}` has the control character U+{:04X}; tabs and line ends (LF or CR LF) are allowed",
        u32::from(control)
    ))
}

/// Finds a control character that is neither a tab nor part of a line end.
fn stray_control(text: &str) -> Option<char> {
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let is_text = match char {
            '\t' | '\n' => true,
            '\r' => rest.peek() == Some(&'\n'),
            char => !char.is_control(),
        };
        if !is_text {
            return Some(char);
        }
    }
    None
}

fn is_key(text: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&text.len())
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    texts.into_iter().all(|text| seen.insert(text))
}

/// Returns true if the text has only lower-case letters and hyphens, so that it can stand in a path and in an event's
/// name.
pub(crate) fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Choice, Party, Phase, Slot};

    fn plan() -> Plan {
        Plan {
            phase: Phase::Booked,
            slot: None,
            claims: ["a", "b"].map(Claim::new).into(),
            choices: vec![],
            patient: "p".into(),
            doctor: None,
            hospital: None,
            attributes: vec![field("/a"), field("/b")],
            events: vec!["booked".into()],
            wake: None,
            off_agenda: false,
        }
    }

    /// Checks a verdict at 1000 seconds, in a country with the action `remind`.
    fn checked(verdict: Verdict) -> Result<Verdict, Fault> {
        check_verdict(verdict, 1_000, |name| name == "remind")
    }

    fn field(path: &str) -> Field {
        Field { path: path.into(), value: Value::Flag(true) }
    }

    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = plan();
        change(&mut plan);
        let Err(Fault::BadAnswer(why)) = checked(Ok(plan)) else { panic!("it was taken") };
        why
    }

    #[test]
    fn a_plan_that_can_be_kept_is_taken_as_it_is() {
        assert_eq!(checked(Ok(plan())), Ok(Ok(plan())));
    }

    #[test]
    fn what_is_not_live_holds_nothing() {
        let cancelled = Plan { phase: Phase::Cancelled, ..plan() };
        let Ok(Ok(taken)) = checked(Ok(cancelled)) else { panic!("it is refused") };
        assert!(taken.claims.is_empty());
    }

    #[test]
    fn an_integer_that_another_language_would_round_is_refused() {
        let with = |integer| move |plan: &mut Plan| plan.attributes[0].value = Value::Integer(integer);
        assert!(refused(with(MAX_INTEGER + 1)).contains("an integer at `/a` beyond ±9007199254740991"));
        assert!(refused(with(i64::MIN)).contains("an integer at `/a`"));
        let mut exact = plan();
        with(-MAX_INTEGER)(&mut exact);
        assert!(checked(Ok(exact)).is_ok());
    }

    #[test]
    fn a_refusal_without_a_reason_is_no_answer() {
        assert!(matches!(checked(Err(Vec::new())), Err(Fault::BadAnswer(_))));
    }

    #[test]
    fn what_a_ledger_could_not_keep_is_refused() {
        let long = "x".repeat(MAX_KEY_BYTES + 1);
        let claims = |keys: &[&str]| keys.iter().map(|key| Claim::new(*key)).collect::<Vec<_>>();
        assert!(refused(|plan| plan.claims = claims(&[""])).contains("claim 1 has a key of 0 bytes"));
        assert!(refused(|plan| plan.claims = claims(&["a", "b", "a"])).contains("claims 1 and 3 have the same key"));
        assert!(
            refused(|plan| plan.claims = claims(&["a", &long])).contains("claim 2 has a key of 513 bytes; 1 to 512")
        );
        assert!(
            refused(|plan| plan.claims = (0..=MAX_CLAIMS).map(|n| Claim::new(n.to_string())).collect())
                .contains("41 claims")
        );
        assert!(refused(|plan| plan.patient.clear()).contains("`patient` is empty"));
        assert!(refused(|plan| plan.doctor = Some(String::new())).contains("`doctor` is empty"));
        assert!(refused(|plan| plan.hospital = Some(long.clone())).contains("`hospital`"));
        assert!(
            refused(|plan| plan.attributes.push(field("/a"))).contains("an attribute at a path that another one has")
        );
        assert!(refused(|plan| plan.attributes.push(field("c"))).contains("`c`"));
        assert!(refused(|plan| plan.events = vec!["Booked".into()]).contains("`Booked`"));
        assert!(refused(|plan| plan.events = vec!["e".into(); MAX_EVENTS + 1]).contains("11 events"));
    }

    #[test]
    fn a_choice_is_checked_together_with_the_claims_beside_it() {
        let choice =
            |keys: &[&str]| Choice { claims: keys.iter().map(|key| Claim::new(*key)).collect(), attributes: vec![] };
        assert!(
            refused(|plan| plan.choices = vec![choice(&["c"]), choice(&["a"])])
                .contains("claims 1 and 3 have the same key")
        );
        assert!(refused(|plan| plan.choices = vec![choice(&["c"]); MAX_CHOICES + 1]).contains("33 choices"));
        let many: Vec<String> = (0..MAX_CLAIMS - 1).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refused(|plan| plan.choices = vec![choice(&many)]).contains("41 claims"));
        assert!(refused(|plan| plan.claims[0].places = 0).contains("claim 1 has 0 places"));
    }

    #[test]
    fn a_wake_is_an_action_of_the_country_within_400_days() {
        let wake = |from_now: i64, action: &str| {
            let at = jiff::Timestamp::from_second(1_000 + from_now).unwrap();
            Some(Wake { at, action: action.into() })
        };
        for from_now in [60, 34_560_000] {
            let mut plan = plan();
            plan.wake = wake(from_now, "remind");
            assert!(checked(Ok(plan)).is_ok(), "{from_now}");
        }
        for from_now in [59, -1, 34_560_001] {
            assert!(refused(|plan| plan.wake = wake(from_now, "remind")).contains("seconds from now"), "{from_now}");
        }
        assert!(refused(|plan| plan.wake = wake(60, "fly")).contains("`fly`, which is no action"));
    }

    fn opening() -> Opening {
        let slot = Slot { start: "2026-12-01T09:30".parse().unwrap(), minutes: 30, zone: "America/Lima".into() };
        Opening { slot, doctor: Some("45678".into()), hospital: None, places: 1, fields: vec![] }
    }

    #[test]
    fn an_opening_has_a_length_places_and_keys() {
        type Change = fn(&mut Opening);
        assert_eq!(check_openings(&[opening(), opening()]), Ok(()));
        let wrong: [(Change, &str); 4] = [
            (|opening| opening.slot.minutes = 0, "an opening of 0 minutes"),
            (|opening| opening.places = 0, "an opening with 0 places"),
            (|opening| opening.doctor = Some(String::new()), "an opening whose `doctor`"),
            (|opening| opening.hospital = Some("x".repeat(513)), "an opening whose `hospital`"),
        ];
        for (change, objection) in wrong {
            let mut other = opening();
            change(&mut other);
            let Err(Fault::BadAnswer(why)) = check_openings(&[opening(), other]) else { panic!("{objection}") };
            assert!(why.contains(objection), "{why}");
        }
    }

    #[test]
    fn an_offer_is_of_an_opening_and_has_leaves_that_fit_into_a_token() {
        type Change = fn(&mut Offer);
        let offer = || Offer {
            opening: 1,
            slot: opening().slot,
            claims: vec![Claim::new("doctor/45678")],
            choices: vec![],
            request: vec![field("/a")],
        };
        let check = |offers| check_offers(&Offered { offers, reason: None }, &[opening(), opening()]);
        assert_eq!(check(vec![offer(), offer()]), Ok(()));
        assert!(check(vec![offer(), offer(), offer()]).is_err());
        let text = |length| Value::Text("x".repeat(length));
        let long = |length| Field { path: "/a".into(), value: text(length) };
        assert_eq!(check(vec![Offer { request: vec![long(MAX_OFFER_BYTES - 2)], ..offer() }]), Ok(()));
        let wrong: [(Change, &str); 6] = [
            (|offer| offer.opening = 2, "an offer of opening 2"),
            (|offer| offer.slot.minutes = 0, "an offer of 0 minutes"),
            (|offer| offer.claims = (0..41).map(|n| Claim::new(n.to_string())).collect(), "an offer with 41 claims"),
            (|offer| offer.request = vec![field("a")], "a leaf of an offer's request at `a`"),
            (
                |offer| offer.request = vec![field("/a"), field("/a")],
                "a leaf of an offer's request at a path that another one has",
            ),
            (
                |offer| offer.request = vec![Field { path: "/a".into(), value: Value::Text("x".repeat(1023)) }],
                "an offer whose request has 1025 bytes",
            ),
        ];
        for (change, objection) in wrong {
            let mut other = offer();
            change(&mut other);
            let Err(Fault::BadAnswer(why)) = check(vec![other]) else { panic!("{objection}") };
            assert!(why.contains(objection), "{why}");
        }
    }

    #[test]
    fn queries_have_names_keys_and_a_bound() {
        let query = |name: &str, key: &str, at_most| FactQuery {
            name: name.into(),
            of: Party::Patient,
            key: key.into(),
            phases: vec![],
            since: None,
            until: None,
            at_most,
        };
        assert_eq!(check_queries(&[query("a", "x", 1), query("b", "x", 20)]), Ok(()));
        for (queries, why) in [
            (vec![query("a", "x", 0)], "the query `a` for 0"),
            (vec![query("a", "x", 21)], "the query `a` for 21"),
            (vec![query("a", "", 1)], "whose key is empty"),
            (vec![query("a", "x", 1), query("a", "y", 1)], "two queries of one name"),
            (["a", "b", "c", "d", "e"].map(|name| query(name, "x", 1)).into(), "5 queries"),
        ] {
            let Err(Fault::BadAnswer(refused)) = check_queries(&queries) else { panic!("{why}") };
            assert!(refused.contains(why), "{refused}");
        }
    }

    fn notice() -> Notice {
        Notice {
            to: "ana@example.com".into(),
            locale: "es-PE".into(),
            subject: "Cita reservada, mañana".into(),
            text: "Le esperamos.\r\n\tTraiga su DNI.\n".into(),
            html: Some("<p>Le esperamos.</p>\n".into()),
            invite: true,
        }
    }

    fn objection_to(change: impl FnOnce(&mut Notice)) -> String {
        let mut changed = notice();
        change(&mut changed);
        let Err(Fault::BadAnswer(why)) = check_notices(vec![notice(), changed]) else { panic!("it was taken") };
        assert!(why.starts_with("notice 2: "), "{why}");
        why
    }

    #[test]
    fn notices_within_the_bounds_are_taken_as_they_are() {
        let longest = Notice {
            to: format!("{}@example.com", "a".repeat(MAX_ADDRESS - 12)),
            locale: "de-Latn-DE-1996-x-abcdefgh-abcdefgh".into(),
            subject: "s".repeat(MAX_SUBJECT),
            text: "t".repeat(MAX_PART),
            html: Some("h".repeat(MAX_PART)),
            invite: false,
        };
        let bare = Notice { subject: String::new(), text: String::new(), html: None, locale: "es".into(), ..notice() };
        let notices: Vec<Notice> = [longest, bare].into_iter().chain(vec![notice(); MAX_NOTICES - 2]).collect();
        assert_eq!(check_notices(notices.clone()), Ok(notices));
        assert_eq!(check_notices(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn more_notices_than_allowed_are_refused() {
        let Err(Fault::BadAnswer(why)) = check_notices(vec![notice(); 1_000]) else { panic!("they are taken") };
        assert_eq!(why, "1000 notices for one event, and 10 are allowed");
    }

    #[test]
    fn a_notice_beyond_a_bound_is_refused_by_its_member_and_without_its_words() {
        let long = |length: usize| "secret ".repeat(length / 7 + 1);
        for (member, why) in [
            ("to", objection_to(|notice| notice.to.clear())),
            ("to", objection_to(|notice| notice.to = long(MAX_ADDRESS))),
            ("to", objection_to(|notice| notice.to = "secret@example.com\r\nBcc: x@y.z".into())),
            ("subject", objection_to(|notice| notice.subject = long(MAX_SUBJECT))),
            ("subject", objection_to(|notice| notice.subject = "secret\nBcc: x@y.z".into())),
            ("text", objection_to(|notice| notice.text = long(MAX_PART))),
            ("text", objection_to(|notice| notice.text = "secret\rEND:VEVENT".into())),
            ("text", objection_to(|notice| notice.text = "secret\r".into())),
            ("text", objection_to(|notice| notice.text = "secret\u{b}".into())),
            ("html", objection_to(|notice| notice.html = Some(long(MAX_PART)))),
            ("html", objection_to(|notice| notice.html = Some("secret\0".into()))),
        ] {
            assert!(why.contains(&format!("`{member}`")) && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_locale_has_the_shape_of_a_tag() {
        let long = format!("es{}", "-a".repeat(2_500));
        for locale in
            ["", "e", "es_PE", "es-", "es--PE", "es-PE\r\nBcc: x@y.z", "419", "es-abcdefghi", "español", &long]
        {
            let why = objection_to(|notice| notice.locale = locale.into());
            assert!(why.contains("`locale` is no BCP 47 tag"), "{locale:?}: {why}");
        }
    }
}
