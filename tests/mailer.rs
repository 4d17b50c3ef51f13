//! Mail into a folder, and to a small SMTP server with scripted answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use citas::local::smtp::SmtpMailer;
use citas::local::spool::SpoolMailer;
use citas_core::ports::{Mail, MailError, Mailer};

fn mail(id: &str, body: &str) -> Mail {
    let message = format!(
        "From: citas@example.com\r\nTo: ana@example.com\r\nMessage-ID: <{id}@citas>\r\nSubject: Cita\r\n\r\n{body}\r\n"
    );
    Mail {
        id: id.into(),
        from: "citas@example.com".into(),
        to: "ana@example.com".into(),
        message: message.into_bytes(),
    }
}

mod spool {
    use super::*;

    #[tokio::test]
    async fn a_mail_is_a_file_of_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("mail");
        let mail = mail("0193.booked", "mañana");
        SpoolMailer::open(&spool).unwrap().send(&mail).await.unwrap();
        assert_eq!(std::fs::read(spool.join("0193.booked.eml")).unwrap(), mail.message);
    }

    #[tokio::test]
    async fn a_repeat_leaves_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mailer = SpoolMailer::open(folder.path()).unwrap();
        mailer.send(&mail("a", "first")).await.unwrap();
        mailer.send(&mail("a", "again")).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(folder.path().join("a.eml")).unwrap(), mail("a", "again").message);
    }

    #[tokio::test]
    async fn an_id_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("mail");
        SpoolMailer::open(&spool).unwrap().send(&mail("../.hidden/x", "")).await.unwrap();
        assert!(spool.join("%2E.%2F.hidden%2Fx.eml").is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_a_passing_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("mail");
        let mailer = SpoolMailer::open(&spool).unwrap();
        std::fs::remove_dir(&spool).unwrap();
        let result = mailer.send(&mail("a", "")).await;
        assert!(matches!(result, Err(MailError::Unavailable(_))), "{result:?}");
    }
}

mod smtp {
    use super::*;

    /// Starts a server that answers each command with its reply in `replies`, or with 250. The handle returns the lines
    /// of the first connection.
    fn server(replies: &'static [(&'static str, &'static str)]) -> (SocketAddr, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let heard = converse(&stream, replies);
            // A later connection, which checks whether the server answers at all, is greeted too.
            std::thread::spawn(move || listener.incoming().flatten().for_each(|next| drop(converse(&next, replies))));
            heard
        });
        (address, serving)
    }

    fn converse(mut stream: &TcpStream, replies: &[(&str, &str)]) -> Vec<String> {
        let (mut heard, mut in_message) = (Vec::new(), false);
        stream.write_all(b"220 test ESMTP\r\n").unwrap();
        // A client that disconnects ends the conversation.
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let (silent, command) = (in_message && line != ".", line.to_ascii_uppercase());
            heard.push(line);
            if silent {
                continue;
            }
            in_message = command == "DATA";
            let scripted = replies.iter().find(|(start, _)| command.starts_with(start)).map(|(_, reply)| *reply);
            let usual = match command.as_str() {
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            if stream.write_all(format!("{}\r\n", scripted.unwrap_or(usual)).as_bytes()).is_err() {
                break;
            }
        }
        heard
    }

    async fn send_to(address: SocketAddr, mail: &Mail) -> Result<(), MailError> {
        SmtpMailer::new(&format!("smtp://{address}")).unwrap().send(mail).await
    }

    #[tokio::test]
    async fn a_mail_goes_out_as_it_is() {
        let (address, serving) = server(&[]);
        send_to(address, &mail("a", "first line\r\n.dot\r\nlast")).await.unwrap();
        let heard = serving.join().unwrap();
        assert!(heard.contains(&"MAIL FROM:<citas@example.com>".to_owned()), "{heard:?}");
        assert!(heard.contains(&"RCPT TO:<ana@example.com>".to_owned()), "{heard:?}");
        assert!(heard.contains(&"Message-ID: <a@citas>".to_owned()), "{heard:?}");
        assert!(heard.contains(&"..dot".to_owned()), "a leading dot is doubled on the way: {heard:?}");
    }

    #[tokio::test]
    async fn an_unknown_recipient_is_refused_for_good_without_the_address_that_the_server_repeats() {
        let (address, _serving) = server(&[("RCPT", "550 5.1.1 <ana@example.com>: no such user")]);
        let result = send_to(address, &mail("a", "")).await;
        let Err(MailError::Refused(cause)) = result else { panic!("{result:?}") };
        assert!(cause.contains("550") && !cause.contains("ana@"), "{cause}");
    }

    #[tokio::test]
    async fn a_message_that_is_refused_is_refused_for_good() {
        let (address, _serving) = server(&[(".", "554 5.7.1 not that")]);
        let result = send_to(address, &mail("a", "")).await;
        assert!(matches!(result, Err(MailError::Refused(_))), "{result:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_busy_is_a_passing_trouble() {
        let (address, _serving) = server(&[("RCPT", "451 4.7.1 greylisted, come back later")]);
        let result = send_to(address, &mail("a", "")).await;
        assert!(matches!(result, Err(MailError::Unavailable(_))), "{result:?}");
    }

    #[tokio::test]
    async fn a_server_that_wants_to_know_us_is_a_passing_trouble() {
        let (address, _serving) = server(&[("MAIL", "530 5.7.0 authentication required")]);
        let result = send_to(address, &mail("a", "")).await;
        assert!(matches!(result, Err(MailError::Unavailable(_))), "{result:?}");
    }

    #[tokio::test]
    async fn no_server_is_a_passing_trouble() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let result = send_to(address, &mail("a", "")).await;
        assert!(matches!(result, Err(MailError::Unavailable(_))), "{result:?}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_before_anything_is_sent() {
        let (address, serving) = server(&[]);
        let nowhere = Mail { to: "not an address".into(), ..mail("a", "") };
        let result = send_to(address, &nowhere).await;
        assert!(matches!(result, Err(MailError::Refused(_))), "{result:?}");
        assert!(!serving.is_finished(), "nobody has called");
    }

    #[test]
    fn a_url_of_another_kind_is_told_what_is_right() {
        let told = SmtpMailer::new("http://mail.example.com").err().unwrap().to_string();
        assert!(told.starts_with("an SMTP server is given as smtp://"), "{told}");
    }
}
