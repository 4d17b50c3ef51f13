//! Compares durable bookings over HTTP with the commits of SQLite alone: the rows that the server wrote, in batches of
//! the server's size, into an empty file with the same tables, indexes and settings.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use citas::system::SystemClock;
use citas_core::model::{Event, EventData, TYPE_PREFIX};
use citas_core::ports::Clock as _;
use rusqlite::types::Value as Column;
use rusqlite::{OpenFlags, params};
use serde_json::Value;
use uuid::Uuid;

use crate::load::{self, Connection, Outcome};
use crate::platform::{Data, Server, block_on, loaded, pe, peru};
use crate::report::{Report, micros, spread};
use crate::requests::{booking, example, get, post};
use crate::timing::{middle, rate};

const CONNECTIONS: usize = 64;
const BOOKINGS: usize = 2_000;
const TURNS: usize = 5;

/// Minimum ratio to bare SQLite's rate.
const TARGET: f64 = 0.5;

pub fn measure(report: &mut Report) {
    let data = Data::with_peru();
    let token = data.token(&["pe:staff"]);
    let citas = Server::citas(&data);
    let example = example(&loaded(peru()));
    // The first request opens the file and compiles the statements.
    located(citas.address, &[post("/v1/pe/appointments", &token, &booking(&example, 0))]);
    let written = Written::open(&data.path().join("pe.db"));
    let bare = Bare::like(&written, &data.path().join("bare.db"));

    let (mut turns, mut first) = (Vec::new(), 1);
    for _ in 0..TURNS {
        let numbers = first..first + BOOKINGS;
        let bookings: Vec<_> =
            numbers.map(|number| post("/v1/pe/appointments", &token, &booking(&example, number))).collect();
        first += BOOKINGS;
        turns.push(Turn::take(&citas, &written, &bare, &bookings));
    }
    tell(report, &mut turns);
}

struct Turn {
    posts: Outcome,
    batch: f64,
    /// Time from the last response until every event of the turn was relayed and its mail written.
    relayed: Duration,
    bare: Duration,
}

impl Turn {
    fn take(citas: &Server, written: &Written, bare: &Bare, bookings: &[Vec<u8>]) -> Self {
        let (last, before) = (written.last(), Batches::of(citas));
        let posts = load::send(citas.address, CONNECTIONS, bookings, 201);
        let batch = Batches::of(citas).since(&before);
        let answered = Instant::now();
        while !written.is_relayed() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let relayed = answered.elapsed();
        let rows = written.since(last);
        Self { posts, batch, relayed, bare: bare.commit(&rows, batch) }
    }

    fn ratio(&self) -> f64 {
        self.posts.rate() / rate(BOOKINGS, self.bare)
    }
}

fn tell(report: &mut Report, turns: &mut [Turn]) {
    let of = |figure: fn(&Turn) -> f64| middle(turns.iter().map(figure).collect());
    let failed: usize = turns.iter().map(|turn| turn.posts.failed).sum();
    let (ours, batch) = (of(|turn| turn.posts.rate()), of(|turn| turn.batch));
    let (theirs, ratio) = (of(|turn| rate(BOOKINGS, turn.bare)), of(Turn::ratio));
    let relayed = of(|turn| turn.relayed.as_secs_f64());
    let mut times: Vec<_> = turns.iter().flat_map(|turn| turn.posts.times.iter().copied()).collect();
    report.figure(format!("SQLite alone, {batch:.0} changes a commit"), format!("{theirs:.0} /s"));
    report.figure("POST of a booking, durable", format!("{ours:.0} /s, {failed} failed"));
    report.figure("  its time among 64 connections", spread(&mut times));
    report
        .figure(format!("  {BOOKINGS} mails written after the last answer"), micros(Duration::from_secs_f64(relayed)));
    report.target("  of SQLite's rate", format!("{ratio:.2}"), "≥ 0.5", ratio >= TARGET && failed == 0);
}

/// Maximum number of times that a request is repeated.
const REPEATS: usize = 10_000;

/// Books one request after the other and returns the paths of the appointments. Repeats a request while the server
/// reports that it is busy, which happens on a machine that others use.
pub fn located(server: SocketAddr, bookings: &[Vec<u8>]) -> Vec<String> {
    block_on(async {
        let mut connection = Connection::open(server).await;
        let mut paths = Vec::new();
        for booking in bookings {
            for _ in 0..REPEATS {
                if connection.ask(booking).await != 503 {
                    break;
                }
            }
            let appointment: Value = serde_json::from_slice(connection.body()).expect("JSON");
            let id = appointment["id"].as_str().unwrap_or_else(|| panic!("{appointment}"));
            paths.push(format!("/v1/pe/appointments/{id}"));
        }
        paths
    })
}

/// The server's metric of the number of changes in its commits.
struct Batches {
    changes: f64,
    commits: f64,
}

