//! Measures a visit over one connection: the doctor's week of free slots, a hold, the booking with it, and a reschedule to
//! another slot. Then a week of a hospital whose doctors have agendas, half booked.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::Connection;
use crate::platform::{Data, Server, block_on, loaded, peru};
use crate::report::{Report, millis, spread};
use crate::requests::{dni, example, get, post, put};
use crate::timing::median;

/// Number of visits, each with a doctor and a patient of its own.
const VISITS: usize = 300;

/// Number of the hospital's doctors.
const DOCTORS: usize = 50;

/// Number of searches of the hospital's week.
const SEARCHES: usize = 50;

/// Maximum median time of the hospital's week.
const HOSPITAL_WITHIN: Duration = Duration::from_millis(50);

/// First doctor of the visits, and the first of the hospital.
const FIRST: [usize; 2] = [600_000, 700_000];

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let token = data.token(&["pe:staff"]);
    let citas = Server::citas(&data);
    let desk = Desk { server: citas.address, token, example: example(&loaded(peru())) };
    desk.visits(report);
    desk.hospital(report);
}

struct Desk {
    server: SocketAddr,
    token: String,
    example: Value,
}

impl Desk {
    fn member(&self, name: &str) -> &str {
        self.example[name].as_str().expect("a text")
    }

    fn search(&self, place: &str) -> Vec<u8> {
        let [hospital, district, from] = ["hospital", "district", "date"].map(|name| self.member(name));
        let path = format!("/v1/pe/slots?hospital={hospital}&district={district}&from={from}&limit=1000{place}");
        get(&path, &self.token)
    }

    fn visits(&self, report: &mut Report) {
        let names = ["a doctor's week of slots", "hold", "booking with the hold", "reschedule to a slot"];
        let mut times = [const { Vec::new() }; 4];
        block_on(async {
            let mut connection = Connection::open(self.server).await;
            for visit in 0..VISITS {
                let search = self.search(&format!("&doctor={}", FIRST[0] + visit));
                let found = timed(&mut connection, &search, &mut times[0]).await;
                let hold = post("/v1/pe/holds", &self.token, &json!({ "slot": found["items"][0]["slot"] }));
                let hold = timed(&mut connection, &hold, &mut times[1]).await;
                let members = json!({ "hold": hold["id"], "dni": dni(visit), "email": self.member("email"), "district": self.member("district") });
                let booking = post("/v1/pe/appointments", &self.token, &members);
                let booked = timed(&mut connection, &booking, &mut times[2]).await;
                let path = format!("/v1/pe/appointments/{}/reschedule", booked["id"].as_str().expect("an id"));
                let other = json!({ "slot": found["items"][1]["slot"] });
                timed(&mut connection, &post(&path, &self.token, &other), &mut times[3]).await;
            }
        });
        for (name, times) in names.iter().zip(&mut times) {
            report.figure(format!("{name}, one connection"), spread(times));
        }
    }

    fn hospital(&self, report: &mut Report) {
        let searched = block_on(async {
            let mut connection = Connection::open(self.server).await;
            for doctor in 0..DOCTORS {
                let agenda = self.agenda();
                let path = format!("/v1/pe/agendas/{}", FIRST[1] + doctor);
                assert_eq!(connection.ask(&put(&path, &self.token, "if-none-match: *", &agenda)).await, 201);
            }
            let week = timed(&mut connection, &self.search(""), &mut Vec::new()).await;
            let items = week["items"].as_array().expect("slots");
            let doctors: HashSet<_> = items.iter().map(|slot| slot["doctor"].as_str()).collect();
            assert_eq!(doctors.len(), DOCTORS);
            let slots = items.iter().enumerate().filter(|(number, _)| number % 2 == 0);
            let bookings: Vec<_> = slots.map(|(number, slot)| self.booking(number, &slot["slot"])).collect();
            for booking in &bookings {
                assert_eq!(connection.ask(booking).await, 201, "{}", String::from_utf8_lossy(connection.body()));
            }
            let mut times = Vec::new();
            for _ in 0..SEARCHES {
                timed(&mut connection, &self.search(""), &mut times).await;
            }
            times
        });
        let mut times = searched;
        let time = median(&mut times);
        let name = format!("a week of slots of {DOCTORS} doctors, half booked");
        report.target(name, millis(time), "≤ 50 ms", time <= HOSPITAL_WITHIN);
    }

    fn booking(&self, number: usize, slot: &Value) -> Vec<u8> {
        let members = json!({ "slot": slot, "dni": dni(VISITS + number), "email": self.member("email"), "district": self.member("district") });
        post("/v1/pe/appointments", &self.token, &members)
    }

    /// Returns an agenda of two hours from Monday to Friday.
    fn agenda(&self) -> Value {
        let weekly = ["monday", "tuesday", "wednesday", "thursday", "friday"].map(|weekday| {
            json!({
                "weekday": weekday, "from": "08:00", "to": "10:00", "minutes": 30, "zone": "America/Lima",
                "hospital": self.member("hospital"),
            })
        });
        json!({ "weekly": weekly })
    }
}

/// Sends a request that succeeds, and keeps its time. Returns the body.
async fn timed(connection: &mut Connection, request: &[u8], times: &mut Vec<Duration>) -> Value {
    let started = Instant::now();
    let status = connection.ask(request).await;
    times.push(started.elapsed());
    assert!((200..300).contains(&status), "{}", String::from_utf8_lossy(connection.body()));
    serde_json::from_slice(connection.body()).expect("JSON")
}
