//! One history: random requests of several clients at a clinic of their own, and the log of what they were told.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use citas::system::UuidIds;
use citas_core::booking::{
    ActionRequest, AgendaChange, AgendaRequest, Booking, BookingError, BookingRequest, FreeSlot, NamedSlot, SlotSearch,
    Spellings, View, Woken,
};
use citas_core::model::{AgendaRevision, Caller, Hold, Precondition, Pseudonyms, Revision, Scope, SlotToken, VERIFY};
use citas_core::ports::{Clock as _, Ledger, Query, Wakes};
use citas_core::release::Catalogue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::clinic::{self, GROUP, MINUTES, STARTS, ZONE, start};
use crate::support::appointments::{minutes, pe};
use crate::support::chance::Chance;
use crate::support::set_clock::SetClock;

/// Number of clients that send requests at once.
const CLIENTS: usize = 4;

/// Maximum number of requests of a client.
const REQUESTS: usize = 7;

/// Number of accounts, and of patients.
const PEOPLE: usize = 3;

/// Doctors of a clinic. The last one sees several patients at once.
pub const DOCTORS: [&str; 3] = ["1", "2", "group"];

/// Maximum number of scheduled actions of one read.
const DUE: usize = 1000;

/// A request of a client. Appointments are numbered in the order in which clients learn of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// With a key that other requests may have too.
    Book {
        account: usize,
        patient: usize,
        doctor: usize,
        start: usize,
        key: Option<usize>,
    },
    /// With `If-Match` if the client has seen the appointment.
    Reschedule {
        which: usize,
        start: usize,
        seen: bool,
    },
    /// With the slot of a hold.
    MoveToHeld {
        which: usize,
        hold: usize,
    },
    Cancel {
        which: usize,
    },
    NoShow {
        which: usize,
    },
    /// By staff. From then on staff act for the account.
    Verify {
        which: usize,
    },
    /// Holds one of the slots that are shown.
    Hold {
        account: usize,
        doctor: usize,
        nth: usize,
    },
    BookHeld {
        hold: usize,
        patient: usize,
    },
    Release {
        hold: usize,
    },
    /// Opens these starts of a doctor's day, the last one excluded.
    PutAgenda {
        doctor: usize,
        from: usize,
        to: usize,
    },
    /// Does what is due.
    Wake,
    /// The history begins, or goes on in another process, at this time.
    Open(Timestamp),
    /// Lets minutes pass.
    Advance(usize),
    /// Sets the clock back by minutes.
    StepBack(usize),
}

/// Answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A revision was made, or was made by an earlier request with the same key.
    Stored(Box<Revision>),
    /// Revisions were made, each by the clock.
    Woken(Vec<(Uuid, u32)>),
    /// A slot is held.
    Held(Box<Hold>),
    /// A hold is given up.
    Released,
    /// Another appointment or hold has a claim, which the caller may know.
    Taken(Option<String>),
    /// A revision of an agenda is stored, and these appointments lie outside it.
    AgendaStored(Box<AgendaRevision>, Vec<Uuid>),
    /// The slot lies outside the doctor's agenda.
    Outside,
    /// The hold does not keep its slot any more.
    HoldExpired,
    /// The account has as many holds as it may have.
    HoldLimit,
    /// The request was refused for another reason.
    Refused(String),
    /// It is not known if the request was done.
    Unknown(String),
    /// There was nothing to do.
    Nothing,
}

impl Answer {
    /// Returns the kind of the answer, for counts.
    pub fn name(&self) -> &str {
        match self {
            Self::Stored(_) => "stored",
            Self::Woken(done) if done.is_empty() => "nothing",
            Self::Woken(_) => "woken",
            Self::Taken(_) => "taken",
            Self::Held(_) => "held",
            Self::Released => "released",
            Self::AgendaStored(..) => "agenda stored",
            Self::Outside => "outside the agenda",
            Self::HoldExpired => "hold expired",
            Self::HoldLimit => "hold limit",
            Self::Refused(why) | Self::Unknown(why) => why.split(';').next().unwrap(),
            Self::Nothing => "nothing",
        }
    }
}

/// A request with its answer. The stamps of all requests and answers of a history have one order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub asked: u64,
    pub answered: u64,
    pub request: Request,
    /// The appointment that it is about, and the revision that it must follow.
    pub about: Option<(Uuid, Option<u32>)>,
    /// The hold that it names.
    pub hold: Option<Uuid>,
    pub answer: Answer,
}

