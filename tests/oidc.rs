//! `citas serve --issuer`: tokens of an external issuer, found by discovery, and tokens that the host refuses.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::process::{Process, publish, run};
use crate::support::requests::pe;

/// An issuer with one key.
struct Issuer {
    url: String,
    key: EncodingKey,
    public_pem: String,
}

impl Issuer {
    fn start() -> Self {
        let secret = p256::SecretKey::random(&mut p256::elliptic_curve::rand_core::OsRng);
        let public_pem = secret.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let key = EncodingKey::from_ec_pem(secret.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k-1".into());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let keys = json!({ "keys": [jwk] });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &discovery, &keys);
            }
        });
        Self { url, key, public_pem }
    }

    /// Returns the claims of a valid token.
    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": "citas", "sub": "ana", "exp": Timestamp::now().as_second() + 600,
            "scope": "appointments/read appointments/write", "token_use": "access",
        })
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&header(Algorithm::ES256, "k-1"), claims, &self.key).unwrap()
    }
}

fn header(algorithm: Algorithm, key: &str) -> Header {
    let mut header = Header::new(algorithm);
    header.kid = Some(key.into());
    header
}

/// Answers one HTTP/1.1 request.
fn answer(mut stream: &TcpStream, discovery: &Value, keys: &Value) {
    let lines: Vec<_> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let body = match path {
        "/.well-known/openid-configuration" => discovery.to_string(),
        "/keys" => keys.to_string(),
        _ => String::new(),
    };
    let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
    let length = body.len();
    // A client that has disconnected does not need the answer.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

#[test]
fn the_issuers_tokens_are_taken_and_everything_else_is_refused() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["pe"]);
    let issuer = Issuer::start();
    let folder = data.path().to_str().unwrap();
    let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", folder, "--issuer", &issuer.url]);
    let ask = |token: String| Client::new(&process.base, Some(token)).get("/v1/pe/appointments");
    let claims = |changes: Value| crate::support::http::with(&issuer.claims(), changes);

    let ana = Client::new(&process.base, Some(issuer.sign(&issuer.claims())));
    let booked = ana.booked("pe", &pe(1));
    for good in [
        claims(json!({ "aud": ["other", "citas"] })),
        claims(json!({ "aud": null, "client_id": "citas" })),
        claims(json!({ "token_use": null })),
    ] {
        assert_eq!(ask(issuer.sign(&good)).expect(200).json()["items"][0], booked, "{good}");
    }
    let staff = claims(json!({ "sub": "maria", "cognito:groups": ["pe:staff"] }));
    assert_eq!(ask(issuer.sign(&staff)).expect(200).json()["items"][0], booked);
    let chilean = claims(json!({ "groups": ["cl:staff"] }));
    ask(issuer.sign(&chilean)).expect_problem(403, "forbidden");

    let now = Timestamp::now().as_second();
    for bad in [
        claims(json!({ "aud": "other" })),
        claims(json!({ "aud": null })),
        claims(json!({ "aud": null, "client_id": "other" })),
        claims(json!({ "iss": "http://127.0.0.1:1" })),
        claims(json!({ "iss": null })),
        claims(json!({ "exp": now - 600 })),
        claims(json!({ "exp": null })),
        claims(json!({ "nbf": now + 600 })),
        claims(json!({ "sub": null })),
        claims(json!({ "sub": "" })),
        claims(json!({ "token_use": "id" })),
    ] {
        ask(issuer.sign(&bad)).expect_problem(401, "unauthenticated");
    }

    let stranger = Issuer::start();
    ask(stranger.sign(&issuer.claims())).expect_problem(401, "unauthenticated");
    let unknown_key = jsonwebtoken::encode(&header(Algorithm::ES256, "k-2"), &issuer.claims(), &issuer.key).unwrap();
    ask(unknown_key).expect_problem(401, "unauthenticated");
    // An attacker signs with the public key as if it were a shared secret.
    let shared = EncodingKey::from_secret(issuer.public_pem.as_bytes());
    let confused = jsonwebtoken::encode(&header(Algorithm::HS256, "k-1"), &issuer.claims(), &shared).unwrap();
    ask(confused).expect_problem(401, "unauthenticated");
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE"] {
        let head = part(&json!({ "alg": algorithm, "typ": "JWT", "kid": "k-1" }));
        ask(format!("{head}.{}.", part(&issuer.claims()))).expect_problem(401, "unauthenticated");
    }
    let good = issuer.sign(&issuer.claims());
    let (_, signature) = good.rsplit_once('.').unwrap();
    let altered = part(&claims(json!({ "sub": "luis" })));
    let head = good.split('.').next().unwrap();
    ask(format!("{head}.{altered}.{signature}")).expect_problem(401, "unauthenticated");
    let local = run(&["token", "--data", folder]).expect(0).out;
    ask(local.trim().to_owned()).expect_problem(401, "unauthenticated");
    ana.get("/.well-known/jwks.json").expect_problem(404, "not-found");
}

#[test]
fn without_its_issuer_the_program_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let told = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.path().to_str().unwrap(),
        "--issuer",
        "http://127.0.0.1:1",
    ])
    .expect(1);
    assert!(told.err.contains("the keys of the issuer http://127.0.0.1:1 cannot be fetched"), "{}", told.err);
}
