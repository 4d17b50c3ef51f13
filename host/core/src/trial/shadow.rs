//! Compares a candidate's results with those of the rules in use on the same calls, outside the path of the request.
//!
//! A decision is evaluated with the clock and the role of the request. For a stored decision, both versions also
//! present the appointment and write the mails of its events. Every leaf is compared separately.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::json::flatten;
use crate::model::{Appointment, Context, CountryCode, Fact, Field, Notice, Revision, Role, RulesCaller, Violation};
use crate::ports::{DiffBucket, Fault, Tally, TrialReport, Trials};
use crate::release::{Catalogue, InForce, OnTrial};
use crate::rules::check_notices;
use crate::rules::{DecisionRequest, LoadedRules};
use crate::trial::redaction::{Shown, planned, presented};
use crate::trial::replay::{Replayed, judge, replay};

/// Maximum number of calls of a country that wait to be compared. Further calls are skipped: a shadow delays no
/// request.
const QUEUE_LENGTH: usize = 1024;

/// Maximum wait of a request until its canary's decision is counted.
const COUNT_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum length of a bucket's name, in characters. The rules choose the end of the name.
const MAX_BUCKET_CHARS: usize = 200;

/// A call with the result of the rules in use.
pub enum Call {
    /// A plan. It is stored, unless another claim was in the way.
    Decided {
        /// Preceding revision; none for a booking.
        before: Option<Arc<Revision>>,
        /// Revision that the decision made.
        revision: Arc<Revision>,
        /// Facts that the rules knew.
        facts: Vec<Fact>,
        /// Names of the plan's events, if they are known. Revisions do not store them.
        events: Option<Vec<String>>,
    },
    /// A refusal.
    Refused(Refused),
    /// A stored event, whose notices are compared.
    Told {
        /// Name of the event.
        event: String,
        /// Revision that the event is about.
        revision: Arc<Revision>,
    },
}

/// A refused request.
pub struct Refused {
    /// Country of the rules.
    pub country: CountryCode,
    /// Stored revision; none for a booking.
    pub before: Option<Arc<Revision>>,
    /// `book`, or the name of the action.
    pub action: String,
    /// Body of the request.
    pub request: Json,
    /// The caller.
    pub caller: RulesCaller,
    /// Facts that the rules knew.
    pub facts: Vec<Fact>,
    /// Time of the request.
    pub at: Timestamp,
    /// Reasons of the refusal.
    pub violations: Vec<Violation>,
}

impl Call {
    /// Returns the country whose rules were called.
    pub fn country(&self) -> CountryCode {
        match self {
            Self::Decided { revision, .. } | Self::Told { revision, .. } => revision.country,
            Self::Refused(refused) => refused.country,
        }
    }
}

/// Counts the decisions of canaries and compares calls with candidates.
#[derive(Clone)]
pub struct TrialRecorder {
    trials: Arc<dyn Trials>,
    catalogue: Arc<Catalogue>,
    /// Queue of calls to compare; none if another process compares the stored decisions.
    shadow: Option<Sender<Call>>,
}

impl TrialRecorder {
    /// Counts the decisions of canaries and compares nothing.
    pub fn new(trials: Arc<dyn Trials>, catalogue: Arc<Catalogue>) -> Self {
        Self { trials, catalogue, shadow: None }
    }

