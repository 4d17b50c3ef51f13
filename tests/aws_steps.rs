//! AWS fails at each step of a booking, a relay, a notification and a refresh of rules. Nothing is lost, nothing is
//! booked twice, and the client gets an answer that the API declares.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::{dynamodb, sqs};
use citas::aws::dynamo::DynamoLedger;
use citas::aws::registry::S3Registry;
use citas::aws::{queue, stream};
use citas::lambda::precompile::compile_all;
use citas::system::{SystemClock, UuidIds};
use citas::wasm::WasmEngine;
use citas::wasm::judge::ChildJudge;
use citas_core::booking::BookingError;
use citas_core::booking::{ActionRequest, Booking, MAX_DAYS, Spellings};
use citas_core::model::{Caller, Event, Limits, Scope};
use citas_core::notify::{Notifier, Sender};
use citas_core::ports::{
    Clock as _, Mail, MailError, Mailer, NotPublished, Publisher, Query, Readiness, Registry as _,
};
use citas_core::release::{Catalogue, Following, InProcess, OnDemand, Swapper, precompile};
use citas_core::rules::LoadedRules;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::ledger_dynamo::Tables;
use crate::registry_contract::{artifact, channel, version, with_cases};
use crate::support::appointments::{booked, cl, id, names, pe};
use crate::support::components::{SharedEngine, admission, component, judge};
use crate::support::faults::{Fault, Faults};
use crate::support::http::with;
use crate::support::ministack::{aws, unique};
use crate::support::requests;

/// Returns the answer to a transaction that was cancelled for a transient reason. A retry succeeds.
fn cancelled(code: &str) -> Fault {
    let reasons = json!([{ "Code": "None" }, { "Code": code, "Message": "injected" }]);
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Fault::Answer(400, json!({ "__type": kind, "message": "injected", "CancellationReasons": reasons }).to_string())
}

/// Returns the transient faults: a retry succeeds.
pub fn passing() -> Vec<Fault> {
    vec![
        cancelled("TransactionConflict"),
        cancelled("ThrottlingError"),
        cancelled("ProvisionedThroughputExceeded"),
        Fault::No(400, "TransactionInProgressException"),
        Fault::No(400, "ProvisionedThroughputExceededException"),
        Fault::No(400, "ThrottlingException"),
        Fault::No(500, "InternalServerError"),
        Fault::Cut,
        Fault::Lost,
        Fault::Silence,
    ]
}

/// Pairs each fault with each of the requests that were heard. The first four faults are answers to a transaction.
fn table(heard: &[String]) -> Vec<(usize, Fault)> {
    let faults = |request: &String| passing().into_iter().skip(if request.contains("Transact") { 0 } else { 4 });
    let pairs = |(step, request)| faults(request).map(move |fault| (step, fault));
    heard.iter().enumerate().flat_map(pairs).collect()
}

pub fn ana() -> Caller {
    Caller {
        subject: "ana".into(),
        groups: [].into(),
        scopes: Scope::ALL.map(|scope| scope.as_str().to_owned()).into(),
        identities: [].into(),
        request_id: "request".into(),
    }
}

/// Returns a catalogue with Peru's rules in force.
pub fn peru() -> Arc<Catalogue> {
    let catalogue = Arc::new(Catalogue::default());
    let rules = LoadedRules::load(&SharedEngine, component("pe"), &Limits::default())
        .unwrap_or_else(|refusal| panic!("{refusal}"));
    catalogue.install(rules, SystemClock.now());
    catalogue
}

mod booking {
    use super::*;

    fn use_cases(tables: &Tables, faults: &Faults) -> Booking {
        let ledger = Arc::new(tables.ledger_over(faults));
        Booking::new(peru(), ledger, Arc::new(SystemClock), Arc::new(UuidIds), names(), "test")
    }

    async fn book(booking: &Booking) -> Result<uuid::Uuid, BookingError> {
        let view = booking.book(&ana(), pe(), requests::pe(7), Some("key")).await?;
        Ok(view.revision.appointment.id)
    }

