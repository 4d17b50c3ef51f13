//! A minimal axum server, in a process of its own like Citas.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

/// Argument that makes this program the hello-world server.
pub const ARGUMENT: &str = "--hello";

#[tokio::main]
pub async fn serve() {
    let router = Router::new().route("/", get(|| async { "Hello, World!" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("hello serves on http://{}", listener.local_addr().expect("a bound socket"));
    axum::serve(listener, router).await.expect("a server");
}