/// The log of a history.
pub struct History {
    pub seed: u64,
    /// Name of the clinic. It begins the names of its doctors, patients and accounts.
    pub clinic: String,
    pub entries: Vec<Entry>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { asked, answered, request, about, hold, answer } in &self.entries {
            let short = |id: &Uuid| id.simple().to_string()[24..].to_owned();
            let about = about.as_ref().map(|(id, seen)| format!(" of {} at {seen:?}", short(id))).unwrap_or_default();
            let hold = hold.as_ref().map(|id| format!(" with hold {}", short(id))).unwrap_or_default();
            let answer = match answer {
                Answer::AgendaStored(stored, outside) => format!("revision {}, {outside:?} outside", stored.revision),
                Answer::Held(hold) => {
                    format!("hold {} of {:?} until {}", short(&hold.id), hold.claims, hold.expires_at)
                }
                Answer::Stored(revision) => {
                    let appointment = &revision.appointment;
                    format!("{} {}", short(&appointment.id), appointment.revision)
                }
                other => format!("{other:?}"),
            };
            writeln!(f, "{asked:4}-{answered:<4} {request:?}{about}{hold}: {answer}")?;
        }
        Ok(())
    }
}

/// An appointment of which the clients know.
#[derive(Clone)]
struct Known {
    id: Uuid,
    account: usize,
    is_verified: bool,
    /// The latest revision that a client has seen, and its entity tag.
    seen: (u32, String),
}

/// The ports of a ledger, and the names in it.
#[derive(Clone)]
pub struct Ports {
    pub ledger: Arc<dyn Ledger>,
    pub wakes: Arc<dyn Wakes>,
    pub names: Pseudonyms,
}

/// A clinic and its clients.
struct Desk {
    clinic: String,
    booking: Booking,
    wakes: Arc<dyn Wakes>,
    clock: Arc<SetClock>,
    witness: Witness,
    stamps: AtomicU64,
    known: Mutex<Vec<Known>>,
    holds: Mutex<Vec<Hold>>,
    entries: Mutex<Vec<Entry>>,
}

/// Parameters of a history.
#[derive(Clone)]
pub struct Script {
    pub seed: u64,
    pub clinic: String,
    /// True if the clock is set back now and then.
    pub steps_back: bool,
    /// True if the clinic has appointments already.
    pub continues: bool,
}

/// Sees each request when it is sent, without an answer, and again with its answer.
pub type Witness = Arc<dyn Fn(&Entry) + Send + Sync>;

