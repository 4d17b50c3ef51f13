//! The least that an axum server can do, in a process of its own, as ours is.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

/// Makes this program that server.
pub const ARGUMENT: &str = "--hello";

#[tokio::main]
pub async fn serve() {
    let router = Router::new().route("/", get(|| async { "Hello, World!" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("hello serves on http://{}", listener.local_addr().expect("a bound socket"));
    axum::serve(listener, router).await.expect("a server");
}
