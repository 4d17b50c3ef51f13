//! Signs in to a Cognito user pool from a command line (RFC 8252). The browser shows the pool's own page and returns to
//! a port of this machine with a code. Only the program that started the sign-in can exchange the code for a token (RFC
//! 7636).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use citas_core::model::Scope;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, PkceCodeChallenge, RedirectUrl,
    Scope as Asked, TokenResponse as _, TokenUrl,
};
use url::Url;

use super::Misuse;

/// Maximum number of bytes that are read of a browser's request.
const LONGEST: u64 = 16 * 1024;

/// Timeout of one read from a browser.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

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
pub fn token(pool: &Pool<'_>) -> Result<String, Box<dyn std::error::Error>> {
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
    let code = code(&listener, pool.callback.path(), state.secret())?;
    let answer = client.exchange_code(code).set_pkce_verifier(verifier).request(&exchange)?;
    Ok(answer.access_token().secret().clone())
}

/// Waits until the browser returns with a code or a refusal. Answers all other requests with an error.
fn code(listener: &TcpListener, path: &str, state: &str) -> Result<AuthorizationCode, Box<dyn std::error::Error>> {
    loop {
        let (mut browser, _) = listener.accept()?;
        let Some(came) = request(&browser).filter(|came| came.path() == path) else {
            answer(&mut browser, "404 Not Found", "There is nothing here.");
            continue;
        };
        let said = |name: &str| came.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if said("state").as_deref() != Some(state) {
            answer(&mut browser, "400 Bad Request", "This is about another sign-in.");
            continue;
        }
        if let Some(code) = said("code") {
            answer(
                &mut browser,
                "200 OK",
                "You are signed in; the token is where you asked for it. You can close this page.",
            );
            return Ok(AuthorizationCode::new(code));
        }
        let why = said("error_description").or_else(|| said("error")).unwrap_or_else(|| "no reason is given".into());
        answer(&mut browser, "200 OK", "You are not signed in.");
        return Err(format!("the sign-in page says no: {why}").into());
    }
}

/// Returns the URL that a browser requests, or `None` if the request cannot be read.
fn request(browser: &TcpStream) -> Option<Url> {
    browser.set_read_timeout(Some(READ_TIMEOUT)).ok()?;
    let mut lines = BufReader::new(browser.take(LONGEST)).lines().map_while(Result::ok);
    let first = lines.next()?;
    // A browser takes the response for a broken connection if its header is not read to the end.
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let target = first.strip_prefix("GET ")?.split(' ').next()?;
    Url::parse("http://localhost").ok()?.join(target).ok()
}

fn answer(browser: &mut TcpStream, status: &str, words: &str) {
    let length = words.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close");
    // A browser that has disconnected needs no response.
    let _ = browser.write_all(format!("{head}\r\n\r\n{words}").as_bytes());
}

/// Exchanges a code for a token. Returns the pool's response whatever its status, for the caller to evaluate.
fn exchange(request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (head, mut body) = agent.run(request)?.into_parts();
    Ok(HttpResponse::from_parts(head, body.read_to_vec()?))
}