/// Plays a history: every client sends its requests in order, and all clients at once.
pub async fn play(ports: &Ports, catalogue: &Arc<Catalogue>, script: &Script, witness: Witness) -> History {
    let clock = Arc::new(SetClock::at(clinic::opening_time()));
    let Ports { ledger, wakes, names } = ports.clone();
    let booking = Booking::new(catalogue.clone(), ledger.clone(), clock.clone(), Arc::new(UuidIds), names, "0.2.0");
    let desk = Arc::new(Desk {
        clinic: script.clinic.clone(),
        booking,
        wakes,
        clock,
        witness,
        stamps: AtomicU64::default(),
        known: Mutex::default(),
        holds: Mutex::default(),
        entries: Mutex::default(),
    });
    if script.continues {
        desk.remember(&*ledger).await;
    }
    desk.send(Request::Open(desk.clock.now())).await;
    let clients = requests(script).into_iter().map(|requests| {
        let desk = desk.clone();
        tokio::spawn(async move {
            for request in requests {
                desk.send(request).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let mut entries = std::mem::take(&mut *desk.entries.lock().unwrap());
    entries.sort_by_key(|entry| entry.asked);
    History { seed: script.seed, clinic: script.clinic.clone(), entries }
}

/// Returns the requests of each client.
fn requests(script: &Script) -> Vec<Vec<Request>> {
    let mut chance = Chance::seeded(script.seed);
    let mut booked = Vec::new();
    let mut of_client = || {
        let first = book(&mut chance, &mut booked);
        let others = (0..chance.below(REQUESTS)).map(|_| match request(&mut chance, &mut booked) {
            Request::Wake if script.steps_back && chance.once_in(2) => Request::StepBack(1 + chance.below(90)),
            request => request,
        });
        [first].into_iter().chain(others).collect()
    };
    (0..CLIENTS).map(|_| of_client()).collect()
}

/// Returns a booking. A client that got no answer repeats it.
fn book(chance: &mut Chance, booked: &mut Vec<Request>) -> Request {
    if !booked.is_empty() && chance.once_in(4) {
        return chance.pick(booked).clone();
    }
    let book = Request::Book {
        account: chance.below(PEOPLE),
        patient: chance.below(PEOPLE),
        doctor: chance.below(DOCTORS.len()),
        start: chance.below(STARTS),
        key: chance.once_in(2).then_some(booked.len()),
    };
    if matches!(book, Request::Book { key: Some(_), .. }) {
        booked.push(book.clone());
    }
    book
}

fn request(chance: &mut Chance, booked: &mut Vec<Request>) -> Request {
    let which = chance.below(8);
    let hold = chance.below(4);
    match chance.below(30) {
        28 => {
            let from = chance.below(STARTS);
            Request::PutAgenda { doctor: chance.below(DOCTORS.len()), from, to: from + 1 + chance.below(STARTS - from) }
        }
        20..=22 => Request::Hold {
            account: chance.below(PEOPLE),
            doctor: chance.below(DOCTORS.len()),
            nth: chance.below(STARTS),
        },
        23..=24 => Request::BookHeld { hold, patient: chance.below(PEOPLE) },
        25 => Request::MoveToHeld { which, hold },
        26 => Request::Release { hold },
        0..=7 => book(chance, booked),
        8..=12 => Request::Reschedule { which, start: chance.below(STARTS), seen: chance.once_in(2) },
        13..=15 => Request::Cancel { which },
        16 => Request::NoShow { which },
        27 => Request::Verify { which },
        17..=18 => Request::Wake,
        _ => Request::Advance((1 + chance.below(4)) * *chance.pick(&[2, usize::from(MINUTES)])),
    }
}

impl Desk {
    /// Learns the clinic's appointments from the ledger.
    async fn remember(&self, ledger: &dyn Ledger) {
        let query = Query { hospital: Some(self.clinic.clone()), limit: DUE, ..Query::default() };
        // A ledger that does not answer has nothing to tell.
        let page = ledger.page(pe(), &query).await.unwrap_or_default();
        let mut known = self.known.lock().unwrap();
        for Revision { appointment, owner, updated_at, .. } in page.items {
            let account = owner.as_deref().map_or(0, account_of);
            let seen = (appointment.revision, appointment.revision.to_string());
            known.push(Known { id: appointment.id, account, is_verified: owner.is_none(), seen });
            self.clock.set(self.clock.now().max(updated_at));
        }
    }

    async fn send(&self, request: Request) {
        let (about, hold) = (self.about(&request), self.hold_of(&request));
        let is_seen = matches!(request, Request::Reschedule { seen: true, .. });
        let follows = about.as_ref().map(|about| (about.id, is_seen.then_some(about.seen.0)));
        let answer = Answer::Unknown("the process was killed".into());
        let (asked, named) = (self.stamp(), hold.as_ref().map(|hold| hold.id));
        let mut entry = Entry { asked, answered: u64::MAX, request, about: follows, hold: named, answer };
        (self.witness)(&entry);
        entry.answer = self.answer(&entry.request, about.as_ref(), hold.as_ref()).await;
        entry.answered = self.stamp();
        (self.witness)(&entry);
        self.entries.lock().unwrap().push(entry);
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::SeqCst)
    }

    fn about(&self, request: &Request) -> Option<Known> {
        let (Request::Reschedule { which, .. }
        | Request::MoveToHeld { which, .. }
        | Request::Cancel { which }
        | Request::NoShow { which }
        | Request::Verify { which }) = request
        else {
            return None;
        };
        let known = self.known.lock().unwrap();
        (!known.is_empty()).then(|| known[which % known.len()].clone())
    }

    /// Returns the hold that a request names, one of the latest.
    fn hold_of(&self, request: &Request) -> Option<Hold> {
        let (Request::BookHeld { hold, .. } | Request::MoveToHeld { hold, .. } | Request::Release { hold }) = request
        else {
            return None;
        };
        let holds = self.holds.lock().unwrap();
        (!holds.is_empty()).then(|| holds[holds.len() - 1 - hold % holds.len()].clone())
    }

    async fn answer(&self, request: &Request, about: Option<&Known>, hold: Option<&Hold>) -> Answer {
        match (request, about, hold) {
            (Request::Book { account, patient, doctor, start, key }, ..) => {
                let document = json!({
                    "start": self::start(*start).to_string(), "doctor": self.doctor(*doctor),
                    "patient": self.patient_key(*patient),
                });
                let key = key.map(|key| key.to_string());
                let booked = self.booking.book(&self.patient(*account), pe(), document, key.as_deref()).await;
                self.booked_or_refused(*account, booked)
            }
            (Request::BookHeld { patient, .. }, _, Some(hold)) => {
                let input = json!({ "patient": self.patient_key(*patient) });
                let request = BookingRequest { input, slot: Some(NamedSlot::Held(hold.id)) };
                let account = account_of(&hold.owner);
                self.booked_or_refused(account, self.booking.book(&self.patient(account), pe(), request, None).await)
            }
            (Request::Reschedule { start, seen, .. }, Some(about), _) => {
                let if_match = seen.then(|| vec![about.seen.1.clone()]);
                let input = json!({ "start": self::start(*start).to_string() });
                self.act(ActionRequest { input, if_match, ..action(about, "reschedule") }, about).await
            }
            (Request::MoveToHeld { .. }, Some(about), Some(hold)) => {
                let slot = Some(NamedSlot::Held(hold.id));
                self.act(ActionRequest { slot, ..action(about, "reschedule") }, about).await
            }
            (Request::Cancel { .. }, Some(about), _) => self.act(action(about, "cancel"), about).await,
            (Request::NoShow { .. }, Some(about), _) => self.act(action(about, "no-show"), about).await,
            (Request::Verify { .. }, Some(about), _) => self.verify(about).await,
            (Request::Hold { account, doctor, nth }, ..) => {
                self.hold(&self.patient(*account), &self.doctor(*doctor), *nth).await
            }
            (Request::Release { .. }, _, Some(hold)) => {
                let released = self.booking.release(&self.patient(account_of(&hold.owner)), pe(), hold.id).await;
                released.map_or_else(refused, |()| Answer::Released)
            }
            (Request::PutAgenda { doctor, from, to }, ..) => self.put_agenda(&self.doctor(*doctor), *from, *to).await,
            (Request::Wake, ..) => self.wake().await,
            (Request::Advance(by), ..) => {
                self.clock.shift(minutes(*by));
                Answer::Nothing
            }
            (Request::StepBack(by), ..) => {
                self.clock.shift(-minutes(*by));
                Answer::Nothing
            }
            _ => Answer::Nothing,
        }
    }

    /// Stores an agenda in place of the one that the doctor has.
    async fn put_agenda(&self, doctor: &str, from: usize, to: usize) -> Answer {
        let staff = staff();
        let condition = match self.booking.agenda(&staff, pe(), doctor).await {
            Ok(present) => Precondition::Tags(vec![present.revision.to_string()]),
            Err(BookingError::NoAgenda) => Precondition::Absent,
            Err(error) => return refused(error),
        };
        let time = |number: usize| start(number).strftime("%H:%M").to_string();
        let places = if doctor.ends_with("group") { GROUP } else { 1 };
        let hours = json!({
            "date": start(0).date().to_string(), "from": time(from), "to": time(to), "minutes": MINUTES, "places": places,
            "zone": ZONE,
        });
        let agenda = json!({ "weekly": [], "extra": [hours] });
        let request = AgendaRequest { doctor, agenda, condition, is_dry_run: false };
        match self.booking.put_agenda(&staff, pe(), request).await {
            Ok(AgendaChange { revision, outside, .. }) => {
                let outside = outside.into_iter().map(|outside| outside.appointment.id).collect();
                Answer::AgendaStored(Box::new(revision), outside)
            }
            Err(error) => refused(error),
        }
    }

    /// Holds one of the doctor's free slots.
    async fn hold(&self, caller: &Caller, doctor: &str, nth: usize) -> Answer {
        let search = SlotSearch {
            spelt: Spellings { doctor: Some(doctor.to_owned()), ..Spellings::default() },
            members: Vec::new(),
            appointment: None,
            from: Some(start(0).date()),
            days: 1,
            after: None,
            limit: STARTS,
        };
        let shown = match self.booking.slots(caller, pe(), search).await {
            Ok(page) => page.slots,
            Err(error) => return refused(error),
        };
        let Some(free) = shown.get(nth % shown.len().max(1)).cloned() else { return Answer::Nothing };
        let FreeSlot { slot, doctor, hospital, request, .. } = free;
        let token = SlotToken { country: pe(), slot, doctor, hospital, request, place: Vec::new() };
        match self.booking.hold(caller, pe(), token, None).await {
            Ok(hold) => {
                self.holds.lock().unwrap().push(hold.clone());
                Answer::Held(Box::new(hold))
            }
            Err(error) => refused(error),
        }
    }

    async fn act(&self, request: ActionRequest<'_>, about: &Known) -> Answer {
        let is_for_staff = about.is_verified || request.action == "no-show";
        let caller = if is_for_staff { staff() } else { self.patient(about.account) };
        self.booked_or_refused(about.account, self.booking.act(&caller, pe(), request).await)
    }

    /// Verifies an appointment, unless another client has done so already.
    async fn verify(&self, about: &Known) -> Answer {
        let staff = staff();
        match self.booking.act(&staff, pe(), action(about, VERIFY)).await {
            Ok(view) if view.revision.provenance.request_id != staff.request_id => Answer::Nothing,
            verified => self.booked_or_refused(about.account, verified),
        }
    }

    /// Does the clinic's actions that are due.
    async fn wake(&self) -> Answer {
        let due = match self.wakes.due(pe(), self.clock.now(), DUE).await {
            Ok(due) => due,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        let is_ours = |id: Uuid| self.known.lock().unwrap().iter().any(|known| known.id == id);
        let mut done = Vec::new();
        for due in due.iter().filter(|due| is_ours(due.appointment)) {
            match self.booking.wake(pe(), due).await {
                Ok(Woken::Done) => done.push((due.appointment, due.revision + 1)),
                Ok(Woken::Replaced) => {}
                Ok(other) => return Answer::Refused(format!("{other:?}")),
                Err(error) => return Answer::Unknown(error.to_string()),
            }
        }
        Answer::Woken(done)
    }

    /// Returns the answer to a request of this account, and learns the revision that it has.
    fn booked_or_refused(&self, account: usize, result: Result<View, BookingError>) -> Answer {
        match result {
            Ok(view) => {
                self.learn(account, &view);
                Answer::Stored(Box::new((*view.revision).clone()))
            }
            Err(error) => refused(error),
        }
    }

    fn learn(&self, account: usize, view: &View) {
        let appointment = &view.revision.appointment;
        let (is_verified, seen) = (view.revision.owner.is_none(), (appointment.revision, view.tag()));
        let mut known = self.known.lock().unwrap();
        match known.iter_mut().find(|known| known.id == appointment.id) {
            Some(known) if known.seen.0 < appointment.revision => (known.is_verified, known.seen) = (is_verified, seen),
            Some(_) => {}
            None => known.push(Known { id: appointment.id, account, is_verified, seen }),
        }
    }

    fn doctor(&self, number: usize) -> String {
        format!("{}.{}", self.clinic, DOCTORS[number])
    }

    fn patient_key(&self, number: usize) -> String {
        format!("{}.patient-{number}", self.clinic)
    }

    fn patient(&self, account: usize) -> Caller {
        caller(&subject(&self.clinic, account), &[])
    }
}

fn staff() -> Caller {
    caller("staff", &["pe:staff"])
}

/// Returns a caller with every scope, and a request id of their own.
pub fn caller(subject: &str, groups: &[&str]) -> Caller {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    Caller {
        subject: subject.into(),
        groups: set(groups),
        scopes: set(&Scope::ALL.map(Scope::as_str)),
        identities: [].into(),
        request_id: Uuid::now_v7().to_string(),
    }
}

/// Returns an action on an appointment, with an empty input.
fn action<'a>(about: &Known, action: &'a str) -> ActionRequest<'a> {
    ActionRequest { id: about.id, action, input: json!({}), slot: None, if_match: None, key: None }
}

/// Returns the name of an account of a clinic.
pub fn subject(clinic: &str, account: usize) -> String {
    format!("{clinic}.account-{account}")
}

/// Returns the number of an account from its name.
pub fn account_of(subject: &str) -> usize {
    subject.rsplit('-').next().unwrap().parse().unwrap()
}

fn refused(error: BookingError) -> Answer {
    match error {
        BookingError::SlotTaken { claim, .. } => Answer::Taken(claim),
        BookingError::PatientTaken => Answer::Taken(None),
        BookingError::HoldExpired { .. } => Answer::HoldExpired,
        BookingError::HoldLimit => Answer::HoldLimit,
        BookingError::Violations(rejection) if rejection.violations[0].code == "agenda.outside" => Answer::Outside,
        BookingError::Unavailable(error) => Answer::Unknown(error.to_string()),
        error => Answer::Refused(error.to_string()),
    }
}