    /// Adds a shadow. The returned future compares calls and must be polled beside the requests, for as long as they
    /// come.
    pub fn with_shadow(self) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = channel(QUEUE_LENGTH);
        let shadow = shadow(receiver, self.catalogue.clone(), self.trials.clone());
        (Self { shadow: Some(sender), ..self }, shadow)
    }

    /// Queues a call for comparison. Skips it if the queue is full.
    pub(crate) fn observe(&self, call: Call) {
        let Some(shadow) = &self.shadow else { return };
        let country = call.country();
        if shadow.try_send(call).is_err() {
            count_missed(country);
        }
    }

    /// Counts that a canary gave no result. A call that did not get its turn is not counted.
    async fn count_fault(&self, country: CountryCode, candidate: &OnTrial, fault: &Fault) {
        if !matches!(fault, Fault::Busy) {
            self.count(country, candidate, Tally { decided: 1, refused: 0, unanswered: 1 }).await;
        }
    }

    /// Counts a canary's decision. A canary that exceeds its margin stops deciding in this process. A process that may
    /// write to the registry takes it back everywhere.
    pub(crate) async fn count(&self, country: CountryCode, candidate: &OnTrial, tally: Tally) {
        let outcome = match tally {
            Tally { unanswered: 1.., .. } => "unanswered",
            Tally { refused: 1.., .. } => "refused",
            _ => "decided",
        };
        metrics::counter!("citas_rules_canary_total", "country" => country.to_string(), "outcome" => outcome)
            .increment(1);
        let (trial, found) = (candidate.terms.trial, TrialReport { canary: tally, ..TrialReport::default() });
        match timeout(COUNT_TIMEOUT, self.trials.add(country, trial, &found)).await {
            Ok(Ok(sum)) => {
                if candidate.terms.canary.is_some_and(|canary| sum.exceeds(&canary).is_some()) {
                    candidate.stop();
                }
            }
            Ok(Err(error)) => tracing::warn!(%country, %error, "a canary's decision is not counted"),
            Err(_) => tracing::warn!(%country, "a canary's decision is not counted: it took too long"),
        }
    }
}

/// A call to the version that a patient meets. The version in use takes over if a canary gives no result.
pub(crate) struct Routed<Call> {
    used: Arc<LoadedRules>,
    canary: Option<Arc<OnTrial>>,
    call: Call,
}

/// Outcome of a routed call. A canary's fault is not counted yet.
pub(crate) struct Answer<T> {
    answer: Result<T, Fault>,
    canary_fault: Option<Fault>,
}

impl<Call> Routed<Call> {
    /// Routes a call by the patient's key.
    pub fn new(rules: &InForce, patient: &str, call: Call) -> Self {
        let canary = rules.candidate.clone().filter(|candidate| candidate.meets(patient));
        Self { used: rules.used.clone(), canary, call }
    }

    /// Calls the rules.
    pub fn call<T>(self) -> Answer<T>
    where
        Call: Fn(&LoadedRules) -> Result<T, Fault>,
    {
        let canary_fault = match self.canary.as_ref().map(|canary| (self.call)(&canary.rules)) {
            Some(Ok(answer)) => return Answer { answer: Ok(answer), canary_fault: None },
            Some(Err(fault)) => Some(fault),
            None => None,
        };
        Answer { answer: (self.call)(&self.used), canary_fault }
    }
}

impl<T> Answer<T> {
    /// Returns the result, after a canary's fault is counted against it.
    pub async fn settle(self, rules: &InForce, trying: Option<&TrialRecorder>) -> Result<T, Fault> {
        if let (Some(fault), Some(trying), Some(canary)) = (&self.canary_fault, trying, &rules.candidate) {
            trying.count_fault(rules.used.country, canary, fault).await;
        }
        self.answer
    }
}

/// Compares incoming calls until the channel closes. Each country has a separate queue, so that slow rules of one
/// country do not delay the others.
async fn shadow(mut calls: Receiver<Call>, catalogue: Arc<Catalogue>, trials: Arc<dyn Trials>) {
    let (mut queues, mut countries) = (BTreeMap::new(), JoinSet::new());
    while let Some(call) = calls.recv().await {
        let country = call.country();
        let queue = queues.entry(country).or_insert_with(|| {
            let (queue, waiting) = channel(QUEUE_LENGTH);
            countries.spawn(shadow_country(waiting, catalogue.clone(), trials.clone()));
            queue
        });
        if queue.try_send(call).is_err() {
            count_missed(country);
        }
    }
    drop(queues);
    while countries.join_next().await.is_some() {}
}

async fn shadow_country(mut calls: Receiver<Call>, catalogue: Arc<Catalogue>, trials: Arc<dyn Trials>) {
    while let Some(call) = calls.recv().await {
        let (country, compared) = (call.country(), catalogue.clone());
        // A candidate that makes the comparison panic must not end the host.
        let compare = move || catch_unwind(AssertUnwindSafe(|| compare_all(&compared, &[call]))).unwrap_or_default();
        let found = catalogue.executor().run_eventually(country, compare).await;
        for ((country, trial), found) in found {
            if let Err(error) = trials.add(country, trial, &found).await {
                tracing::warn!(%country, %error, "what a shadow found is not kept");
            }
        }
    }
}

