//! A blocking client that checks the promises of the API for all answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request as HttpRequest};

/// A client with a token, or without one. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// A request under construction.
pub struct Request {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// A received answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub took: Duration,
}

impl Client {
    pub fn new(base: &str, token: Option<String>) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).max_idle_connections_per_host(256);
        let agent = config.max_idle_connections(256).timeout_global(Some(Duration::from_secs(30))).build().into();
        Self { agent, base: base.to_owned(), token }
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = method.parse().unwrap();
        Request { client: self.clone(), method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send()
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    pub fn book(&self, country: &str, request: &Value) -> Answer {
        self.post(&format!("/v1/{country}/appointments"), request)
    }

    /// Books an appointment, which must succeed.
    pub fn booked(&self, country: &str, request: &Value) -> Value {
        self.book(country, request).expect(201).json()
    }
}

impl Request {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().into_bytes())
    }

    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends the request. Returns an error if the server goes away meanwhile.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let mut request = HttpRequest::builder().method(self.method).uri(format!("{}{}", self.client.base, self.path));
        if let Some(token) = &self.client.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let started = Instant::now();
        let mut response = if self.body.is_empty() {
            self.client.agent.run(request.body(())?)?
        } else {
            self.client.agent.run(request.body(self.body)?)?
        };
        let text = response.body_mut().read_to_string()?;
        let took = started.elapsed();
        let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), text, took };
        answer.keep_to_the_promises(&self.path);
        Ok(answer)
    }
}

impl Answer {
    /// Checks the promises: an answer has an id, and an error is a complete problem document with that id and the path.
    fn keep_to_the_promises(&self, path: &str) {
        let id = self.header("x-request-id");
        assert!(!id.is_empty(), "{path}: no X-Request-Id");
        // The pages of links are for people.
        if self.status < 400 || path == "/readyz" || path.starts_with("/links/") {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json", "{path}: {self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["requestId"], id, "{problem}");
        // A request that could not be read has no path.
        let instance = if self.status == 431 { "" } else { path.split('?').next().unwrap() };
        assert_eq!(problem["instance"], instance, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
        }
        if self.status == 401 || self.status == 403 {
            assert!(self.header("www-authenticate").starts_with("Bearer realm="), "{self:?}");
        }
        if self.status == 503 {
            assert!(self.header("retry-after").parse::<u32>().is_ok(), "{self:?}");
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Asserts that the answer is a problem of this kind, and returns it.
    #[track_caller]
    pub fn expect_problem(self, status: u16, name: &str) -> Value {
        let problem = self.expect(status).json();
        assert_eq!(problem["type"], format!("/problems/{name}"), "{problem}");
        problem
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the pointer and the code of each violation, in order.
    pub fn violations(&self) -> Vec<(String, String)> {
        let problem = self.json();
        let violations = problem["violations"].as_array().unwrap_or_else(|| panic!("{problem}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        violations.iter().map(|said| (text(&said["pointer"]), text(&said["code"]))).collect()
    }
}

/// Returns a document with these members changed; null removes a member.
pub fn with(document: &Value, changes: Value) -> Value {
    let mut result = document.clone();
    let Value::Object(changes) = changes else { panic!("an object of changes, not {changes}") };
    for (name, value) in changes {
        if value.is_null() {
            result.as_object_mut().unwrap().remove(&name);
        } else {
            result[name] = value;
        }
    }
    result
}

/// Returns a problem without the members that differ between requests.
pub fn form(problem: &Value) -> Value {
    with(problem, json!({ "instance": null, "requestId": null }))
}
