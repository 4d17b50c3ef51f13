//! The platform as time passes, and as an operator sets its clock.

use std::path::Path;
use std::time::Duration;

use citas_core::ports::Clock as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::mail::MailServer;
use crate::support::requests::pe;

const HOUR: Duration = Duration::from_hours(1);

/// Maximum time until the relay has run, on a machine that other tests share.
const WITHIN: Duration = Duration::from_secs(30);

fn with_mail_to(server: &MailServer, data: &Path) -> Host {
    Host::set_up_in(&["pe"], data, |options| options.smtp = Some(server.url()))
}

/// Waits until the server has turned away `more` further mails.
fn turned_away_more(server: &MailServer, more: usize) {
    let until = server.turned_away() + more;
    eventually("mail is turned away", WITHIN, || (server.turned_away() >= until).then_some(()));
}

#[test]
fn an_idempotency_key_is_free_again_after_a_day() {
    let host = Host::of(&["pe"]);
    let book = |number| host.patient("ana").request("POST", "/v1/pe/appointments").key("k").json(&pe(number)).send();
    book(1).expect(201);
    host.clock.advance(HOUR * 23);
    book(2).expect_problem(422, "key-reused");
    host.clock.advance(HOUR * 2);
    book(2).expect(201);
}

#[test]
fn an_appointment_is_cancelled_until_two_hours_before_it_and_no_later() {
    let host = Host::of(&["pe"]);
    let cancel = |appointment: &serde_json::Value| {
        let place = format!("/v1/pe/appointments/{}/cancel", appointment["id"].as_str().unwrap());
        host.patient("ana").post(&place, &json!({}))
    };
    let [first, second] = [1, 2].map(|number| host.patient("ana").booked("pe", &pe(number)));
    let start: Timestamp = first["startsAt"].as_str().unwrap().parse().unwrap();
    let until = |hours| {
        let then = start - SignedDuration::from_hours(hours);
        Duration::try_from(then.duration_since(host.clock.now())).unwrap()
    };
    host.clock.advance(until(3));
    cancel(&first).expect(200);
    host.clock.advance(until(1));
    assert_eq!(cancel(&second).expect(422).violations()[0].1, "pe.cancel.too-late");
}

#[test]
fn a_token_is_good_for_twelve_hours_also_where_it_was_seen_before() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    ana.get("/v1/pe/appointments").expect(200);
    host.clock.advance(HOUR * 11);
    ana.get("/v1/pe/appointments").expect(200);
    host.clock.advance(HOUR * 2);
    let problem = ana.get("/v1/pe/appointments").expect_problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
    host.patient("ana").get("/v1/pe/appointments").expect(200);
}

#[test]
fn mail_is_given_up_after_five_days_of_trying_that_restarts_do_not_cut_short() {
    let (server, data) = (MailServer::down(), tempfile::tempdir().unwrap());
    {
        let host = with_mail_to(&server, data.path());
        host.patient("ana").booked("pe", &pe(1));
        turned_away_more(&server, 2);
    }
    let file = || rusqlite::Connection::open(data.path().join("pe.db")).unwrap();
    let attempts: u32 = file().query_row("SELECT attempts FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(attempts >= 1, "they are kept over the restart");
    // Half an hour less than five days of attempts.
    file().execute("UPDATE outbox SET attempts = 7000, tried_for = (5 * 24 * 60 - 30) * 60000", []).unwrap();

    let host = with_mail_to(&server, data.path());
    let left = || file().query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, u32>(0)).unwrap();
    turned_away_more(&server, 1);
    assert_eq!(left(), 1);
    host.clock.advance(HOUR);
    eventually("it is given up", WITHIN, || (left() == 0).then_some(()));
    drop(host);
}

#[test]
fn a_clock_six_days_ahead_gives_up_no_mail() {
    let (server, data) = (MailServer::down(), tempfile::tempdir().unwrap());
    let host = with_mail_to(&server, data.path());
    let ana = host.patient("ana");
    for number in 1..=5 {
        ana.booked("pe", &pe(number));
    }
    turned_away_more(&server, 5);
    host.clock.shift_wall(SignedDuration::from_hours(6 * 24));
    turned_away_more(&server, 10);
    host.clock.shift_wall(SignedDuration::from_hours(-6 * 24));
    server.come_up();
    eventually("all five mails", WITHIN, || (server.taken().len() >= 5).then_some(()));
}

#[test]
fn a_clock_a_day_back_delays_no_mail() {
    let (server, data) = (MailServer::down(), tempfile::tempdir().unwrap());
    let host = with_mail_to(&server, data.path());
    let ana = host.patient("ana");
    ana.booked("pe", &pe(1));
    turned_away_more(&server, 1);
    host.clock.shift_wall(SignedDuration::from_hours(-24));
    server.come_up();
    ana.booked("pe", &pe(2));
    eventually("both mails", WITHIN, || (server.taken().len() >= 2).then_some(()));
}
