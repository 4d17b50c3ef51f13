//! Finds the differences between two versions of a country's rules that clients notice, and checks the version number
//! against them. Compares only the descriptors: the golden cases check the decisions.

mod difference;
mod schema;

use std::collections::BTreeSet;

use semver::Version;

pub use self::difference::Difference;
use self::schema::{Reader, compare};
use crate::rules::loaded::LoadedRules;

/// Reasons for which a version number is too low for the changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLow {
    /// Clients must change, and the major version number is not higher.
    #[error("{now} would break clients of {before}; a breaking change needs a new major version: {needed} or above")]
    Breaking {
        /// Version that clients use now.
        before: Version,
        /// Version that follows it.
        now: Version,
        /// Lowest version that is high enough.
        needed: Version,
    },
    /// Clients notice the changes, and the version number is not higher.
    #[error("clients would notice what this {now} changes, and {before} is published; raise the version above it")]
    NotHigher {
        /// Version that clients use now.
        before: Version,
        /// Version that follows it.
        now: Version,
    },
}

/// Returns all differences that clients notice, except events.
pub fn changes(before: &LoadedRules, now: &LoadedRules) -> Vec<Difference> {
    let mut changes = compare("the request", Reader::Rules, &before.request_schema, &now.request_schema);
    let appointment = compare("the appointment", Reader::Clients, &before.appointment_schema, &now.appointment_schema);
    changes.extend(appointment);
    changes.extend(actions(before, now));
    changes.extend(listed("zone", true, &set(&before.descriptor.zones), &set(&now.descriptor.zones)));
    changes.extend(listed("locale", true, &set(&before.descriptor.locales), &set(&now.descriptor.locales)));
    changes.extend(default_locale(before, now));
    changes.extend(listed("code", false, &codes(before), &codes(now)));
    changes.extend(texts(before, now));
    changes
}

