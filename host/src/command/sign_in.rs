//! Signs in to a Cognito user pool from a command line (RFC 8252). The browser shows the pool's own page and returns to
//! a port of this machine with a code. Only the program that started the sign-in can exchange the code for a token (RFC
//! 7636).

use std::collections::HashMap;
use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::{Method, StatusCode, Uri};
use citas_core::model::Scope;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, PkceCodeChallenge, RedirectUrl,
    Scope as Asked, TokenResponse as _, TokenUrl,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use url::Url;

use super::Misuse;

/// Maximum time until the last response has been sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A user pool and the client that signs in to it.
pub struct Pool<'a> {
    /// URL of the sign-in page.
    pub domain: &'a Url,
    /// Id of the client.
    pub client: &'a str,
    /// Address that the page redirects the browser to: a port of this machine, as configured for the client.
    pub callback: &'a Url,
}

/// Returns an access token of the person who signs in.
pub fn token(pool: &Pool<'_>) -> Result<String, Box<dyn Error>> {
    let (Some("localhost" | "127.0.0.1"), Some(port)) = (pool.callback.host_str(), pool.callback.port()) else {
        return Err(Misuse(format!("`--callback {}` names no port of this machine", pool.callback)).into());
    };
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let client = BasicClient::new(ClientId::new(pool.client.to_owned()))
        .set_auth_uri(AuthUrl::from_url(pool.domain.join("/oauth2/authorize")?))
        .set_token_uri(TokenUrl::from_url(pool.domain.join("/oauth2/token")?))
        .set_redirect_uri(RedirectUrl::from_url(pool.callback.clone()));
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let scopes = Scope::ALL.map(|scope| Asked::new(scope.as_str().to_owned()));
    let (page, state) =
        client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge).url();
    super::complain(&format!("Sign in with a browser on this machine:\n\n{page}\n"));
    let code = code(listener, pool.callback.path(), state.secret().clone())?;
    let answer = client.exchange_code(code).set_pkce_verifier(verifier).request(&exchange)?;
    Ok(answer.access_token().secret().clone())
}

/// Waits until the browser returns with a code or a refusal. Answers all other requests with an error.
#[tokio::main(flavor = "current_thread")]
async fn code(listener: TcpListener, path: &str, state: String) -> Result<AuthorizationCode, Box<dyn Error>> {
    let (outcomes, mut outcome) = mpsc::channel(1);
    let path = path.to_owned();
    let returned = async move |method: Method, uri: Uri, Query(mut query): Query<HashMap<String, String>>| {
        if method != Method::GET || uri.path() != path {
            return (StatusCode::NOT_FOUND, "There is nothing here.");
        }
        if query.get("state") != Some(&state) {
            return (StatusCode::BAD_REQUEST, "This is about another sign-in.");
        }
        let (outcome, words) = match query.remove("code") {
            Some(code) => {
                (Ok(code), "You are signed in; the token is where you asked for it. You can close this page.")
            }
            None => {
                (Err(query.remove("error_description").or_else(|| query.remove("error"))), "You are not signed in.")
            }
        };
        // Only the first return counts.
        let _ = outcomes.try_send(outcome);
        (StatusCode::OK, words)
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (end, is_over) = oneshot::channel::<()>();
    let server = axum::serve(listener, Router::new().fallback(returned));
    let server = tokio::spawn(server.with_graceful_shutdown(async { drop(is_over.await) }).into_future());
    let outcome = outcome.recv().await;
    drop(end);
    // The browser gets its page.
    let _ = timeout(CLOSE_TIMEOUT, server).await;
    match outcome.ok_or("the server for the browser ended")? {
        Ok(code) => Ok(AuthorizationCode::new(code)),
        Err(why) => {
            Err(format!("the sign-in page refused: {}", why.unwrap_or_else(|| "no reason is given".into())).into())
        }
    }
}

/// Exchanges a code for a token. Returns the pool's response whatever its status, for the caller to evaluate.
fn exchange(request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (head, mut body) = agent.run(request)?.into_parts();
    Ok(HttpResponse::from_parts(head, body.read_to_vec()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    fn ask(server: SocketAddr, request: &str) -> String {
        let mut browser = TcpStream::connect(server).unwrap();
        write!(browser, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        browser.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Returns the outcome of a sign-in whose browser sends these requests, and the last response.
    fn sign_in(requests: &[&str]) -> (Result<String, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let browser = scope.spawn(|| requests.iter().fold(String::new(), |_, request| ask(server, request)));
            let code = code(listener, "/callback", "state".into());
            (code.map(|code| code.secret().clone()).map_err(|why| why.to_string()), browser.join().unwrap())
        })
    }

    #[test]
    fn a_browser_that_returns_with_a_code_signs_in() {
        let (code, page) = sign_in(&[
            "GET /favicon.ico",
            "HEAD /callback?code=a&state=state",
            "GET /callback?code=a&state=other",
            "GET /callback?code=b%20c&state=state",
        ]);
        assert_eq!(code.as_deref(), Ok("b c"));
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("You are signed in"), "{page}");
    }

    #[test]
    fn a_refusal_of_the_page_is_the_reason() {
        let (code, page) = sign_in(&["GET /callback?error=access_denied&error_description=no%20account&state=state"]);
        assert_eq!(code.unwrap_err(), "the sign-in page refused: no account");
        assert!(page.contains("You are not signed in"), "{page}");
        let (code, _) = sign_in(&["GET /callback?state=state"]);
        assert_eq!(code.unwrap_err(), "the sign-in page refused: no reason is given");
    }
}
