//! A minimal function behind API Gateway that has the SDK clients of the function `api`: it creates them in the same
//! way and calls nothing.

use std::hint::black_box;

use citas::aws::clients;
use lambda_http::{Error, Request, service_fn};

/// Argument that makes this program the hello-world function.
pub const ARGUMENT: &str = "--hello-lambda";

#[tokio::main(flavor = "current_thread")]
pub async fn serve() {
    let aws = clients::configuration().load().await;
    let clients = (aws_sdk_dynamodb::Client::new(&aws), aws_sdk_s3::Client::new(&aws));
    let hello = service_fn(async |_: Request| Ok::<_, Error>("Hello, World!"));
    lambda_http::run(hello).await.expect("an environment that gives invocations");
    black_box(clients);
}
