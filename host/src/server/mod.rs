//! The HTTP server: accepts connections, passes their requests to a router, and stops without cutting requests off. A
//! client holds a connection and memory only within bounds, whatever it does or fails to do. Knows no route.
//!
//! axum's own `serve` sets no timer, so a client that sends half a header would hold its connection forever.
//!
//! - [`places`]: limits the connections, and selects the one to close when there are too many
//! - [`stream`]: reports a connection's bytes and requests to its place
//! - [`open_files`]: the number of connections that the limit of open files allows

mod open_files;
mod places;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

pub use open_files::OpenFiles;
use places::{Limit, Peer, Places, Seat};
pub use stream::Refusal;
use stream::{SeatedService, SeatedStream};

/// Delay before accepting again when the system gives no connection, for example because open files run out.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Maximum size of a request's line and headers, and of each buffer between a connection and its requests, in bytes. A
/// larger header is refused with a 431. hyper's own limit is 400 KB, which each client that reads nothing can fill.
const MAX_BUFFER: usize = 16 << 10;

/// Size of the system's buffers for a connection in each direction, in bytes (Linux doubles it for its own use).
/// Without it they grow to some megabytes for a client that reads nothing.
const SOCKET_BUFFER: usize = 64 << 10;

/// Bounds of what clients can take of the server.
#[derive(Clone)]
pub struct Server {
    /// Maximum time until a request's header is complete. It counts from the start of the connection or from the
    /// previous response, so it bounds idle connections too.
    pub header_timeout: Duration,
    /// Maximum time in which a client takes a response that does not fit the system's buffers.
    pub write_timeout: Duration,
    /// Maximum number of open connections.
    pub connections: Limit,
    /// Networks of proxies. A connection from there stands for many clients, so it counts towards nobody's share.
    pub trusted_proxies: Vec<IpNet>,
    /// Time that requests in progress have once the server is to stop.
    pub grace: Duration,
    /// Answers what cannot be read as a request. Without it the answer has no body.
    pub refusal: Option<Refusal>,
}

impl Server {
    /// Returns a server with this limit of connections and the usual timeouts.
    pub fn with_connections(connections: Limit) -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            connections,
            trusted_proxies: Vec::new(),
            grace: Duration::from_secs(10),
            refusal: None,
        }
    }

    /// Serves until `shutdown` resolves and the requests in progress are answered, or their grace has passed.
    pub async fn serve(self, listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
        limit_buffers(&listener);
        let open = GracefulShutdown::new();
        tokio::select! {
            () = self.accept(&listener, &router, &open) => {}
            () = shutdown => {}
        }
        drop(listener);
        tracing::info!("stopping");
        if tokio::time::timeout(self.grace, open.shutdown()).await.is_err() {
            tracing::warn!(seconds = self.grace.as_secs(), "stopped with requests unanswered");
        }
    }

    /// Accepts connections for as long as it is polled.
    async fn accept(&self, listener: &TcpListener, router: &Router, open: &GracefulShutdown) {
        let places = Places::new(Arc::clone(&self.connections));
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    backoff_on_accept_error(&error).await;
                    continue;
                }
            };
            let proxy = self.trusted_proxies.iter().any(|network| network.contains(&address.ip().to_canonical()));
            let Some(ticket) = places.admit((!proxy).then(|| Peer::of(address.ip()))).await else { continue };
            let connection = open.watch(self.connection(stream, router, &ticket.seat));
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    },
                    () = ticket.seat.closed() => {}
                }
                drop(ticket);
            });
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        router: &Router,
        seat: &Arc<Seat>,
    ) -> http1::Connection<TokioIo<SeatedStream>, SeatedService> {
        // Responses are small and whole. Holding them back for more data would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let stream = SeatedStream::new(stream, Arc::clone(seat), self.write_timeout, self.refusal);
        let service = SeatedService::new(TowerToHyperService::new(router.clone()), Arc::clone(seat));
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_BUFFER)
            .max_header_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    }
}

/// Limits the system's buffers. Accepted sockets inherit those of the listener.
fn limit_buffers(listener: &TcpListener) {
    let socket = SockRef::from(listener);
    if let Err(error) =
        socket.set_send_buffer_size(SOCKET_BUFFER).and_then(|()| socket.set_recv_buffer_size(SOCKET_BUFFER))
    {
        tracing::warn!(%error, "the system's buffers are not limited: clients that read nothing hold more memory");
    }
}

