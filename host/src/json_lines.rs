//! Formats lines of the log as JSON. A line within a span also has the span's fields, so that `request_id` finds every
//! line that a request caused. If both have a field of the same name, the line's own is kept.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Formatter of lines as JSON. [`JsonFields`] must format the fields of the spans.
pub struct JsonLines(Format<Json>);

impl Default for JsonLines {
    fn default() -> Self {
        Self(Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false))
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = span_fields(context, event);
        if fields.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let own = line.trim_end().strip_suffix('}').unwrap_or(&line);
        let spans = Value::Object(fields).to_string();
        writeln!(writer, "{own},{}", spans.trim_start_matches('{'))
    }
}

/// Returns the fields of the enclosing spans that the event itself does not have.
fn span_fields<S>(context: &FmtContext<'_, S, JsonFields>, event: &Event<'_>) -> Map<String, Value>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let mut fields = Map::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let extensions = span.extensions();
        let formatted = extensions.get::<FormattedFields<JsonFields>>();
        if let Some(Ok(own)) = formatted.map(|text| serde_json::from_str::<Map<String, Value>>(&text.fields)) {
            fields.extend(own);
        }
    }
    for field in event.metadata().fields() {
        fields.remove(field.name());
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_fields_of_its_spans_once() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(JsonLines::default());
        tracing::subscriber::with_default(log.with_writer(move || writer.clone()).finish(), || {
            tracing::info!("alone");
            let outer = tracing::error_span!("request", request_id = "r-1", country = "pe");
            let inner = tracing::error_span!(parent: &outer, "call", function = "book");
            inner.in_scope(|| tracing::warn!(country = "cl", "within \"both\""));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let [alone, within]: [&str; 2] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        let alone: Value = serde_json::from_str(alone).unwrap();
        assert_eq!(alone["message"], "alone");
        assert_eq!(within.matches("country").count(), 1, "{within}");
        let within: Value = serde_json::from_str(within).unwrap();
        assert_eq!(within["message"], "within \"both\"");
        assert_eq!([&within["request_id"], &within["function"], &within["country"]], ["r-1", "book", "cl"]);
    }
}
