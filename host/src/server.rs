//! The HTTP server: takes connections, gives their requests to a router, and stops without cutting anybody off. Whatever
//! a client does, or does not do, it holds a connection only for a bounded time. Knows no route.
//!
//! axum's own `serve` sets no timer, so a client that sends half a header would hold its connection for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How long to wait before accepting again when the system gives no connection, as when its files run out.
const RESPITE: Duration = Duration::from_secs(1);

/// What one client can take of the server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// A request's header is here by then, or its connection is closed. It counts from when the connection is open or the
    /// request before it is answered, so an idle connection is kept no longer.
    pub header_timeout: Duration,
    /// Connections that are open at once; whoever comes later waits in the system's queue.
    pub connections: usize,
    /// How long requests under way may take once the server is to stop.
    pub grace: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(10), connections: 4096, grace: Duration::from_secs(10) }
    }
}

impl Server {
    /// Serves until `shutdown` is over and the requests under way are answered, or their grace has passed.
    pub async fn serve(self, listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
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

    /// Takes connections for as long as it is polled.
    async fn accept(&self, listener: &TcpListener, router: &Router, open: &GracefulShutdown) {
        let places = Arc::new(Semaphore::new(self.connections));
        loop {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    respite(&error).await;
                    continue;
                }
            };
            let connection = open.watch(self.connection(stream, router));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(place);
            });
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        router: &Router,
    ) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
        // Answers are small and whole: held back for more to come, they would only be late.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()))
    }
}

/// What concerns one client that has gone away already is no trouble; anything else may pass.
async fn respite(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "no connection can be accepted; trying again");
        tokio::time::sleep(RESPITE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};

    use axum::routing::get;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    /// Far longer than anything here takes.
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

    fn hello() -> Router {
        Router::new().route("/", get(|| async { "hello" }))
    }

    /// A client that blocks, as clients do, and gives up where the server does nothing.
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

        /// Everything until the server closes.
        fn rest(&mut self) -> String {
            let mut text = String::new();
            self.0.read_to_string(&mut text).expect("it closes");
            text
        }

        /// One answer whose body is `hello`.
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
        let running = start(Server { header_timeout: SHORT, ..Server::default() }, hello()).await;
        let mut stream = Client::of(&running);
        stream.send("GET / HTTP/1.1\r\nHost: x\r\nX-Half: ");
        let began = std::time::Instant::now();
        stream.rest();
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_is_kept_between_requests_and_closed_when_it_is_idle() {
        let running = start(Server { header_timeout: SHORT, ..Server::default() }, hello()).await;
        let mut stream = Client::of(&running);
        for _ in 0..3 {
            stream.get();
            assert!(stream.answer().starts_with("HTTP/1.1 200"));
        }
        assert_eq!(stream.rest(), "");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_connection_more_than_allowed_waits_for_a_place() {
        let running = start(Server { connections: 1, header_timeout: LONG, ..Server::default() }, hello()).await;
        let mut first = Client::of(&running);
        first.get();
        first.answer();
        let mut second = Client::of(&running);
        second.get();
        second.0.set_read_timeout(Some(SHORT)).unwrap();
        assert!(second.0.read(&mut [0]).is_err(), "answered beside the first");
        second.0.set_read_timeout(Some(LONG)).unwrap();
        drop(first);
        assert!(second.answer().starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stopping_answers_what_is_under_way_and_takes_nothing_new() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, door) = (entered.clone(), leave.clone());
        let slow = move || async move {
            inside.notify_one();
            door.notified().await;
            "hello"
        };
        let running = start(Server::default(), Router::new().route("/", get(slow))).await;
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
        let server = Server { grace: SHORT, ..Server::default() };
        let running = start(server, Router::new().route("/", get(never))).await;
        let mut stream = Client::of(&running);
        stream.get();
        running.stop.send(()).unwrap();
        tokio::time::timeout(LONG, running.stopped).await.expect("it stops").unwrap();
    }
}
