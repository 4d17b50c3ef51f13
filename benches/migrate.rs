//! Measures the migration of appointments that Citas 0.1 stored: of a file when it is first used, and of a table by
//! `citas ledger migrate`, over the server that speaks AWS. Each appointment has two revisions.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{ConfigLoader, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use citas::local::sqlite::SqliteLedger;
use citas_core::ports::Ledger as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rusqlite::{Connection, params};
use serde_json::{Value as Json, json};

use crate::appointments::{KEY, at, id, pe};
use crate::former::{Item, dni, former, former_items};
use crate::ministack::{aws, unique};
use crate::platform::block_on;
use crate::report::Report;
use crate::table;

/// Argument for this part, which takes too long to be one of all.
pub const PART: &str = "migrate";

/// Number of appointments unless an argument gives another.
const APPOINTMENTS: usize = 100_000;

/// Variable with the address of another server than ministack.
const SERVER: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// Maximum number of appointments in a table of ministack. The server sorts all items for each page of a scan, so that a client gives
/// up on larger tables.
const MAX_IN_TABLE: usize = 4_000;

/// Maximum number of items in one request.
const BATCH: usize = 25;

const MAX_CONCURRENCY: usize = 4;

pub fn measure(report: &mut Report) {
    let count = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(APPOINTMENTS);
    let (size, took) = file(count);
    report.figure(format!("migrating a file of {size} MB, {count} appointments"), seconds(took));
    let server = std::env::var(SERVER).ok();
    let count = if server.is_some() { count } else { count.min(MAX_IN_TABLE) };
    let took = block_on(migrated_table(server, count));
    report.figure(format!("migrating a table of {count} appointments"), seconds(took));
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Migrates a file. Returns its size before, in megabytes, and the time.
fn file(count: usize) -> (u64, Duration) {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target folder");
    let file = data.path().join("pe.db");
    fill_file(&file, count).expect("a file");
    let size = file.metadata().expect("a file").len() / 1_000_000;
    let started = Instant::now();
    let ledger = SqliteLedger::open(data.path()).expect("a data folder");
    block_on(ledger.ready(pe())).expect("a file that is migrated");
    (size, started.elapsed())
}

fn fill_file(file: &Path, count: usize) -> rusqlite::Result<()> {
    let mut connection = Connection::open(file)?;
    connection.execute_batch(include_str!("../tests/ledger_sqlite/version_1.sql"))?;
    let transaction = connection.transaction()?;
    let start = i64::try_from(at("2026-12-01T14:30:00Z").as_nanosecond()).expect("a time of this century");
    for number in 0..count {
        let (key, latest) = (id(number).into_bytes(), body(number, 2));
        let phase = latest["appointment"]["phase"].as_str();
        transaction
            .prepare_cached("INSERT INTO appointment VALUES (?, 2, ?, ?, 'ana', ?, '45678', NULL, ?)")?
            .execute(params![key, start, phase, format!("dni:{}", dni(number)), latest.to_string()])?;
        transaction
            .prepare_cached("INSERT INTO revision VALUES (?, 1, ?)")?
            .execute(params![key, body(number, 1).to_string()])?;
        for claim in latest["claims"].as_array().expect("a list") {
            transaction.prepare_cached("INSERT INTO claim VALUES (?, ?)")?.execute(params![claim.as_str(), key])?;
        }
    }
    transaction.commit()?;
    connection.pragma_update(None, "user_version", 1)
}

/// Returns a revision with its attributes.
fn body(number: usize, revision: usize) -> Json {
    let mut body = former(number, revision);
    body["appointment"]["attributes"] = json!([
        { "path": "/dni", "value": { "text": dni(number) } },
        { "path": "/name", "value": { "text": "Zutano Mengánez" } },
    ]);
    body
}

/// Migrates a table with the command, and returns the time.
async fn migrated_table(server: Option<String>, count: usize) -> Duration {
    let aws = server.into_iter().fold(aws(), ConfigLoader::endpoint_url);
    let (aws, prefix) = (aws.load().await, format!("{}-", unique("citas")));
    let name = format!("{prefix}pe");
    table::create(&Client::new(&aws), &name).await;
    fill_table(&aws, &name, count).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_citas"));
    command
        .args(["ledger", "migrate", "pe", "--tables", &prefix])
        .env("CITAS_KEY", KEY)
        .env("AWS_ENDPOINT_URL", aws.endpoint_url().expect("an address"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().expect("a program that starts");
    assert!(status.success(), "{status}");
    started.elapsed()
}

async fn fill_table(aws: &SdkConfig, table: &str, count: usize) {
    let client = &Client::new(aws);
    // Events are deleted after a week, so an old table has few.
    let is_kept = |item: &Item| !item["kind"].as_s().is_ok_and(|kind| kind == "event");
    let items = stream::iter((0..count).flat_map(former_items).filter(is_kept));
    let requests = items.map(|item| {
        let put = PutRequest::builder().set_item(Some(item)).build().expect("an item");
        WriteRequest::builder().put_request(put).build()
    });
    let written = requests.chunks(BATCH).map(|batch| async move {
        let answer = client.batch_write_item().request_items(table, batch).send().await?;
        assert!(answer.unprocessed_items().is_none_or(HashMap::is_empty), "the server takes them all");
        Ok::<_, aws_sdk_dynamodb::Error>(())
    });
    written.buffer_unordered(MAX_CONCURRENCY).try_collect::<()>().await.expect("a table");
}
