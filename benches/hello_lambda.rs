//! The least that a function behind API Gateway can do which has the SDK's clients that ours has: it makes them, as ours
//! does, and calls nothing.

use std::hint::black_box;

use citas::aws::clients;
use lambda_http::{Error, Request, service_fn};

/// Makes this program that function.
pub const ARGUMENT: &str = "--hello-lambda";

#[tokio::main(flavor = "current_thread")]
pub async fn serve() {
    let aws = clients::configuration().load().await;
    let clients = (aws_sdk_dynamodb::Client::new(&aws), aws_sdk_s3::Client::new(&aws));
    let hello = service_fn(async |_: Request| Ok::<_, Error>("Hello, World!"));
    lambda_http::run(hello).await.expect("an environment that gives invocations");
    black_box(clients);
}
