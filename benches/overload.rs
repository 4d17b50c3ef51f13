//! Measures how many requests succeed while clients ask for up to twice as much as the host can serve. Each client finds a
//! free slot, holds it, and books it: every request is for another doctor, so none fails for want of a slot. Writes the
//! curve as a picture.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color as _, IntoDrawingArea as _, LineSeries, RGBColor, SVGBackend, WHITE,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::load::Connection;
use crate::platform::{Data, Server, block_on, loaded, peru};
use crate::report::Report;
use crate::requests::{dni, example, get, post};
use crate::timing::rate;

/// Number of connections that find the most that the host can serve.
const FEW: usize = 64;

/// Number of connections of the loads.
const CONNECTIONS: usize = 768;

/// Loads, as ratios to what the host can serve, and their durations.
const LOADS: [(f64, Duration); 7] = [
    (0.25, SHORT),
    (0.5, SHORT),
    (0.75, SHORT),
    (1.0, SHORT),
    (1.25, SHORT),
    (1.5, SHORT),
    (2.0, Duration::from_mins(1)),
];

const SHORT: Duration = Duration::from_secs(10);

/// Minimum ratio of the successes a second under the last load to the most of all loads.
const GOODPUT: f64 = 0.8;

/// Number of doctors, from the number of the same name on. Numbers have six digits.
const DOCTORS: usize = 400_000;

/// File with the curve, below the folder of the build.
const CURVE: &str = "overload.svg";

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let citas = Server::citas(&data);
    let example = example(&loaded(peru()));
    let desk = Desk { server: citas.address, data: &data, example: &example, next: AtomicUsize::new(0) };
    desk.load(FEW, None, SHORT / 5);
    let most = desk.load(FEW, None, SHORT);
    report.figure(format!("slots, holds and bookings over {FEW} connections"), format!("{:.0} /s", most.goodput()));
    let mut curve = Vec::new();
    for (ratio, during) in LOADS {
        let load = desk.load(CONNECTIONS, Some(ratio * most.goodput()), during);
        let (asked, goodput) = (rate(load.asked, during), load.goodput());
        let refused = format!("{goodput:.0} /s, {} undeclared", load.undeclared);
        report.figure(format!("  {asked:.0} /s asked, {:.2} × as many", asked / most.goodput()), refused);
        curve.push((asked, goodput, load.undeclared));
    }
    let best = curve.iter().map(|(_, goodput, _)| *goodput).fold(most.goodput(), f64::max);
    let undeclared: usize = curve.iter().map(|(_, _, undeclared)| undeclared).sum();
    let ratio = curve[curve.len() - 1].1 / best;
    let met = ratio >= GOODPUT && undeclared == 0;
    report.target(
        "  of the peak at twice the load, for a minute",
        format!("{ratio:.2}, {undeclared} undeclared"),
        "≥ 0.8, 0",
        met,
    );
    let points: Vec<(f64, f64)> = curve.iter().map(|(asked, goodput, _)| (*asked, *goodput)).collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(CURVE);
    draw(&file, &points).expect("a writable target folder");
    println!("\nThe curve is in {}.\n", file.display());
}

/// Clients of one server.
struct Desk<'a> {
    server: SocketAddr,
    data: &'a Data,
    example: &'a Value,
    /// Number of the next visit. Each has a doctor and a patient of its own.
    next: AtomicUsize,
}

/// Counts of the responses to a load.
#[derive(Default)]
struct Load {
    asked: usize,
    succeeded: usize,
    /// Number of responses that neither succeed nor refuse in a way that the API declares.
    undeclared: usize,
    during: Duration,
}

impl Desk<'_> {
    /// Sends requests over this many connections, with `a_second` requests a second in total, or without pauses.
    fn load(&self, connections: usize, a_second: Option<f64>, during: Duration) -> Load {
        block_on(async {
            let pause = a_second.map(|a_second| Duration::from_secs_f64(count(connections) / a_second));
            // Accounts of their own: what the clients of an earlier load hold would count.
            let load = self.next.load(Ordering::Relaxed);
            let token = |client| self.data.token_of(&format!("desk-{load}-{client}"), &["pe:staff"]);
            let tokens: Vec<String> = (0..connections).map(token).collect();
            let clients = tokens.iter().map(|token| self.client(token, pause, during));
            let mut all = Load { during, ..Load::default() };
            for client in futures::future::join_all(clients).await {
                all.asked += client.asked;
                all.succeeded += client.succeeded;
                all.undeclared += client.undeclared;
            }
            all
        })
    }

    /// Runs one client: visits one after the other.
    async fn client(&self, token: &str, pause: Option<Duration>, during: Duration) -> Load {
        let (mut connection, start, mut found) = (Connection::open(self.server).await, Instant::now(), Load::default());
        let mut step = self.search();
        while start.elapsed() < during {
            let status = connection.ask(&self.request(&step, token)).await;
            found.asked += 1;
            match status {
                200..300 => {
                    found.succeeded += 1;
                    step = self.after(&step, connection.body());
                }
                // The request is repeated at the next turn.
                429 | 503 => {}
                _ => {
                    eprintln!("{status}: {}", String::from_utf8_lossy(connection.body()));
                    found.undeclared += 1;
                    step = self.search();
                }
            }
            if let Some(pause) = pause {
                sleep_until(start + pause.mul_f64(count(found.asked))).await;
            }
        }
        found
    }

    fn search(&self) -> Step {
        Step::Search(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the step after one that succeeded with this body.
    fn after(&self, step: &Step, body: &[u8]) -> Step {
        let body: Value = serde_json::from_slice(body).expect("JSON");
        match step {
            Step::Search(visit) => Step::Hold(*visit, body["items"][0]["slot"].clone()),
            Step::Hold(visit, _) => Step::Book(*visit, body["id"].clone()),
            Step::Book(..) => self.search(),
        }
    }

    fn request(&self, step: &Step, token: &str) -> Vec<u8> {
        let member = |name: &str| self.example[name].as_str().expect("a text");
        match step {
            Step::Search(visit) => {
                let [hospital, district, from] = ["hospital", "district", "date"].map(member);
                let place = format!("doctor={}&hospital={hospital}&district={district}", DOCTORS + visit % DOCTORS);
                get(&format!("/v1/pe/slots?{place}&from={from}&days=7"), token)
            }
            Step::Hold(_, slot) => post("/v1/pe/holds", token, &json!({ "slot": slot })),
            Step::Book(visit, hold) => {
                let members = json!({ "hold": hold, "dni": dni(*visit), "email": member("email"), "district": member("district") });
                post("/v1/pe/appointments", token, &members)
            }
        }
    }
}

/// Next request of a visit, with its number.
enum Step {
    Search(usize),
    Hold(usize, Value),
    Book(usize, Value),
}

impl Load {
    fn goodput(&self) -> f64 {
        rate(self.succeeded, self.during)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Draws the successes a second over the requests a second.
fn draw(file: &Path, points: &[(f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let end = points.iter().map(|(asked, _)| *asked).fold(0.0, f64::max);
    let area = SVGBackend::new(file, (640, 320)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..end)?;
    chart.configure_mesh().x_desc("requests a second").y_desc("of which succeed").disable_mesh().draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (end, end)], RGBColor(200, 200, 200)))?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLACK))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, BLACK.filled())))?;
    area.present()?;
    Ok(())
}