/// Returns the differences in events, which subscribers notice. The events are those that each version's golden cases
/// lead to; see [`crate::rules::cases::events`]. No difference is breaking, because a case that is removed takes its
/// events with it.
pub fn events(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<Difference> {
    let [before, now] = [before, now].map(|events| events.iter().map(String::as_str).collect());
    listed("event", false, &before, &now)
}

/// Checks that the version number is high enough for the changes. While the major number is 0, the minor number takes
/// its place (Semantic Versioning 2.0.0, item 4).
///
/// # Errors
/// Returns an error if the number is too low.
pub fn version_says_so(before: &Version, now: &Version, changes: &[Difference]) -> Result<(), TooLow> {
    let (before, now) = (before.clone(), now.clone());
    let needed = next_major(&before);
    let breaking = changes.iter().any(|change| change.breaking);
    let is_next_major = now.major > before.major || before.major == 0 && now.minor > before.minor;
    if breaking && !is_next_major {
        return Err(TooLow::Breaking { before, now, needed });
    }
    if !changes.is_empty() && now <= before {
        return Err(TooLow::NotHigher { before, now });
    }
    Ok(())
}

/// Returns true if two versions are of one line, in which versions rise: they have the same major number, or the same
/// minor number while the major one is 0.
pub fn is_same_line(one: &Version, other: &Version) -> bool {
    next_major(one) == next_major(other)
}

fn next_major(version: &Version) -> Version {
    match version.major {
        0 => Version::new(0, version.minor.saturating_add(1), 0),
        major => Version::new(major.saturating_add(1), 0, 0),
    }
}

fn actions(before: &LoadedRules, now: &LoadedRules) -> Vec<Difference> {
    let [old, new] = [before, now].map(|rules| rules.client_actions().map(|(name, _)| name.as_str()).collect());
    let mut changes = listed("action", true, &old, &new);
    for (name, old) in before.client_actions() {
        let Some(new) = now.actions.get(name).filter(|action| !action.is_scheduled()) else { continue };
        let (old_roles, new_roles) = (old.client_roles(), new.client_roles());
        changes.extend(
            old_roles
                .difference(&new_roles)
                .map(|role| Difference::new(true, format!("the action `{name}` is no longer for the role `{role}`"))),
        );
        changes.extend(
            new_roles
                .difference(&old_roles)
                .map(|role| Difference::new(false, format!("the action `{name}` is for the role `{role}` too"))),
        );
        changes.extend(compare(&format!("the input of `{name}`"), Reader::Rules, &old.schema, &new.schema));
    }
    changes
}

/// Returns the names that a list has lost and gained.
fn listed(what: &str, breaks: bool, before: &BTreeSet<&str>, now: &BTreeSet<&str>) -> Vec<Difference> {
    let gone = before.difference(now).map(|name| Difference::new(breaks, format!("the {what} `{name}` is gone")));
    let new = now.difference(before).map(|name| Difference::new(false, format!("the {what} `{name}` is new")));
    gone.chain(new).collect()
}

fn default_locale(before: &LoadedRules, now: &LoadedRules) -> Option<Difference> {
    let (old, new) = (before.descriptor.locales.first()?, now.descriptor.locales.first()?);
    (old != new).then(|| Difference::new(false, format!("the default locale is `{new}`; it was `{old}`")))
}

/// Returns the codes of both versions that have another text in some locale.
fn texts(before: &LoadedRules, now: &LoadedRules) -> Vec<Difference> {
    let changed: BTreeSet<&str> = now
        .descriptor
        .messages
        .iter()
        .filter(|new| {
            let mut old = before.descriptor.messages.iter();
            old.any(|old| old.code == new.code && old.locale == new.locale && old.text != new.text)
        })
        .map(|message| message.code.as_str())
        .collect();
    changed.into_iter().map(|code| Difference::new(false, format!("the code `{code}` has another text"))).collect()
}

fn codes(rules: &LoadedRules) -> BTreeSet<&str> {
    rules.descriptor.messages.iter().map(|message| message.code.as_str()).collect()
}

fn set(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ActionDescriptor, Descriptor, Message};
    use crate::testing::Described;

    fn descriptor() -> Descriptor {
        let action = |name: &str, roles: &[&str]| ActionDescriptor {
            name: name.into(),
            roles: roles.iter().map(ToString::to_string).collect(),
            input_schema: r#"{ "properties": { "reason": { "maxLength": 500 } } }"#.into(),
        };
        let message = |code: &str| Message { code: code.into(), locale: "es".into(), text: "No.".into() };
        Descriptor {
            country: "pe".into(),
            version: "1.0.0".into(),
            zones: vec!["America/Lima".into(), "America/Bogota".into()],
            locales: vec!["es".into(), "en".into()],
            request_schema: r#"{ "properties": { "dni": {} }, "additionalProperties": false }"#.into(),
            appointment_schema: r#"{ "properties": { "status": { "type": "string" } } }"#.into(),
            actions: vec![action("cancel", &["patient", "staff"]), action("miss", &["staff"])],
            messages: vec![message("pe.date.holiday"), message("pe.dni.unknown")],
            ..Described::default().0
        }
    }

    fn differences(change: impl FnOnce(&mut Descriptor)) -> Vec<(String, bool)> {
        let mut changed = descriptor();
        change(&mut changed);
        let [before, now] = [descriptor(), changed]
            .map(|descriptor| LoadedRules::of(Arc::new(Described(descriptor)), String::new()).unwrap());
        changes(&before, &now).into_iter().map(|change| (change.words, change.breaking)).collect()
    }

    #[track_caller]
    fn tells(words: &str, breaking: bool, change: impl FnOnce(&mut Descriptor)) {
        assert_eq!(differences(change), [(words.to_owned(), breaking)]);
    }

    #[test]
    fn the_same_face_is_no_change() {
        assert_eq!(differences(|now| now.version = "1.0.1".into()), []);
    }

    #[test]
    fn what_is_taken_away_breaks() {
        tells("the action `miss` is gone", true, |now| drop(now.actions.pop()));
        tells("the action `cancel` is no longer for the role `staff`", true, |now| {
            drop(now.actions[0].roles.pop());
        });
        tells("the zone `America/Bogota` is gone", true, |now| drop(now.zones.pop()));
        tells("the locale `en` is gone", true, |now| drop(now.locales.pop()));
        tells("the appointment: `/status` is gone", true, |now| now.appointment_schema = "{}".into());
    }

    #[test]
    fn what_is_new_does_not_break() {
        tells("the zone `America/Rio_Branco` is new", false, |now| now.zones.push("America/Rio_Branco".into()));
        tells("the action `miss` is for the role `platform` too", false, |now| {
            now.actions[1].roles.push("platform".into());
        });
        tells("the code `pe.date.past` is new", false, |now| {
            let mut new = now.messages[0].clone();
            new.code = "pe.date.past".into();
            now.messages.push(new);
        });
    }

    #[test]
    fn clients_do_not_notice_what_only_time_does() {
        let remind =
            || ActionDescriptor { name: "remind".into(), roles: vec!["clock".into()], input_schema: "{}".into() };
        assert_eq!(differences(|now| now.actions.push(remind())), []);
        assert_eq!(differences(|now| now.actions[1].roles.push("clock".into())), []);
        tells("the action `miss` is gone", true, |now| now.actions[1].roles = vec!["clock".into()]);
    }

    #[test]
    fn codes_and_their_texts_are_noticed_and_break_nothing() {
        tells("the code `pe.dni.unknown` is gone", false, |now| drop(now.messages.pop()));
        tells("the code `pe.date.holiday` has another text", false, |now| now.messages[0].text = "Es feriado.".into());
        tells("the default locale is `en`; it was `es`", false, |now| now.locales.reverse());
    }

    #[test]
    fn an_actions_input_is_compared_as_the_request_is() {
        tells("the input of `cancel`: `/reason` is required now", true, |now| {
            now.actions[0].input_schema =
                r#"{ "required": ["reason"], "properties": { "reason": { "maxLength": 500 } } }"#.into();
        });
    }

    #[test]
    fn events_are_noticed() {
        let [before, now] = [["booked", "cancelled"], ["booked", "moved"]].map(|events| events.map(Into::into).into());
        let words: Vec<String> = events(&before, &now).into_iter().map(|change| change.words).collect();
        assert_eq!(words, ["the event `cancelled` is gone", "the event `moved` is new"]);
    }

    #[test]
    fn a_breaking_change_needs_a_new_major_version_and_any_other_a_higher_one() {
        let check_version = |before: &str, now: &str, breaking: bool| {
            let changes = [Difference::new(breaking, "the zone `Etc/UTC` is gone".into())];
            version_says_so(&before.parse().unwrap(), &now.parse().unwrap(), &changes).map_err(|low| low.to_string())
        };
        for (before, now) in [("1.4.2", "2.0.0"), ("0.1.3", "0.2.0"), ("0.1.3", "1.0.0"), ("1.0.0", "2.0.0-rc.1")] {
            assert_eq!(check_version(before, now, true), Ok(()), "{before} {now}");
        }
        for (before, now) in [("1.4.2", "1.5.0"), ("0.1.3", "0.1.4"), ("2.0.0", "1.0.0")] {
            let why = check_version(before, now, true).unwrap_err();
            assert!(why.contains("needs a new major version"), "{why}");
        }
        assert_eq!(check_version("1.0.0", "1.0.1", false), Ok(()));
        assert!(check_version("1.0.0", "1.0.0", false).unwrap_err().contains("raise the version"));
        let [before, now] = ["1.1.0", "1.0.0"].map(|version| version.parse().unwrap());
        assert_eq!(version_says_so(&before, &now, &[]), Ok(()), "what nobody notices needs no number of its own here");
    }
}