fn count_missed(country: CountryCode) {
    metrics::counter!("citas_rules_shadow_total", "country" => country.to_string(), "outcome" => "missed").increment(1);
}

/// Compares calls and returns the reports by country and trial. Skips calls of countries without a candidate.
pub fn compare_all(catalogue: &Catalogue, calls: &[Call]) -> BTreeMap<(CountryCode, u64), TrialReport> {
    let mut all: BTreeMap<_, TrialReport> = BTreeMap::new();
    for call in calls {
        let country = call.country();
        let Some(InForce { used, candidate: Some(candidate) }) =
            catalogue.entry(country).and_then(|entry| entry.in_force())
        else {
            continue;
        };
        let Some(found) = compare(&used, &candidate.rules, call) else { continue };
        let outcome = if found.differed > 0 { "differs" } else { "same" };
        metrics::counter!("citas_rules_shadow_total", "country" => country.to_string(), "outcome" => outcome)
            .increment(1);
        all.entry((country, candidate.terms.trial)).or_default().add(&found);
    }
    all
}

/// Compares one call; returns none if the candidate itself decided it.
fn compare(used: &LoadedRules, candidate: &LoadedRules, call: &Call) -> Option<TrialReport> {
    let mut comparison = Comparison { used, candidate, places: BTreeMap::new() };
    match call {
        Call::Decided { revision, .. } | Call::Told { revision, .. }
            if revision.provenance.rules.digest == candidate.id.digest =>
        {
            return None;
        }
        Call::Decided { before, revision, facts, events } => {
            comparison.decided(before.as_deref(), revision, facts.clone(), events.as_deref());
            comparison.presented(&revision.appointment);
            for event in events.iter().flatten() {
                comparison.compare_notices(event, &revision.appointment);
            }
        }
        Call::Refused(refused) => comparison.refused(refused),
        Call::Told { event, revision } => comparison.compare_notices(event, &revision.appointment),
    }
    let places = comparison.places;
    Some(TrialReport { compared: 1, differed: u64::from(!places.is_empty()), places, ..TrialReport::default() })
}

struct Comparison<'a> {
    used: &'a LoadedRules,
    candidate: &'a LoadedRules,
    places: BTreeMap<String, DiffBucket>,
}

