//! Describes failed AWS calls as text. Leaves out the service's own message: it may repeat mail addresses or other
//! input.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Describes a failed call in one line, which begins with the name of the service.
pub(crate) fn error_text<E: ProvideErrorMetadata + Error + 'static>(
    service: &str,
    error: &SdkError<E, HttpResponse>,
) -> String {
    let failure = match error {
        SdkError::ConstructionFailure(_) => format!("was not asked: {}", causes(error)),
        SdkError::TimeoutError(_) => "does not answer in time".into(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "does not answer in time".into(),
        SdkError::DispatchFailure(failure) => {
            let why = failure.as_connector_error().map_or_else(String::new, |error| causes(error));
            format!("was not reached: {why}")
        }
        SdkError::ServiceError(refusal) => match (refusal.raw().status().as_u16(), refusal.err().code()) {
            (status, Some(code)) => format!("answers {status} {code}"),
            (status, None) => format!("answers {status}"),
        },
        _ => "gives an answer that cannot be read".into(),
    };
    format!("{service} {failure}")
}

/// Joins the sources of an error. The error's own text is left out, because `error_text` describes it better.
fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(error.source(), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