impl Batches {
    fn of(citas: &Server) -> Self {
        let answer = load::send(citas.address, 1, &[get("/metrics", "")], 200).bodies.pop().expect("an answer");
        let text = String::from_utf8(answer).expect("text");
        let of = |name: &str| {
            let start = format!("citas_ledger_batch_size_{name}{{country=\"pe\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&start)).expect("the metric");
            value.parse().expect("a number")
        };
        Self { changes: of("sum"), commits: of("count") }
    }

    fn since(&self, before: &Self) -> f64 {
        (self.changes - before.changes) / (self.commits - before.commits)
    }
}

/// The rows that the server has written, read from its file.
struct Written(rusqlite::Connection);

impl Written {
    fn open(file: &Path) -> Self {
        Self(rusqlite::Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the ledger's file"))
    }

    fn last(&self) -> i64 {
        self.0.query_row("SELECT max(rowid) FROM appointment", [], |row| row.get(0)).expect("a number")
    }

    fn is_relayed(&self) -> bool {
        let waiting: bool =
            self.0.query_row("SELECT EXISTS (SELECT 1 FROM outbox)", [], |row| row.get(0)).expect("an answer");
        !waiting
    }

    fn since(&self, last: i64) -> Vec<Booking> {
        let mut bookings: Vec<Booking> = self.bookings(last).into_iter().map(Booking::of).collect();
        let mut claims: HashMap<Uuid, Vec<Vec<Column>>> = HashMap::new();
        for mut row in self.rows("SELECT appointment, * FROM claim WHERE ?", &1.into()) {
            let appointment = row.remove(0);
            claims.entry(uuid(&appointment)).or_default().push(row);
        }
        for booking in &mut bookings {
            let of_booking = claims.remove(&booking.event.subject).into_iter().flatten();
            booking.rows.extend(of_booking.map(|row| ("claim", row)));
        }
        bookings
    }

    /// Returns the rows of the log and of the appointment of each new booking.
    fn bookings(&self, last: i64) -> Vec<(Vec<Column>, Vec<Column>)> {
        let new = self.rows("SELECT sequence, * FROM appointment WHERE rowid > ?", &last.into());
        let with_log = |mut row: Vec<Column>| {
            let sequence = row.remove(0);
            let log = self.rows("SELECT * FROM log WHERE sequence = ?", &sequence).pop();
            (log.expect("each appointment is in the log"), row)
        };
        new.into_iter().map(with_log).collect()
    }

    fn rows(&self, sql: &str, value: &Column) -> Vec<Vec<Column>> {
        let mut select = self.0.prepare_cached(sql).expect("the ledger's tables");
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        select.query_map([value], row).expect("rows").collect::<Result<_, _>>().expect("rows")
    }
}

fn uuid(column: &Column) -> Uuid {
    let Column::Blob(id) = column else { panic!("an id is a blob") };
    Uuid::from_slice(id).expect("an id")
}

/// Rows that one booking writes.
struct Booking {
    /// Each with its table, in the order in which they are written.
    rows: Vec<(&'static str, Vec<Column>)>,
    event: Event,
    body: String,
}

impl Booking {
    fn of((log, appointment): (Vec<Column>, Vec<Column>)) -> Self {
        let event = Event {
            specversion: "1.0".into(),
            id: Uuid::now_v7(),
            source: "/v1/pe/appointments".into(),
            kind: format!("{TYPE_PREFIX}booked"),
            subject: uuid(&appointment[0]),
            time: SystemClock.now(),
            datacontenttype: "application/json".into(),
            country: pe(),
            data: EventData { revision: 1, patient: Uuid::nil() },
        };
        let body = serde_json::to_string(&event).expect("JSON");
        Self { rows: vec![("log", log), ("appointment", appointment)], event, body }
    }
}

/// A file of its own, written without a server.
struct Bare(rusqlite::Connection);

impl Bare {
    fn like(other: &Written, file: &Path) -> Self {
        let connection = rusqlite::Connection::open(file).expect("a writable folder");
        for (pragma, value) in [("journal_mode", "wal"), ("synchronous", "full"), ("foreign_keys", "on")] {
            connection.pragma_update(None, pragma, value).expect("a setting");
        }
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
                   ORDER BY type DESC";
        let mut select = other.0.prepare(sql).expect("the schema");
        let tables: Vec<String> = select.query_map([], |row| row.get(0)).expect("rows").map(Result::unwrap).collect();
        connection.execute_batch(&tables.join(";")).expect("the same tables");
        Self(connection)
    }

    /// Writes these rows in batches whose sizes alternate so that their average is `batch`.
    fn commit(&self, rows: &[Booking], batch: f64) -> Duration {
        let started = Instant::now();
        let (mut rest, mut due) = (rows, 0.0);
        while !rest.is_empty() {
            due += batch;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a batch has some dozens")]
            let size = (due.round() as usize).clamp(1, rest.len());
            #[expect(clippy::cast_precision_loss, reason = "a batch has some dozens")]
            {
                due -= size as f64;
            }
            let (now, later) = rest.split_at(size);
            self.batch(now).expect("a commit");
            rest = later;
        }
        started.elapsed()
    }

    fn batch(&self, bookings: &[Booking]) -> rusqlite::Result<()> {
        let execute = |sql| self.0.prepare_cached(sql)?.execute([]);
        execute("BEGIN IMMEDIATE")?;
        for Booking { rows, event, body } in bookings {
            for (table, row) in rows {
                let values = vec!["?"; row.len()].join(", ");
                let mut insert = self.0.prepare_cached(&format!("INSERT INTO {table} VALUES ({values})"))?;
                insert.execute(rusqlite::params_from_iter(row))?;
            }
            let mut insert = self.0.prepare_cached("INSERT INTO outbox (id, subject, body) VALUES (?, ?, ?)")?;
            insert.execute(params![event.id.as_bytes(), event.subject.as_bytes(), body])?;
        }
        execute("COMMIT")?;
        Ok(())
    }
}
