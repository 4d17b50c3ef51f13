//! Configures the AWS clients of a process: region, credentials and endpoint from the environment, as in every AWS
//! tool; timeouts; and retries with growing, random pauses. Knows no service.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// Maximum number of attempts of one call, the first included.
pub const ATTEMPTS: u32 = 5;

/// Timeout for opening a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Timeout of one call: all its attempts and the pauses between them. API Gateway gives a request 30 seconds.
const OPERATION: Duration = Duration::from_secs(10);

/// Returns the configuration that all clients of this process share. Load it once.
pub fn configuration() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build();
    let tls = Provider::Rustls(CryptoMode::Ring);
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
}
