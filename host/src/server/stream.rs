//! Reports a connection's bytes and requests to its place. hyper does not report idle connections, so the place learns
//! of them from both ends: the service receives a request, the response's body is dropped when it is handed over whole,
//! and the stream is flushed when everything is written.
//!
//! hyper answers what it cannot read as a request by itself, without a body, and offers no way to change that. It is the only
//! thing that hyper writes while no request is in progress, so the stream writes another answer in its place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Buf as _, Bytes, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::places::Seat;

/// Statuses with which hyper refuses.
const HYPERS: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];

/// Function that answers what cannot be read as a request, and would be refused with this status.
pub type Refusal = fn(StatusCode) -> Response<String>;

/// A connection whose client must take each response in time.
pub(super) struct SeatedStream {
    stream: TcpStream,
    seat: Arc<Seat>,
    write_timeout: Duration,
    refusal: Option<Refusal>,
    /// Rest of a refusal that is being written in place of hyper's.
    refusing: Option<Bytes>,
    /// Timer that runs while the client does not take the written bytes. It is not reset for each byte that the client
    /// takes.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl SeatedStream {
    pub(super) fn new(stream: TcpStream, seat: Arc<Seat>, write_timeout: Duration, refusal: Option<Refusal>) -> Self {
        Self { stream, seat, write_timeout, refusal, refusing: None, deadline: None }
    }

    /// Begins to refuse if hyper writes by itself. Returns true while the refusal is being written.
    fn refuses(&mut self, hypers: &[u8]) -> bool {
        if self.refusing.is_none() && self.seat.is_idle() {
            self.refusing = self.refusal.and_then(|refusal| refused(hypers, refusal));
        }
        self.refusing.is_some()
    }

    /// Writes the refusal, and reports hyper's as written when it is through.
    fn poll_refusal(&mut self, context: &mut Context<'_>, hypers: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.refusing.as_mut().filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => rest.advance(count),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(hypers))
    }

    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.seat.blocked();
            let timeout = self.write_timeout;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl AsyncRead for SeatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for SeatedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = if self.refuses(bytes) {
            self.poll_refusal(context, bytes.len())
        } else {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        };
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's refusal is in one piece.
        let first = slices.first().map_or(&[][..], |slice| slice);
        let written = if self.refuses(first) {
            self.poll_refusal(context, first.len())
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(context, slices)
        };
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Reports the flush to the place. hyper flushes when its own buffers are empty.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.deadline = None;
            self.seat.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Returns a refusal with the status and the headers of hyper's, and with the headers and the body that it lacks; none if
/// the bytes are no refusal of hyper's.
fn refused(hypers: &[u8], refusal: Refusal) -> Option<Bytes> {
    let head = str::from_utf8(hypers).ok()?.strip_suffix("\r\n\r\n")?;
    let status = StatusCode::from_bytes(head.split(' ').nth(1)?.as_bytes()).ok()?;
    if !HYPERS.contains(&status) {
        return None;
    }
    let (parts, body) = refusal(status).into_parts();
    let mut lines: Vec<String> =
        head.split("\r\n").filter(|line| !line.starts_with("content-length:")).map(str::to_owned).collect();
    lines.push(format!("content-length: {}", body.len()));
    let headers = parts.headers.iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.to_str().ok()?)));
    lines.extend(headers);
    Some(format!("{}\r\n\r\n{body}", lines.join("\r\n")).into())
}

/// A router that reports its requests to the connection's place.
pub(super) struct SeatedService {
    router: TowerToHyperService<Router>,
    seat: Arc<Seat>,
}

impl SeatedService {
    pub(super) fn new(router: TowerToHyperService<Router>, seat: Arc<Seat>) -> Self {
        Self { router, seat }
    }
}

impl Service<Request<Incoming>> for SeatedService {
    type Response = Response<Answer>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let seat = Arc::clone(&self.seat);
        if !seat.begin() {
            // The connection's task is about to drop this future.
            return Box::pin(std::future::pending());
        }
        let answer = self.router.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let bytes = answer.body().size_hint().lower();
            seat.answer(usize::try_from(bytes).unwrap_or(usize::MAX));
            Ok(answer.map(|body| Answer { body, seat }))
        })
    }
}

/// A response's body that reports to the connection's place when hyper has it whole.
pub(super) struct Answer {
    body: Body,
    seat: Arc<Seat>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.answered();
    }
}