impl Comparison<'_> {
    fn note(&mut self, place: &str, about: &Json, more: Json) {
        let mut sample = about.clone();
        if let (Json::Object(sample), Json::Object(more)) = (&mut sample, more) {
            sample.extend(more);
        }
        self.places.insert(place.chars().take(MAX_BUCKET_CHARS).collect(), DiffBucket { count: 1, sample });
    }

    fn decided(&mut self, before: Option<&Revision>, revision: &Revision, facts: Vec<Fact>, events: Option<&[String]>) {
        let decided = &revision.provenance;
        let shown = Shown::of(self.used, &decided.action, before.is_none(), &decided.input).about(Some(revision));
        let about = about(&decided.action, decided.context.caller.role, revision.updated_at, &shown);
        let action = &decided.action;
        match replay(self.candidate, before, revision, facts, events) {
            Replayed::Same => {}
            Replayed::Differs(differences) => {
                for found in differences {
                    let [used, came] = [&found.stored, &found.came].map(|value| planned(self.used, &found.path, value));
                    self.note(&format!("{action} {}", found.path), &about, json!({ "used": used, "candidate": came }));
                }
            }
            Replayed::Refused(violations) => {
                let reasons = shown.reasons(self.candidate, &violations);
                for code in codes(&violations) {
                    self.note(&format!("{action} refused {code}"), &about, json!({ "candidate": reasons }));
                }
            }
            Replayed::Silent(fault) => self.silent(action, &about, &fault),
        }
    }

    fn refused(&mut self, refused: &Refused) {
        let Refused { before, action, request, caller, facts, at, violations, .. } = refused;
        let Ok(input) = flatten(request) else { return };
        let shown = Shown::of(self.used, action, before.is_none(), &input).about(before.as_deref());
        let about = about(action, caller.role, *at, &shown);
        let reasons = shown.reasons(self.used, violations);
        let context = &Context { facts: facts.clone(), ..self.candidate.context(*at, caller.clone()) };
        let action_on = before.as_deref().map(|before| (action.as_str(), &before.appointment));
        let asked = DecisionRequest { context, document: request, action: action_on };
        match judge(self.candidate, &asked, &input) {
            Ok(Ok(_)) => self.note(&format!("{action} accepted"), &about, json!({ "used": reasons })),
            Ok(Err(others)) => {
                let both = json!({ "used": reasons, "candidate": shown.reasons(self.candidate, &others) });
                let (was, came) = (codes(violations), codes(&others));
                for code in came.iter().filter(|code| !was.contains(code)) {
                    self.note(&format!("{action} refused {code}"), &about, both.clone());
                }
                for code in was.iter().filter(|code| !came.contains(code)) {
                    self.note(&format!("{action} not refused {code}"), &about, both.clone());
                }
            }
            Err(fault) => self.silent(action, &about, &fault),
        }
    }

    fn presented(&mut self, appointment: &Appointment) {
        let Ok(was) = self.used.rules().present(Role::Patient, &[appointment]) else { return };
        match self.candidate.rules().present(Role::Patient, &[appointment]) {
            Ok(came) => {
                let [was, came] = [leaves(&was), leaves(&came)];
                for (path, was, came) in different(&was, &came) {
                    let [was, came] = [was, came].map(|value| presented(self.used, path, &value));
                    self.note(&format!("present {path}"), &json!({}), json!({ "used": was, "candidate": came }));
                }
            }
            Err(fault) => self.silent("present", &json!({}), &fault),
        }
    }

    /// Compares the mails of both versions. The content of a mail is between the country and its people, so only the
    /// places of differences are recorded.
    fn compare_notices(&mut self, event: &str, appointment: &Appointment) {
        let notices = |rules: &LoadedRules| rules.rules().notices(event, appointment).and_then(check_notices);
        let Ok(was) = notices(self.used) else { return };
        match notices(self.candidate) {
            Ok(came) => {
                let [was, came] = [mails(&was), mails(&came)];
                for (path, ..) in different(&was, &came) {
                    self.note(&format!("notices {event} {path}"), &json!({}), json!({}));
                }
            }
            Err(fault) => self.silent(&format!("notices {event}"), &json!({}), &fault),
        }
    }

    fn silent(&mut self, call: &str, about: &Json, fault: &Fault) {
        self.note(&format!("{call} unanswered {}", fault.kind()), about, json!({ "candidate": fault.to_string() }));
    }
}

fn about(action: &str, role: Role, at: Timestamp, shown: &Shown<'_>) -> Json {
    json!({ "action": action, "role": role, "at": at, "input": shown.input() })
}

fn codes(violations: &[Violation]) -> Vec<&str> {
    let mut codes: Vec<&str> = violations.iter().map(|violation| violation.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

type Leaves = BTreeMap<String, Json>;

fn leaves(presented: &[Vec<Field>]) -> Leaves {
    presented.iter().flatten().map(|field| (field.path.clone(), json!(field.value))).collect()
}

fn mails(notices: &[Notice]) -> Leaves {
    let members = |(index, notice): (usize, &Notice)| {
        let Notice { to, locale, subject, text, html, invite } = notice.clone();
        let members = [
            ("to", json!(to)),
            ("locale", json!(locale)),
            ("subject", json!(subject)),
            ("text", json!(text)),
            ("html", json!(html)),
            ("invite", json!(invite)),
        ];
        members.map(|(name, value)| (format!("/{index}/{name}"), value))
    };
    notices.iter().enumerate().flat_map(members).collect()
}

fn different<'a>(was: &'a Leaves, came: &'a Leaves) -> Vec<(&'a str, Json, Json)> {
    let mut paths: Vec<&String> = was.keys().chain(came.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let at = |leaves: &Leaves, path: &String| leaves.get(path).cloned().unwrap_or_default();
    let both = paths.into_iter().map(|path| (path.as_str(), at(was, path), at(came, path)));
    both.filter(|(_, was, came)| was != came).collect()
}
