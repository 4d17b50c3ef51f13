//! A connection's bytes and its requests, noted at its place. hyper tells no one when a connection is idle, so the place
//! learns it from both ends: a request comes to the service, its answer's body is dropped when it is handed over whole,
//! and the stream is flushed when everything is written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::places::Seat;

/// A connection whose client must take each answer in time.
pub(super) struct SeatedStream {
    stream: TcpStream,
    seat: Arc<Seat>,
    write_timeout: Duration,
    /// Set while the client does not take what is written. It is not set again for each byte that it takes.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl SeatedStream {
    pub(super) fn new(stream: TcpStream, seat: Arc<Seat>, write_timeout: Duration) -> Self {
        Self { stream, seat, write_timeout, deadline: None }
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when its own buffers are empty.
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

/// A router whose requests are noted at the connection's place.
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
            // The connection's task is about to drop this.
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

/// An answer's body, noted at the connection's place when hyper has it whole.
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
