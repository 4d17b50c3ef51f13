//! The function `api` as API Gateway calls it.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::aws_freeze::Bucket;
use crate::support::lambda::{Lambda, get_event};

/// Starts the function with the chaos country's rules.
fn function() -> Lambda {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    Lambda::start(&mut runtime.block_on(Bucket::new()).api())
}

/// Calls the function without a token, and returns what API Gateway gets.
fn call(function: &Lambda, method: &str, path: &str, accept_encoding: &str) -> Value {
    let mut event = get_event(path, None);
    event["requestContext"]["http"]["method"] = json!(method);
    event["headers"]["accept-encoding"] = json!(accept_encoding);
    function.invoke(&event).0
}

#[test]
fn a_compressed_response_goes_to_api_gateway_in_base64() {
    let function = function();
    for path in ["/openapi.json", "/v1/countries", "/v1/xx/schema", "/docs/swagger-ui.css", "/problems/stale"] {
        let plain = call(&function, "GET", path, "identity");
        assert_eq!((&plain["statusCode"], &plain["isBase64Encoded"]), (&json!(200), &json!(false)), "{path}: {plain}");
        let packed = call(&function, "GET", path, "br, gzip");
        assert_eq!(packed["isBase64Encoded"], true, "{path}");
        assert_eq!(packed["headers"]["content-encoding"], "gzip", "{path}");
        assert_eq!(packed["headers"]["etag"], plain["headers"]["etag"], "{path}");
        let bytes = BASE64_STANDARD.decode(packed["body"].as_str().unwrap()).unwrap();
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain["body"].as_str().unwrap(), "{path}");
    }
}

#[test]
fn a_response_to_one_caller_is_compressed_too() {
    let function = function();
    let claims = json!({ "sub": "ops", "token_use": "access", "cognito:groups": "[platform]", "scope": "rules/read" });
    let mut event = get_event("/v1/xx/rules", Some(claims));
    assert_eq!(function.invoke(&event).0["isBase64Encoded"], false);
    event["headers"]["accept-encoding"] = json!("gzip");
    let (packed, _) = function.invoke(&event);
    assert_eq!((&packed["isBase64Encoded"], &packed["headers"]["content-encoding"]), (&json!(true), &json!("gzip")));
}

#[test]
fn what_api_gateway_passes_on_gets_a_problem_document_or_its_methods() {
    let function = function();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/v1/a b/schema", 404),
        ("PATCH", "/healthz", 405),
        ("POST", "/v1/xx/schema", 405),
        ("GET", "/problems/nothing", 404),
        ("GET", "/v1/xx/appointments", 401),
    ] {
        let answer = call(&function, method, path, "gzip");
        assert_eq!(answer["statusCode"], status, "{path}: {answer}");
        assert_eq!(answer["headers"]["content-type"], "application/problem+json", "{path}");
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["status"], status, "{path}");
    }
    let asked = call(&function, "OPTIONS", "/v1/xx/appointments", "gzip");
    assert_eq!((&asked["statusCode"], &asked["headers"]["allow"]), (&json!(204), &json!("GET,HEAD,POST")));
}