    /// Books an appointment and cancels it.
    async fn story(booking: &Booking) -> Result<(), BookingError> {
        let id = book(booking).await?;
        let cancel = ActionRequest { id, action: "cancel", input: json!({}), slot: None, if_match: None, key: None };
        booking.act(&ana(), pe(), cancel).await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_passes_is_not_noticed() {
        let (quiet, listening) = (Tables::new().await, Faults::none());
        story(&use_cases(&quiet, &listening)).await.unwrap();
        join_all(table(&listening.heard()).into_iter().map(async |(step, fault)| {
            let tables = Tables::new().await;
            let told = story(&use_cases(&tables, &Faults::at(step, fault.clone()))).await;
            told.unwrap_or_else(|error| panic!("{fault:?} at {step}: {error}"));
            tables.assert_whole(1, 2, &format!("{fault:?} at {step}")).await;
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_does_not_pass_is_said_and_the_same_request_again_books_once() {
        let (quiet, listening) = (Tables::new().await, Faults::none());
        book(&use_cases(&quiet, &listening)).await.unwrap();
        join_all(table(&listening.heard()).into_iter().map(async |(step, fault)| {
            let why = format!("{fault:?} from {step}");
            let tables = Tables::new().await;
            let told = book(&use_cases(&tables, &Faults::from(step, fault.clone()))).await;
            assert!(matches!(told, Err(BookingError::Unavailable(_))), "{why}: {told:?}");
            let again = use_cases(&tables, &Faults::none());
            let first = book(&again).await.unwrap_or_else(|error| panic!("{why}: {error}"));
            assert_eq!(book(&again).await.unwrap(), first, "{why}");
            tables.assert_whole(1, 1, &why).await;
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stored_booking_whose_answer_was_lost_each_time_is_found() {
        let tables = Tables::new().await;
        let lost = Faults::when(|_, request| {
            let transaction = request.headers().get("x-amz-target").is_some_and(|name| name.contains("Transact"));
            transaction.then_some(Fault::Lost)
        });
        book(&use_cases(&tables, &lost)).await.unwrap();
        tables.assert_whole(1, 1, "lost").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_two_that_are_in_each_others_way_all_the_time_the_second_is_told_what_is_taken() {
        let tables = Tables::new().await;
        book(&use_cases(&tables, &Faults::none())).await.unwrap();
        let conflict = Faults::when(|_, request| {
            let transaction = request.headers().get("x-amz-target").is_some_and(|name| name.contains("Transact"));
            transaction.then(|| cancelled("TransactionConflict"))
        });
        let told = use_cases(&tables, &conflict).book(&ana(), pe(), requests::pe(7), None).await;
        assert!(matches!(told, Err(BookingError::SlotTaken { .. })), "{told:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_condition_behind_a_conflict_decides_nothing() {
        let tables = Tables::new().await;
        let reasons = json!([{ "Code": "TransactionConflict" }, { "Code": "ConditionalCheckFailed" }]);
        let body = json!({ "__type": "TransactionCanceledException", "message": "", "CancellationReasons": reasons });
        let (first, answer) = (AtomicBool::new(true), Fault::Answer(400, body.to_string()));
        let faults = Faults::when(move |_, request| {
            let transaction = request.headers().get("x-amz-target").is_some_and(|name| name.contains("Transact"));
            (transaction && first.swap(false, Ordering::Relaxed)).then(|| answer.clone())
        });
        book(&use_cases(&tables, &faults)).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn reads_that_fail_are_said() {
        join_all(passing().into_iter().skip(4).map(async |fault| {
            let tables = Tables::new().await;
            let booking = use_cases(&tables, &Faults::from(0, fault.clone()));
            let got = booking.get(&ana(), pe(), id(1)).await;
            assert!(matches!(got, Err(BookingError::Unavailable(_))), "{fault:?}: {got:?}");
            let listed =
                booking.list(&ana(), pe(), Spellings::default(), Query { limit: 10, ..Query::default() }).await;
            assert!(matches!(listed, Err(BookingError::Unavailable(_))), "{fault:?}");
        }))
        .await;
    }

    /// Reads an appointment, and a page of 20 out of 25. The read units must be those that `docs/operations.md` states.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_appointment_and_a_page_take_two_requests_each_and_few_read_units() {
        let tables = Tables::new().await;
        let listening = Faults::none();
        let booking = use_cases(&tables, &listening);
        // Staff have no limits.
        let staff = Caller { groups: ["pe:staff".to_owned()].into(), ..ana() };
        let ids = join_all((0..25).map(async |number| {
            let view = booking.book(&staff, pe(), requests::pe(number), None).await.unwrap();
            view.revision.appointment.id
        }))
        .await;
        let before = listening.heard().len();
        booking.get(&staff, pe(), ids[0]).await.unwrap();
        let all = Query { hospital: Some("00006219".into()), limit: 20, ..Query::default() };
        let page = booking.list(&staff, pe(), Spellings::default(), all).await.unwrap();
        assert!(page.1.is_some(), "there are more");
        let asked: Vec<String> = listening.heard().split_off(before);
        let expected = ["GetItem", "GetItem", "Query", "BatchGetItem"];
        assert_eq!(asked, expected.map(|operation| format!("DynamoDB_20120810.{operation} 200")));

        let largest = async |kind| tables.bytes_of(kind).await.into_iter().max().unwrap();
        let (open, personal) = (largest("appointment").await, largest("personal").await);
        let get = 2 * (half_units(open) + half_units(personal));
        // The page reads one item more to see if another page follows, and each personal part separately.
        let page = half_units(open * 21) + 20 * 2 * half_units(personal);
        assert!(get == 4 && page <= 48, "{open} and {personal} bytes: {get} and {page} half read units");
    }

    /// Searches a month of a doctor of whom 25 times are booked. The read units must be those that `docs/operations.md` states.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_month_of_a_doctors_slots_takes_one_query_beside_the_agenda() {
        let tables = Tables::new().await;
        let listening = Faults::none();
        let booking = use_cases(&tables, &listening);
        let staff = Caller { groups: ["pe:staff".to_owned()].into(), ..ana() };
        let search = || requests::pe_slots(MAX_DAYS);
        let free = booking.slots(&staff, pe(), search()).await.unwrap().slots;
        join_all(free.iter().step_by(10).take(25).enumerate().map(async |(number, free)| {
            let when = json!({ "date": free.slot.start.date(), "time": free.slot.start.strftime("%H:%M").to_string() });
            let request = with(&requests::pe(number), with(&when, json!({ "doctor": "45678" })));
            booking.book(&staff, pe(), request, None).await.unwrap();
        }))
        .await;
        let before = listening.heard().len();
        assert_eq!(booking.slots(&staff, pe(), search()).await.unwrap().slots.len(), free.len() - 25);
        let asked: Vec<String> = listening.heard().split_off(before);
        assert_eq!(asked, ["Query"; 2].map(|operation| format!("DynamoDB_20120810.{operation} 200")));

        // A booking of half an hour has two of the doctor's quarters.
        let largest = tables.bytes_of("claim").await.into_iter().max().unwrap();
        let booked_at_60_percent = 2 * free.len() * 6 / 10;
        // The query is strongly consistent.
        let units = half_units(largest * booked_at_60_percent);
        assert!(units <= 26, "{largest} bytes, {booked_at_60_percent} claims: {units} read units");
    }

    /// Returns DynamoDB's read units, in halves, of an eventually consistent read of `bytes` bytes: one half for each
    /// started 4 KB. A consistent read takes double. Reads of an index are always eventually consistent. The emulator
    /// reports a half or a whole unit, whatever the size.
    fn half_units(bytes: usize) -> usize {
        bytes.div_ceil(4096)
    }
}

mod relay {
    use super::*;

    /// A publisher that accepts all events except some, and records the batches.
    #[derive(Default)]
    struct Picky {
        refuses: HashSet<uuid::Uuid>,
        batches: Mutex<Vec<Vec<uuid::Uuid>>>,
    }

    #[async_trait]
    impl Publisher for Picky {
        async fn publish(&self, events: &[Event]) -> Vec<Result<(), NotPublished>> {
            self.batches.lock().unwrap().push(events.iter().map(|event| event.id).collect());
            let answer = |event: &Event| {
                if self.refuses.contains(&event.id) { Err(NotPublished("no".into())) } else { Ok(()) }
            };
            events.iter().map(answer).collect()
        }
    }

    /// Returns a stream of events about these appointments. Record ids and sequence numbers start at 0.
    fn stream_of(appointments: &[usize]) -> serde_json::Value {
        let record = |(number, appointment): (usize, &usize)| {
            let event = Event::new(id(100 + number), "booked", &booked(*appointment));
            json!({
                "eventID": number.to_string(), "eventName": "INSERT", "awsRegion": "us-east-1",
                "dynamodb": {
                    "SequenceNumber": number.to_string(), "SizeBytes": 1, "Keys": {}, "ApproximateCreationDateTime": 1.0,
                    "NewImage": { "kind": { "S": "event" }, "event": { "S": json!(event).to_string() } },
                },
            })
        };
        json!({ "Records": appointments.iter().enumerate().map(record).collect::<Vec<_>>() })
    }

    async fn relayed(publisher: &Picky, stream: serde_json::Value) -> Vec<String> {
        relayed_over(&Tables::new().await.ledger(), publisher, stream).await
    }

    async fn relayed_over(ledger: &DynamoLedger, publisher: &Picky, stream: serde_json::Value) -> Vec<String> {
        let stream: dynamodb::Event = serde_json::from_value(stream).unwrap();
        let answer = stream::relay(publisher, ledger, &stream).await;
        answer.batch_item_failures.into_iter().filter_map(|failure| failure.item_identifier).collect()
    }

    fn numbers(publisher: &Picky) -> Vec<Vec<usize>> {
        let number = |event: &uuid::Uuid| (0..100).find(|number| id(100 + number) == *event).unwrap();
        publisher.batches.lock().unwrap().iter().map(|batch| batch.iter().map(number).collect()).collect()
    }

    #[tokio::test]
    async fn batches_keep_the_order_and_no_appointment_is_twice_in_one() {
        let publisher = Picky::default();
        assert!(relayed(&publisher, stream_of(&[1, 2, 1, 3, 3])).await.is_empty());
        assert_eq!(numbers(&publisher), [vec![0, 1], vec![2, 3], vec![4]]);
        let many = Picky::default();
        relayed(&many, stream_of(&(0..23).collect::<Vec<_>>())).await;
        assert_eq!(numbers(&many).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3]);
    }

    #[tokio::test]
    async fn it_resumes_at_the_first_event_that_was_not_taken() {
        for (refused, batches) in [(0, 1), (2, 2), (4, 3)] {
            let publisher = Picky { refuses: [id(100 + refused)].into(), ..Picky::default() };
            let failed = relayed(&publisher, stream_of(&[1, 2, 1, 3, 3])).await;
            assert_eq!(failed, [refused.to_string()]);
            assert_eq!(numbers(&publisher).len(), batches, "nothing after it is published");
        }
    }

    #[tokio::test]
    async fn what_is_no_event_is_given_back_and_what_stands_before_it_is_published() {
        let mut stream = stream_of(&[1, 2, 3]);
        stream["Records"][1]["dynamodb"]["NewImage"] = json!({ "kind": { "S": "event" } });
        let publisher = Picky::default();
        assert_eq!(relayed(&publisher, stream).await, ["1"]);
        assert_eq!(numbers(&publisher), [vec![0]]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_revision_that_cannot_be_numbered_holds_up_what_is_behind_it_alone() {
        let tables = Tables::new().await;
        let mut stream = stream_of(&[1, 2, 3]);
        let image = &mut stream["Records"][1]["dynamodb"]["NewImage"];
        *image = json!({
            "pk": { "S": format!("A#{}", id(1)) }, "sk": { "S": "R#0000000001" }, "kind": { "S": "revision" },
            "country": { "S": "pe" }, "person": { "S": id(9) }, "order": { "L": [] },
        });
        let (publisher, broken) = (Picky::default(), tables.ledger_over(&Faults::from(0, Fault::Cut)));
        assert_eq!(relayed_over(&broken, &publisher, stream.clone()).await, ["1"]);
        assert_eq!(numbers(&publisher), [vec![0]]);
        assert!(relayed_over(&tables.ledger(), &publisher, stream).await.is_empty(), "a revision that is gone is none");
    }
}

mod notification {
    use super::*;

    #[derive(Default)]
    struct Sent(Mutex<Vec<String>>);

    #[async_trait]
    impl Mailer for Sent {
        async fn send(&self, mail: &Mail) -> Result<(), MailError> {
            self.0.lock().unwrap().push(mail.id.clone());
            Ok(())
        }
    }

    fn message(event: &Event) -> sqs::SqsEvent {
        serde_json::from_value(json!({ "Records": [{ "messageId": "m", "body": json!(event).to_string() }] })).unwrap()
    }

    fn notifier(tables: &Tables, faults: &Faults, sent: &Arc<Sent>) -> Notifier {
        Notifier::new(
            peru(),
            Arc::new(tables.ledger_over(faults)),
            sent.clone(),
            Sender { from: "citas@example.org".parse().unwrap(), reply_to: None },
            Arc::new(SystemClock),
        )
    }

    /// Returns an on-demand loader whose rules are loaded already.
    fn rules() -> OnDemand {
        let folder = Arc::new(citas::local::registry::FolderRegistry::new(std::path::Path::new("nowhere")));
        let swapper = Arc::new(Swapper::new(admission(), peru(), Arc::new(SystemClock)));
        OnDemand::new(folder.clone(), Following::new(folder, swapper, None), Duration::from_hours(1))
    }

    fn later() -> Timestamp {
        SystemClock.now() + Duration::from_mins(1)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_message_is_begun_without_the_time_to_end_it() {
        let (tables, sent) = (Tables::new().await, Arc::new(Sent::default()));
        let event = event(&tables).await;
        let (notifier, soon) = (notifier(&tables, &Faults::none(), &sent), SystemClock.now() + Duration::from_secs(5));
        let failed = queue::notify(&rules(), &notifier, &message(&event), &SystemClock, soon).await;
        assert_eq!(failed.batch_item_failures.len(), 1);
        assert!(sent.0.lock().unwrap().is_empty());
    }

    async fn event(tables: &Tables) -> Event {
        let booking = Booking::new(
            peru(),
            Arc::new(tables.ledger_over(&Faults::none())),
            Arc::new(SystemClock),
            Arc::new(UuidIds),
            names(),
            "t",
        );
        booking.book(&ana(), pe(), requests::pe(7), None).await.unwrap();
        tables.events().await.remove(0)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_message_is_done_with_or_given_again_and_no_mail_is_lost() {
        let (quiet, listening) = (Tables::new().await, Faults::none());
        let told = event(&quiet).await;
        let notified = notifier(&quiet, &listening, &Arc::default());
        queue::notify(&rules(), &notified, &message(&told), &SystemClock, later()).await;
        let heard = listening.heard();
        let last = heard.len() - 1;
        assert!(heard[last].contains("PutItem"), "the last request marks it as sent: {heard:?}");
        let dies = |(_, fault): &(usize, Fault)| !matches!(fault, Fault::Answer(..));
        join_all(table(&heard).into_iter().filter(dies).map(async |(step, fault)| {
            for (faults, passes) in
                [(Faults::at(step, fault.clone()), true), (Faults::from(step, fault.clone()), false)]
            {
                let (tables, sent) = (Tables::new().await, Arc::new(Sent::default()));
                let (event, rules) = (event(&tables).await, rules());
                let why = format!("{fault:?} at {step}, passing: {passes}");
                let given = notifier(&tables, &faults, &sent);
                let failed =
                    queue::notify(&rules, &given, &message(&event), &SystemClock, later()).await.batch_item_failures;
                assert_eq!(failed.is_empty(), passes, "{why}");
                // Another instance receives the message again.
                let again = notifier(&tables, &Faults::none(), &sent);
                let failed =
                    queue::notify(&rules, &again, &message(&event), &SystemClock, later()).await.batch_item_failures;
                assert!(failed.is_empty(), "{why}");
                let mails = sent.0.lock().unwrap().clone();
                let repeated = step == last && !passes && !matches!(fault, Fault::Lost);
                assert_eq!(mails.len(), if repeated { 2 } else { 1 }, "{why}: {mails:?}");
                assert!(mails.iter().all(|mail| mail.contains(&event.id.to_string())), "{mails:?}");
            }
        }))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_message_that_is_no_event_is_given_back_alone() {
        let (tables, sent) = (Tables::new().await, Arc::new(Sent::default()));
        let event = event(&tables).await;
        let mut messages = message(&event);
        let mut bad = messages.records[0].clone();
        (bad.message_id, bad.body) = (Some("bad".into()), Some("{}".into()));
        messages.records.insert(0, bad);
        let failed =
            queue::notify(&rules(), &notifier(&tables, &Faults::none(), &sent), &messages, &SystemClock, later()).await;
        let failed: Vec<_> = failed.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
        assert_eq!(failed, ["bad"]);
        assert_eq!(sent.0.lock().unwrap().len(), 1);
    }
}

mod refresh {
    use super::*;

    /// A bucket with Peru 3.0.0 published, compiled and in use.
    struct Bucket(String);

    impl Bucket {
        async fn new() -> Self {
            let name = unique("rules");
            let client = aws_sdk_s3::Client::new(&aws().load().await);
            client.create_bucket().bucket(&name).send().await.unwrap();
            let (bucket, mut peru) = (Self(name), with_cases(artifact(pe(), "3.0.0", component("pe")), "[]"));
            peru.manifest.limits = Limits::default();
            let registry = bucket.registry(&Faults::none()).await;
            registry.publish(&peru).await.unwrap();
            registry.set_channel(pe(), None, &channel("3.0.0", None, 1)).await.unwrap();
            let judge = judge().portable();
            precompile(&registry, &registry, &judge, &SystemClock, None, (pe(), &version("3.0.0"))).await.unwrap();
            bucket
        }

        async fn registry(&self, faults: &Faults) -> S3Registry {
            S3Registry::new(&aws_sdk_s3::Client::new(&faults.over(&aws().load().await)), &self.0, "")
        }

        async fn followed(&self, faults: &Faults, interval: Duration) -> (OnDemand, Arc<Catalogue>) {
            let registry = Arc::new(self.registry(faults).await);
            let (catalogue, engine) = (Arc::new(Catalogue::default()), WasmEngine::new().unwrap());
            let swapper =
                Arc::new(Swapper::new(Arc::new(InProcess::new(engine)), catalogue.clone(), Arc::new(SystemClock)));
            let following = Following::new(registry.clone(), swapper, Some(registry.clone()));
            (OnDemand::new(registry, following, interval), catalogue)
        }
    }

    fn in_force(catalogue: &Catalogue) -> Option<String> {
        catalogue.rules(pe()).map(|rules| rules.id.version.clone())
    }

    /// Number of requests of a load: the channel and the native code.
    const STEPS: usize = 2;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_country_is_loaded_when_it_is_first_asked_for_whatever_passes() {
        let bucket = &Bucket::new().await;
        let listening = Faults::none();
        let (rules, catalogue) = bucket.followed(&listening, Duration::from_hours(1)).await;
        rules.ask(pe()).await.finish().await;
        rules.ask(pe()).await.finish().await;
        assert_eq!((in_force(&catalogue).as_deref(), listening.heard().len()), (Some("3.0.0"), STEPS));
        join_all(table(&listening.heard()).into_iter().filter(|(_, fault)| !matches!(fault, Fault::No(400, _))).map(
            async |(step, fault)| {
                let (rules, catalogue) =
                    bucket.followed(&Faults::at(step, fault.clone()), Duration::from_hours(1)).await;
                rules.ask(pe()).await.finish().await;
                assert_eq!(in_force(&catalogue).as_deref(), Some("3.0.0"), "{fault:?} at {step}");
            },
        ))
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_refresh_costs_one_conditional_request_and_a_failing_registry_changes_nothing() {
        let bucket = Bucket::new().await;
        let faults = Faults::when(|asked, _| (asked > STEPS).then_some(Fault::Cut));
        let (rules, catalogue) = bucket.followed(&faults, Duration::ZERO).await;
        rules.ask(pe()).await.finish().await;
        rules.ask(pe()).await.finish().await;
        let unchanged = format!("GET /{}/pe/channel.json 304", bucket.0);
        assert!(until(|| faults.heard().last() == Some(&unchanged)).await, "{:?}", faults.heard());
        rules.ask(pe()).await.finish().await;
        let cut = |heard: &str| heard.ends_with('-');
        assert!(until(|| faults.heard().iter().filter(|heard| cut(heard)).count() >= 3).await, "{:?}", faults.heard());
        assert_eq!(in_force(&catalogue).as_deref(), Some("3.0.0"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_version_that_is_not_compiled_yet_waits_and_the_one_before_stays() {
        let bucket = Bucket::new().await;
        let registry = bucket.registry(&Faults::none()).await;
        let (rules, catalogue) = bucket.followed(&Faults::none(), Duration::ZERO).await;
        rules.ask(pe()).await.finish().await;
        let next = artifact(pe(), "3.0.1", b"to be compiled");
        registry.publish(&next).await.unwrap();
        let first = channel("3.0.0", None, 1);
        registry.set_channel(pe(), Some(&first), &channel("3.0.1", Some("3.0.0"), 2)).await.unwrap();
        rules.ask(pe()).await.finish().await;
        let refused = || {
            catalogue
                .entry(pe())
                .and_then(|entry| entry.refused)
                .is_some_and(|refused| refused.why.contains("not compiled yet"))
        };
        assert!(until(refused).await);
        assert_eq!(in_force(&catalogue).as_deref(), Some("3.0.0"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_country_that_is_not_there_is_unknown_and_looked_for_once_an_interval() {
        let (bucket, listening) = (Bucket::new().await, Faults::none());
        let (rules, catalogue) = bucket.followed(&listening, Duration::from_hours(1)).await;
        let bolivia = "bo".parse().unwrap();
        rules.ask(bolivia).await.finish().await;
        rules.ask(bolivia).await.finish().await;
        assert!(catalogue.entry(bolivia).is_none());
        assert_eq!(listening.heard().len(), 1);
        rules.ask_all().await.finish().await;
        assert_eq!(in_force(&catalogue).as_deref(), Some("3.0.0"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_host_that_starts_while_the_version_in_use_is_not_compiled_takes_the_one_before() {
        let bucket = Bucket::new().await;
        let registry = bucket.registry(&Faults::none()).await;
        registry.publish(&artifact(pe(), "3.0.1", b"to be compiled")).await.unwrap();
        assert_eq!(registry.readiness(pe(), &version("3.0.0")).await.unwrap(), Readiness::Ready);
        assert_eq!(registry.readiness(pe(), &version("3.0.1")).await.unwrap(), Readiness::NotCompiled);
        let first = channel("3.0.0", None, 1);
        registry.set_channel(pe(), Some(&first), &channel("3.0.1", Some("3.0.0"), 2)).await.unwrap();
        let (rules, catalogue) = bucket.followed(&Faults::none(), Duration::from_hours(1)).await;
        rules.ask(pe()).await.finish().await;
        assert_eq!(in_force(&catalogue).as_deref(), Some("3.0.0"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_precompile_refuses_is_recorded_reported_and_not_judged_again() {
        let bucket = Bucket::new().await;
        let registry = bucket.registry(&Faults::none()).await;
        let next = version("3.0.1");
        registry.publish(&artifact(pe(), "3.0.1", b"no component")).await.unwrap();
        let refused = async |judge: ChildJudge| {
            let refused = precompile(&registry, &registry, &judge.portable(), &SystemClock, None, (pe(), &next)).await;
            refused.unwrap_err().to_string()
        };
        // A version that cannot be judged leaves no record.
        let nowhere = || ChildJudge::new(Path::new("/nowhere/citas"));
        assert!(refused(nowhere()).await.contains("could not be judged"));
        assert_eq!(registry.readiness(pe(), &next).await.unwrap(), Readiness::NotCompiled);
        let why = refused(judge()).await;
        assert!(why.contains("no WebAssembly component"), "{why}");
        assert_eq!(registry.readiness(pe(), &next).await.unwrap(), Readiness::Refused(why.clone()));
        assert_eq!(refused(nowhere()).await, why, "it is not judged again");

        let first = channel("3.0.0", None, 1);
        registry.set_channel(pe(), Some(&first), &channel("3.0.1", Some("3.0.0"), 2)).await.unwrap();
        let (rules, catalogue) = bucket.followed(&Faults::none(), Duration::from_hours(1)).await;
        rules.ask(pe()).await.finish().await;
        let told = catalogue.entry(pe()).unwrap();
        assert_eq!(told.rules.unwrap().id.version, "3.0.0");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_version_that_cannot_be_read_keeps_no_other_one_of_an_upload_from_being_compiled() {
        let bucket = Bucket::new().await;
        let registry = bucket.registry(&Faults::none()).await;
        let mut chile = with_cases(artifact(cl(), "3.0.0", component("cl")), "[]");
        chile.manifest.limits = Limits::default();
        registry.publish(&chile).await.unwrap();
        registry.publish(&artifact(pe(), "3.0.1", b"component")).await.unwrap();
        let client = aws_sdk_s3::Client::new(&aws().load().await);
        let broken = client.put_object().bucket(&bucket.0).key("pe/versions/3.0.1/manifest.json");
        broken.body(b"{".to_vec().into()).send().await.unwrap();
        let uploads = [(pe(), version("3.0.1")), (cl(), version("3.0.0"))];
        let compiled = compile_all(&registry, &judge().portable(), None, &uploads).await;
        assert_eq!(registry.readiness(cl(), &version("3.0.0")).await.unwrap(), Readiness::Ready);
        let unread = compiled.expect_err("S3 gives the upload again").to_string();
        assert!(unread.contains("`pe/versions/3.0.1/manifest.json`"), "{unread}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_refusal_concerns_no_other_country_with_the_same_component() {
        let bucket = Bucket::new().await;
        let registry = bucket.registry(&Faults::none()).await;
        let (bolivia, next) = ("bo".parse().unwrap(), version("3.0.1"));
        for country in [pe(), bolivia] {
            registry.publish(&artifact(country, "3.0.1", b"no component")).await.unwrap();
        }
        let why = async |judge: ChildJudge, country| {
            let done = precompile(&registry, &registry, &judge.portable(), &SystemClock, None, (country, &next)).await;
            done.unwrap_err().to_string()
        };
        let refused = why(judge(), bolivia).await;
        assert_eq!(registry.readiness(bolivia, &next).await.unwrap(), Readiness::Refused(refused));
        assert_eq!(registry.readiness(pe(), &next).await.unwrap(), Readiness::NotCompiled);
        let unjudged = why(ChildJudge::new(Path::new("/nowhere/citas")), pe()).await;
        assert!(unjudged.contains("could not be judged"), "{unjudged}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_first_look_that_fails_is_tried_again_soon() {
        let bucket = Bucket::new().await;
        let faults = Faults::when(|asked, _| (asked < 5).then_some(Fault::Cut));
        let (rules, catalogue) = bucket.followed(&faults, Duration::from_hours(1)).await;
        rules.ask(pe()).await.finish().await;
        assert_eq!(in_force(&catalogue), None);
        for _ in 0..200 {
            rules.ask(pe()).await.finish().await;
            if in_force(&catalogue).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never was");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_long_sleep_a_request_waits_for_its_look() {
        let bucket = Bucket::new().await;
        let (rules, catalogue) = bucket.followed(&Faults::none(), Duration::from_millis(1)).await;
        rules.ask(pe()).await.finish().await;
        let registry = bucket.registry(&Faults::none()).await;
        let second = artifact(pe(), "3.0.1", component("pe"));
        registry.publish(&second).await.unwrap();
        let first = channel("3.0.0", None, 1);
        registry.set_channel(pe(), Some(&first), &channel("3.0.1", Some("3.0.0"), 2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        rules.ask(pe()).await.finish().await;
        let refused = catalogue.entry(pe()).unwrap().refused.expect("its component says that it is 3.0.0");
        assert!(refused.why.contains("3.0.0"), "{refused:?}");
    }

    async fn until(holds: impl Fn() -> bool) -> bool {
        let waited = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok()
    }
}