/// Ignores errors of one disconnected client; waits before accepting again after any other (for example EMFILE).
async fn backoff_on_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "no connection can be accepted; trying again");
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};

    use axum::http::Response;
    use axum::routing::get;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    /// A time far longer than anything here takes.
    const LONG: Duration = Duration::from_secs(10);

    struct Running {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        stopped: tokio::task::JoinHandle<()>,
    }

    async fn start(server: Server, router: Router) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, told) = oneshot::channel();
        let shutdown = async move {
            let _ = told.await;
        };
        Running { address, stop, stopped: tokio::spawn(server.serve(listener, router, shutdown)) }
    }

    /// Returns a server with this many connections. All clients have one address here, so it counts as a proxy without
    /// a share.
    fn server(connections: usize) -> Server {
        let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        Server { trusted_proxies, ..Server::with_connections(Arc::new(move || connections)) }
    }

    /// Returns a handler that signals `entered`, and answers after `leave`.
    fn slow(
        entered: &Arc<Notify>,
        leave: &Arc<Notify>,
    ) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = &'static str> + Send>> + Clone + Send + Sync + 'static {
        let (entered, leave) = (entered.clone(), leave.clone());
        move || {
            let (entered, leave) = (entered.clone(), leave.clone());
            Box::pin(async move {
                entered.notify_one();
                leave.notified().await;
                "hello"
            })
        }
    }

    fn hello() -> Router {
        Router::new().route("/", get(|| async { "hello" }))
    }

    /// A client that blocks, like most clients, and gives up if the server does nothing.
    struct Client(TcpStream);

    impl Client {
        fn of(running: &Running) -> Self {
            let stream = TcpStream::connect(running.address).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            Self(stream)
        }

        fn send(&mut self, text: &str) {
            self.0.write_all(text.as_bytes()).unwrap();
        }

        fn get(&mut self) {
            self.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        }

        /// Reads everything until the server closes.
        fn rest(&mut self) -> String {
            let mut text = String::new();
            self.0.read_to_string(&mut text).expect("it closes");
            text
        }

        /// Reads one response whose body is `hello`.
        fn answer(&mut self) -> String {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"hello") {
                let mut byte = [0];
                self.0.read_exact(&mut byte).expect("it answers");
                bytes.extend(byte);
            }
            String::from_utf8(bytes).unwrap()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn half_a_header_is_not_waited_for() {
        let running = start(Server { header_timeout: SHORT, ..server(4096) }, hello()).await;
        let mut stream = Client::of(&running);
        stream.send("GET / HTTP/1.1\r\nHost: x\r\nX-Half: ");
        let began = std::time::Instant::now();
        stream.rest();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_is_kept_between_requests_and_closed_when_it_is_idle() {
        let running = start(Server { header_timeout: SHORT, ..server(4096) }, hello()).await;
        let mut stream = Client::of(&running);
        for _ in 0..3 {
            stream.get();
            assert!(stream.answer().starts_with("HTTP/1.1 200"));
        }
        assert_eq!(stream.rest(), "");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_does_not_read_is_not_waited_for() {
        // More than the system buffers for a client that reads nothing.
        let large = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
        let server = Server { write_timeout: SHORT, ..server(1) };
        let running = start(server, large).await;
        let mut silent = Client::of(&running);
        silent.get();
        let mut next = Client::of(&running);
        next.get();
        assert!(matches!(next.0.read(&mut [0]), Ok(1)), "the silent one holds its place");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn when_all_places_are_taken_the_idle_one_is_closed_and_a_request_is_not_cut_off() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = slow(&entered, &leave);
        let running = start(server(2), hello().route("/slow", get(slow))).await;
        let mut busy = Client::of(&running);
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
        entered.notified().await;
        let mut idle = Client::of(&running);
        idle.get();
        idle.answer();
        let mut next = Client::of(&running);
        next.get();
        assert!(next.answer().starts_with("HTTP/1.1 200"));
        assert_eq!(idle.rest(), "", "the idle one is closed");
        leave.notify_one();
        assert!(busy.answer().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_header_that_is_never_complete_holds_no_place() {
        let running = start(Server { header_timeout: LONG, ..server(4) }, hello()).await;
        let mut halves: Vec<_> = (0..20).map(|_| Client::of(&running)).collect();
        for half in &mut halves {
            // The server may have closed this one for the next already.
            let _ = half.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ");
        }
        let mut whole = Client::of(&running);
        whole.get();
        assert!(whole.answer().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_address_with_its_share_under_way_is_refused() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let server = Server { trusted_proxies: Vec::new(), ..server(1) };
        let running = start(server, hello().route("/slow", get(slow(&entered, &leave)))).await;
        let mut busy = Client::of(&running);
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
        entered.notified().await;
        let mut next = Client::of(&running);
        assert!(matches!(next.0.read(&mut [0]), Ok(0) | Err(_)));
        leave.notify_one();
        assert!(busy.answer().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_on_all_places_are_waited_for() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = slow(&entered, &leave);
        let running = start(server(1), hello().route("/slow", get(slow))).await;
        let mut busy = Client::of(&running);
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
        entered.notified().await;
        let mut next = Client::of(&running);
        next.get();
        next.0.set_read_timeout(Some(SHORT)).unwrap();
        assert!(next.0.read(&mut [0]).is_err(), "answered beside the first");
        next.0.set_read_timeout(Some(LONG)).unwrap();
        leave.notify_one();
        assert!(busy.answer().starts_with("HTTP/1.1 200"));
        assert!(next.answer().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_takes_a_byte_now_and_then_is_not_waited_for() {
        let large = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
        let running = start(Server { write_timeout: SHORT, ..server(1) }, large).await;
        let mut slow = Client::of(&running);
        slow.get();
        std::thread::spawn(move || {
            while matches!(slow.0.read(&mut [0; 1 << 13]), Ok(1..)) {
                std::thread::sleep(SHORT / 10);
            }
        });
        let mut next = Client::of(&running);
        next.get();
        assert!(matches!(next.0.read(&mut [0]), Ok(1)), "the slow one holds its place for as long as it likes");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_closes_its_half_is_closed() {
        let running = start(Server { header_timeout: LONG * 10, ..server(4) }, hello()).await;
        let mut client = Client::of(&running);
        client.get();
        client.answer();
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_behind_an_answer_that_nobody_reads_stay_with_the_client() {
        let large = Router::new().route("/", get(|| async { vec![b'x'; 1 << 20] }));
        let running = start(server(4), large).await;
        let mut client = Client::of(&running);
        client.0.set_write_timeout(Some(SHORT)).unwrap();
        SockRef::from(&client.0).set_send_buffer_size(SOCKET_BUFFER).unwrap();
        let requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let mut sent = 0;
        while sent < 16 << 20 {
            match client.0.write(&requests) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        assert!(sent < 1 << 20, "{sent} bytes of requests are held for a client that reads nothing");
    }

    #[tokio::test]
    async fn the_systems_buffers_of_a_connection_are_limited() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        limit_buffers(&listener);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&accepted);
        let sizes = [socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap()];
        assert!(sizes.iter().all(|size| (SOCKET_BUFFER..=2 * SOCKET_BUFFER).contains(size)), "{sizes:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_header_that_is_too_large_is_refused() {
        let refusal: Refusal = |status| {
            Response::builder().status(status).header("x-what", status.as_str()).body("too large".into()).unwrap()
        };
        let running = start(Server { refusal: Some(refusal), ..server(4) }, hello()).await;
        let mut client = Client::of(&running);
        // The refusal of a later request comes after the answers to those before.
        client.get();
        assert!(client.answer().starts_with("HTTP/1.1 200"));
        let long = "x".repeat(MAX_BUFFER);
        client.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let mut client = Client::of(&running);
        assert!(answer.contains("\r\nx-what: 431\r\n") && answer.ends_with("\r\n\r\ntoo large"), "{answer}");
        let many = "X-Many: x\r\n".repeat(101);
        client.send(&format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stopping_answers_what_is_under_way_and_takes_nothing_new() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let running = start(server(4096), Router::new().route("/", get(slow(&entered, &leave)))).await;
        let mut stream = Client::of(&running);
        let mut idle = Client::of(&running);
        stream.get();
        entered.notified().await;
        running.stop.send(()).unwrap();
        assert_eq!(idle.rest(), "", "the idle one is closed at once");
        assert!(TcpStream::connect(running.address).is_err());
        leave.notify_one();
        assert!(stream.rest().ends_with("hello"));
        tokio::time::timeout(LONG, running.stopped).await.expect("it stops").unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stopping_waits_no_longer_than_its_grace() {
        let never = || async { std::future::pending::<&str>().await };
        let server = Server { grace: SHORT, ..server(4096) };
        let running = start(server, Router::new().route("/", get(never))).await;
        let mut stream = Client::of(&running);
        stream.get();
        running.stop.send(()).unwrap();
        tokio::time::timeout(LONG, running.stopped).await.expect("it stops").unwrap();
    }
}
