//! Measures the effect of countries that work hard: on the clients of Peru while two countries are at the limits of
//! their budgets, and on the number of bookings when clients request far more than can be served. The hard work is done
//! by the tests' misbehaving country, which may use all the fuel that a component can declare, and does so on request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{Instant as At, sleep_until};

use crate::load::Connection;
use crate::platform::{Data, Server, chaos, loaded, peru};
use crate::posts::located;
use crate::report::{Report, spread};
use crate::requests::{booking, example, get, post};
use crate::timing::{middle, rate};

/// Number of appointments of each country that works hard to present them.
const HEAVY: usize = 30;

/// Number of lists that are requested at the same time of each such country.
const LISTS: usize = 2;

/// Number of bookings in Peru meanwhile, each followed by a GET.
const NEIGHBOURS: usize = 500;

/// Maximum 99th percentile of the times in Peru.
const NEIGHBOUR_WITHIN: Duration = Duration::from_millis(50);

/// Ratio of the crowd's requests to those that can be served.
const TIMES_CAPACITY: f64 = 40.0;

/// Number of turns, each with few connections and then with many.
const TURNS: usize = 3;

/// Number of connections that keep the country busy without overload.
const FEW: u32 = 4;

/// Number of the crowd's connections.
const CONNECTIONS: u32 = 128;

/// Number of the next booking.
static NEXT: AtomicUsize = AtomicUsize::new(HEAVY);

/// Duration of each load.
const DURING: Duration = Duration::from_secs(5);

/// Minimum ratio of the bookings per second under overload to those without.
const GOODPUT: f64 = 0.9;

pub fn measure(report: &mut Report) {
    let data = Data::with_peru().with_country("xx", &chaos(&[])).with_country("yy", &chaos(&["country"]));
    let token = data.token(&["platform"]);
    let citas = Server::citas(&data);
    neighbours(report, citas.address, &token);
    overload(report, citas.address, &token);
}

/// Returns request `number` for a country that works hard.
fn hard(number: usize, mode: &str) -> Value {
    json!({ "mode": mode, "doctor": number.to_string(), "date": "2027-12-01", "time": "09:30", "email": "ana@example.com" })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn neighbours(report: &mut Report, server: SocketAddr, token: &str) {
    let places = ["xx", "yy"].map(|country| format!("/v1/{country}/appointments"));
    for place in &places {
        let heavy: Vec<_> = (0..HEAVY).map(|number| post(place, token, &hard(number, "heavy"))).collect();
        located(server, &heavy);
    }
    let example = example(&loaded(peru()));
    let (mut posts, mut gets) = (Vec::new(), Vec::new());
    block_on(async {
        let lists = places.iter().cycle().take(places.len() * LISTS);
        let busy: Vec<_> =
            lists.map(|place| tokio::spawn(list(server, get(&format!("{place}?limit=100"), token)))).collect();
        let mut peru = Connection::open(server).await;
        for number in 0..NEIGHBOURS {
            let (took, status) =
                timed(&mut peru, &post("/v1/pe/appointments", token, &booking(&example, number))).await;
            assert_eq!(status, 201, "{}", String::from_utf8_lossy(peru.body()));
            posts.push(took);
            let booked: Value = serde_json::from_slice(peru.body()).expect("JSON");
            let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().expect("an id"));
            gets.push(timed(&mut peru, &get(&place, token)).await.0);
        }
        busy.iter().for_each(tokio::task::JoinHandle::abort);
    });
    for (what, times) in [("POST", &mut posts), ("GET", &mut gets)] {
        let times_spread = spread(times);
        let p99 = times[times.len() * 99 / 100];
        report.target(
            format!("{what} in Peru beside two countries at their limits"),
            times_spread,
            "p99 ≤ 50 ms",
            p99 <= NEIGHBOUR_WITHIN,
        );
    }
}

/// Requests a list again and again.
async fn list(server: SocketAddr, request: Vec<u8>) {
    let mut connection = Connection::open(server).await;
    loop {
        connection.ask(&request).await;
    }
}

async fn timed(connection: &mut Connection, request: &[u8]) -> (Duration, u16) {
    let started = Instant::now();
    let status = connection.ask(request).await;
    (started.elapsed(), status)
}

fn overload(report: &mut Report, server: SocketAddr, token: &str) {
    let turns: Vec<[Crowd; 2]> = (0..TURNS)
        .map(|_| {
            let few = Crowd::of(server, token, FEW, None);
            let offered = TIMES_CAPACITY * few.goodput();
            [few, Crowd::of(server, token, CONNECTIONS, Some(offered))]
        })
        .collect();
    let of = |figure: fn(&[Crowd; 2]) -> f64| middle(turns.iter().map(figure).collect());
    let (best, goodput) = (of(|[few, _]| few.goodput()), of(|[_, many]| many.goodput()));
    let (ratio, offered) = (of(|[few, many]| many.goodput() / few.goodput()), of(|[_, many]| rate(many.asked, DURING)));
    let undeclared: usize = turns.iter().flatten().map(|crowd| crowd.undeclared).sum();
    report.figure("bookings that take 40 million of fuel each, at best", format!("{best:.0} /s"));
    report.figure(format!("  {offered:.0} /s asked, {:.0} × as many", offered / best), format!("{goodput:.0} /s"));
    let met = ratio >= GOODPUT && undeclared == 0;
    report.target("  of the best", format!("{ratio:.2}, {undeclared} undeclared"), "≥ 0.9, 0", met);
}

/// Counts of the responses to many clients that book at the same time.
#[derive(Default)]
struct Crowd {
    asked: usize,
    booked: usize,
    /// Number of responses that neither book nor refuse in a way that the API declares.
    undeclared: usize,
}

impl Crowd {
    /// Books over this many connections, with `a_second` requests per second in total, or without pauses if it is
    /// `None`.
    fn of(server: SocketAddr, token: &str, connections: u32, a_second: Option<f64>) -> Self {
        block_on(async {
            let pause = a_second.map(|a_second| Duration::from_secs_f64(f64::from(connections) / a_second));
            let each = (0..connections).map(|_| {
                let token = token.to_owned();
                tokio::spawn(async move { Self::client(server, &token, pause).await })
            });
            let mut all = Self::default();
            for client in futures::future::join_all(each).await {
                let Self { asked, booked, undeclared } = client.expect("a client");
                all.asked += asked;
                all.booked += booked;
                all.undeclared += undeclared;
            }
            all
        })
    }

    /// Runs one client. Every booking is for another doctor.
    async fn client(server: SocketAddr, token: &str, pause: Option<Duration>) -> Self {
        let mut connection = Connection::open(server).await;
        let (mut found, start) = (Self::default(), At::now());
        while start.elapsed() < DURING {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let request = post("/v1/xx/appointments", token, &hard(number, "toil"));
            match connection.ask(&request).await {
                201 => found.booked += 1,
                429 | 503 => {}
                _ => found.undeclared += 1,
            }
            found.asked += 1;
            if let Some(pause) = pause {
                sleep_until(start + pause * u32::try_from(found.asked).expect("some thousands")).await;
            }
        }
        found
    }

    fn goodput(&self) -> f64 {
        rate(self.booked, DURING)
    }
}
