//! Reads pages of lists. Each filter has an index that starts with it. The first filter selects the index; the other
//! filters drop items while the index is read.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use citas_core::model::Phase;
use citas_core::ports::{Page, Position, Query};
use futures::future::try_join_all;

use super::item::{self, Item, text};
use crate::aws::failure::error_text;

/// Maximum number of items that one request reads if filters may drop some of them.
const LOOKED_AT: i32 = 300;

/// Maximum number of requests for one page. If filters leave almost nothing, the page is short, and the next one
/// continues.
const REQUESTS: usize = 10;

/// Sort key before every start. A key is never empty.
const BEGINNING: &str = " ";

/// Sort key after every start, and before the appointments without one.
const EVERY_START: &str = ":";

/// Sort key after all appointments.
const END: &str = "~";

/// A range of one index.
struct Stretch<'a> {
    index: &'static str,
    value: &'a str,
    /// Columns and values of the filters other than the index's own.
    others: Vec<(&'static str, &'a str)>,
    from: String,
    to: String,
    limit: usize,
}

/// Items of a stretch, and the position at which the search for more of them ended early.
#[derive(Default)]
struct Looked {
    items: Vec<Item>,
    stopped: Option<Position>,
}

/// Reads a page from one index. Without any filter, merges the pages of all phases.
///
/// # Errors
/// Returns the cause, for the log.
pub(super) async fn page(client: &Client, table: &str, query: &Query) -> Result<Page, String> {
    let looked = try_join_all(stretches(query).iter().map(|stretch| stretch.read(client, table))).await?;
    let stopped = looked.iter().find_map(|looked| looked.stopped.clone());
    let mut items: Vec<Item> = looked.into_iter().flat_map(|looked| looked.items).collect();
    items.sort_by(|one, other| start(one).cmp(&start(other)));
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let items =
        items.into_iter().map(item::revision).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let next = if more { items.last().map(Position::of) } else { stopped };
    Ok(Page { items, next })
}

fn start(item: &Item) -> Option<&String> {
    item.get("start").and_then(|start| start.as_s().ok())
}

fn stretches(query: &Query) -> Vec<Stretch<'_>> {
    let mut given = query.given().into_iter();
    let (from, to) = (lower_end(query), upper_end(query));
    let stretch = |(index, value), others| Stretch {
        index,
        value,
        others,
        from: from.clone(),
        to: to.clone(),
        limit: query.limit + 1,
    };
    match given.next() {
        Some(first) => vec![stretch(first, given.collect())],
        None => Phase::ALL.map(|phase| stretch(("phase", phase.as_str()), Vec::new())).into(),
    }
}

/// Returns the first key of the page: right after the previous page's last item, or at `from`.
fn lower_end(query: &Query) -> String {
    let from = query.from.map_or_else(|| BEGINNING.to_owned(), item::instant);
    // No key lies between an item's key and the same key with one more character.
    let after = query.after.as_ref().map_or_else(String::new, |after| item::position(after) + "!");
    from.max(after)
}

/// Returns the last key of the page, which is below `to`. Appointments without a start are included only if neither end
/// is given.
fn upper_end(query: &Query) -> String {
    let without_start = if query.from.is_some() { EVERY_START } else { END };
    query.to.map_or_else(|| without_start.to_owned(), item::instant)
}

impl Stretch<'_> {
    async fn read(&self, client: &Client, table: &str) -> Result<Looked, String> {
        let (mut looked, mut next) = (Looked::default(), None);
        if self.from > self.to {
            return Ok(looked);
        }
        for _ in 0..REQUESTS {
            let page =
                self.request(client, table, next).send().await.map_err(|error| error_text("DynamoDB", &error))?;
            looked.items.extend(page.items.unwrap_or_default());
            next = page.last_evaluated_key;
            if next.is_none() || looked.items.len() >= self.limit {
                looked.items.truncate(self.limit);
                return Ok(looked);
            }
        }
        looked.stopped = next.as_ref().and_then(start).and_then(|start| item::position_of(start));
        Ok(looked)
    }

    fn request(
        &self,
        client: &Client,
        table: &str,
        after: Option<Item>,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let conditions: Vec<String> = self.others.iter().map(|(column, _)| format!("#{column} = :{column}")).collect();
        let all = || self.others.iter().copied().chain([(self.index, self.value)]);
        let names: HashMap<_, _> = all()
            .map(|(column, _)| (format!("#{column}"), column.to_owned()))
            .chain([("#start".into(), "start".into())])
            .collect();
        let ends = [(":from".to_owned(), text(&self.from)), (":to".to_owned(), text(&self.to))];
        let values: HashMap<String, AttributeValue> =
            all().map(|(column, value)| (format!(":{column}"), text(value))).chain(ends).collect();
        let limit = i32::try_from(self.limit).unwrap_or(LOOKED_AT);
        client
            .query()
            .table_name(table)
            .index_name(self.index)
            .key_condition_expression(format!("#{0} = :{0} AND #start BETWEEN :from AND :to", self.index))
            .set_filter_expression((!conditions.is_empty()).then(|| conditions.join(" AND ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .limit(if conditions.is_empty() { limit } else { LOOKED_AT })
            .set_exclusive_start_key(after)
    }
}
