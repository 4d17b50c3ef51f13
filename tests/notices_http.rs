//! From a booking over HTTP to the mail that tells of it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citas::local::smtp::SmtpMailer;
use serde_json::json;

use crate::support::eventually::eventually;
use crate::support::host::Host;
use crate::support::mail::Letter;
use crate::support::requests::{cl, day, pe};

#[test]
fn a_life_of_an_appointment_in_peru_is_told_in_three_mails() {
    let host = Host::of(&["pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("pe", &pe(7));
    let place = format!("/v1/pe/appointments/{}", booked["id"].as_str().unwrap());
    ana.post(&format!("{place}/reschedule"), &json!({ "date": day("pe", 1), "time": "16:15" })).expect(200);
    ana.post(&format!("{place}/cancel"), &json!({})).expect(200);

    let mut letters = host.spool().wait_for(3);
    letters.sort_by_key(|letter| letter.property("SEQUENCE").parse::<u32>().unwrap());
    let told = |start: &str| letters.iter().position(|letter| letter.subject.starts_with(start));
    assert_eq!(told("Su cita médica está reservada: "), Some(0));
    assert_eq!(told("Su cita médica fue reprogramada: "), Some(1));
    assert_eq!(told("Su cita médica fue cancelada: "), Some(2));
    for (number, letter) in letters.iter().enumerate() {
        assert_eq!(letter.to, "patient7@example.com");
        assert!(letter.text.contains("CMP 10007") && letter.html.contains("CMP 10007"), "{letter:?}");
        assert!(letter.text.contains("Miraflores") && letter.text.contains(booked["id"].as_str().unwrap()));
        assert_eq!(letter.property("UID"), booked["id"].as_str().unwrap());
        assert_eq!(letter.property("SEQUENCE"), number.to_string());
        assert_eq!(letter.attachment, letter.calendar);
        assert_eq!(letter.property("METHOD"), letter.method);
    }
    let column = |name| letters.iter().map(|letter| letter.property(name)).collect::<Vec<_>>();
    assert_eq!(column("METHOD"), ["REQUEST", "REQUEST", "CANCEL"]);
    assert_eq!(column("STATUS"), ["CONFIRMED", "CONFIRMED", "CANCELLED"]);
    let utc = |date: &str, time: &str| format!("{}T{time}00Z", date.replace('-', ""));
    let (first, second) = (day("pe", 0), day("pe", 1));
    assert_eq!(column("DTSTART"), [utc(&first, "1430"), utc(&second, "2115"), utc(&second, "2115")]);
    assert_eq!(column("DTEND"), [utc(&first, "1500"), utc(&second, "2145"), utc(&second, "2145")]);
}

#[test]
fn chile_tells_nobody() {
    let host = Host::of(&["cl", "pe"]);
    let ana = host.patient("ana");
    let booked = ana.booked("cl", &cl(1));
    let place = format!("/v1/cl/appointments/{}", booked["id"].as_str().unwrap());
    ana.post(&format!("{place}/cancel"), &json!({ "reason": "patient" })).expect(200);
    // What is told of Peru's comes after what would be told of Chile's.
    ana.booked("pe", &pe(1));
    let letters = host.spool().wait_for(1);
    assert_eq!(letters[0].to, "patient1@example.com");
    assert!(letters[0].subject.starts_with("Su cita médica"));
}

/// A mail server that first turns everybody away, and later takes what comes.
struct MailServer {
    address: SocketAddr,
    up: Arc<AtomicBool>,
    turned_away: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<Letter>>>,
}

impl MailServer {
    fn down() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            up: Arc::default(),
            turned_away: Arc::default(),
            taken: Arc::default(),
        };
        let (up, turned_away, taken) = (server.up.clone(), server.turned_away.clone(), server.taken.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if up.load(Ordering::SeqCst) {
                    taken.lock().unwrap().extend(take_mail(&stream));
                } else {
                    // Whoever has gone already is turned away too.
                    let _ = stream.write_all(b"421 closed for now\r\n");
                    turned_away.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        server
    }
}

/// One conversation, and the mails that came of it.
fn take_mail(mut stream: &TcpStream) -> Vec<Letter> {
    let (mut letters, mut message) = (Vec::new(), None::<String>);
    let reader = BufReader::new(stream);
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    say("220 test ESMTP");
    for line in reader.lines().map_while(Result::ok) {
        if let Some(text) = &mut message {
            if line == "." {
                letters.push(Letter::read(text.as_bytes()));
                message = None;
                say("250 taken");
            } else {
                text.push_str(line.strip_prefix('.').unwrap_or(&line));
                text.push_str("\r\n");
            }
            continue;
        }
        match line.to_ascii_uppercase().as_str() {
            "DATA" => {
                message = Some(String::new());
                say("354 go on");
            }
            "QUIT" => {
                say("221 bye");
                break;
            }
            _ => say("250 fine"),
        }
    }
    letters
}

#[test]
fn mail_that_the_server_does_not_take_goes_out_once_when_it_does() {
    let server = MailServer::down();
    let host = Host::set_up(&["pe"], |options| {
        options.smtp = Some(SmtpMailer::new(&format!("smtp://{}", server.address)).unwrap());
    });
    let ana = host.patient("ana");
    let booked = [1, 2].map(|number| ana.booked("pe", &pe(number)));
    let cancel = format!("/v1/pe/appointments/{}/cancel", booked[0]["id"].as_str().unwrap());
    ana.post(&cancel, &json!({})).expect(200);
    let long = Duration::from_secs(20);
    eventually("mail is turned away", long, || (server.turned_away.load(Ordering::SeqCst) >= 2).then_some(()));

    server.up.store(true, Ordering::SeqCst);
    let taken = eventually("three mails", long, || {
        let taken = server.taken.lock().unwrap();
        (taken.len() >= 3).then(|| taken.clone())
    });
    let of_first: Vec<_> = taken.iter().filter(|letter| letter.to == "patient1@example.com").collect();
    assert_eq!(of_first.iter().map(|letter| letter.property("SEQUENCE")).collect::<Vec<_>>(), ["0", "1"]);

    // The next one's mail comes behind any repeat of those.
    ana.booked("pe", &pe(3));
    let taken = eventually("the next one's mail", long, || {
        let taken = server.taken.lock().unwrap();
        taken.iter().any(|letter| letter.to == "patient3@example.com").then(|| taken.clone())
    });
    assert_eq!(taken.len(), 4, "{taken:?}");
}
