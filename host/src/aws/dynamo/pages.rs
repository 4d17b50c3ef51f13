//! Reads pages of lists, without the personal parts. Each filter has an index that starts with it. The first filter
//! selects the index; the other filters drop items while the index is read.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use citas_core::model::Phase;
use citas_core::ports::{Order, OwnerFilter, Page, Position, Query};
use futures::future::try_join_all;

use super::item::{self, Item, text};
use crate::aws::failure::error_text;

/// Maximum number of items that one request reads if filters may drop some of them.
const LOOKED_AT: i32 = 300;

/// Minimum number of items that one request reads of a day. Few of them are of another day: those of another zone.
const OF_A_DAY: i32 = 50;

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
    value: String,
    /// Columns and values of the filters other than the index's own.
    others: Vec<(&'static str, String)>,
    /// True if only items without an owner count.
    is_unowned: bool,
    /// Phases that an item may have, if the index is not that of the phase.
    phases: &'a [Phase],
    date: Option<String>,
    from: String,
    to: String,
    is_forward: bool,
    limit: usize,
}

/// Items of a stretch, and the sort key at which the search for more of them ended early.
#[derive(Default)]
struct Looked {
    items: Vec<Item>,
    stopped: Option<String>,
}

/// Reads a page from one index. Without a filter by a key, merges the pages of the phases.
///
/// # Errors
/// Returns the cause, for the log.
pub(super) async fn page(client: &Client, table: &str, query: &Query) -> Result<Page, String> {
    let looked = try_join_all(stretches(query).iter().map(|stretch| stretch.read(client, table))).await?;
    let in_order = |one: &str, other: &str| match query.order {
        Order::Ascending => one.cmp(other),
        Order::Descending => other.cmp(one),
    };
    let stops = looked.iter().filter_map(|looked| looked.stopped.clone());
    let stopped = stops.min_by(|one, other| in_order(one, other));
    let mut items: Vec<Item> = looked.into_iter().flat_map(|looked| looked.items).collect();
    items.sort_by(|one, other| in_order(start(one), start(other)));
    // Another phase may have items between the stop and an item after it.
    items.retain(|item| stopped.as_ref().is_none_or(|stop| in_order(start(item), stop).is_le()));
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    let items =
        items.into_iter().map(item::revision).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let next = if more { items.last().map(Position::of) } else { stopped.and_then(|stop| item::position_of(&stop)) };
    Ok(Page { items, next })
}

fn start(item: &Item) -> &str {
    item::text_of(item, "start")
}

fn stretches(query: &Query) -> Vec<Stretch<'_>> {
    let mut given = query.given().into_iter().map(|(name, value)| (column(name), value));
    let (from, to) = ends(query);
    let stretch = |(index, value), others, phases| Stretch {
        index,
        value,
        others,
        is_unowned: query.owner == OwnerFilter::Nobody,
        phases,
        date: query.date.map(|date| date.to_string()),
        from: from.clone(),
        to: to.clone(),
        is_forward: query.order == Order::Ascending,
        limit: query.limit + 1,
    };
    if let Some(first) = given.next() {
        return vec![stretch(first, given.collect(), &query.phases[..])];
    }
    let phases = if query.phases.is_empty() { &Phase::ALL[..] } else { &query.phases };
    phases.iter().map(|phase| stretch(("phase", phase.as_str().to_owned()), Vec::new(), &[])).collect()
}

/// Returns the column of a filter, which is also the name of its index. A deployment cannot both add and remove an index of
/// a table, so that of the patient kept its name when its keys became opaque.
fn column(filter: &'static str) -> &'static str {
    if filter == "person" { "patient" } else { filter }
}

/// Returns the first and the last key of the page: from the start `from`, or right after the previous page's last item, to
/// the last key below the start `to`. In descending order the previous page's item is above the page. Appointments
/// without a start are included only if neither `from` nor `to` is given.
fn ends(query: &Query) -> (String, String) {
    let without_start = if query.from.is_some() { EVERY_START } else { END };
    let from = query.from.map_or_else(|| BEGINNING.to_owned(), item::instant);
    let to = query.to.map_or_else(|| without_start.to_owned(), item::instant);
    match (query.after.as_ref().map(item::position), query.order) {
        (None, _) => (from, to),
        // No key lies between an item's key and the same key with one more character.
        (Some(after), Order::Ascending) => (from.max(after + "!"), to),
        (Some(after), Order::Descending) => (from, to.min(right_before(&after))),
    }
}

/// Returns a text above every key that is below an item's key, and below that key itself. Keys end with an id, so
/// they are of one length for one start.
fn right_before(key: &str) -> String {
    let mut before = key.to_owned();
    let last = before.pop().map_or('~', |last| char::from_u32(u32::from(last) - 1).unwrap_or(last));
    before.extend([last, '~']);
    before
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
        looked.stopped = next.as_ref().map(|key| start(key).to_owned());
        Ok(looked)
    }

    fn request(
        &self,
        client: &Client,
        table: &str,
        after: Option<Item>,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let filters = self.filters();
        let drops_some = !self.others.is_empty() || self.is_unowned || !self.phases.is_empty();
        let limit = if drops_some { LOOKED_AT } else { i32::try_from(self.limit).unwrap_or(LOOKED_AT) };
        let limit = if self.date.is_some() { limit.max(OF_A_DAY) } else { limit };
        let condition = format!("#{0} = :{0} AND #start BETWEEN :from AND :to", self.index);
        let names = [&condition, &filters].into_iter().flat_map(|text| words_after('#', text));
        let names: HashMap<_, _> = names.map(|name| (format!("#{name}"), name.to_owned())).collect();
        client
            .query()
            .table_name(table)
            .index_name(self.index)
            .key_condition_expression(condition)
            .set_filter_expression(Some(filters).filter(|filters| !filters.is_empty()))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(self.values()))
            .scan_index_forward(self.is_forward)
            .limit(limit)
            .set_exclusive_start_key(after)
    }

    /// Returns the filters that drop items while the index is read.
    fn filters(&self) -> String {
        let others = self.others.iter().map(|(column, _)| format!("#{column} = :{column}"));
        let unowned = self.is_unowned.then(|| "attribute_not_exists(#owner)".to_owned());
        let listed = self.phases.iter().map(|phase| placeholder(*phase)).collect::<Vec<_>>().join(", ");
        let phases = (!listed.is_empty()).then(|| format!("#phase IN ({listed})"));
        let date = self.date.as_ref().map(|_| "begins_with(#appointment.#slot.#start, :date)".to_owned());
        others.chain(unowned).chain(phases).chain(date).collect::<Vec<_>>().join(" AND ")
    }

    fn values(&self) -> HashMap<String, AttributeValue> {
        let own = (self.index, self.value.clone());
        let columns = self.others.iter().cloned().chain([own]);
        let columns = columns.map(|(column, value)| (format!(":{column}"), text(value)));
        let phases = self.phases.iter().map(|phase| (placeholder(*phase), text(phase.as_str())));
        let date = self.date.as_ref().map(|date| (":date".to_owned(), text(date)));
        let ends = [(":from".to_owned(), text(&self.from)), (":to".to_owned(), text(&self.to))];
        columns.chain(phases).chain(date).chain(ends).collect()
    }
}

/// Returns the placeholder of a phase in an expression, which has no hyphen.
fn placeholder(phase: Phase) -> String {
    format!(":is_{}", phase.as_str().replace('-', "_"))
}

/// Returns the words of letters that follow this sign in an expression.
fn words_after(sign: char, expression: &str) -> impl Iterator<Item = &str> {
    expression.split(sign).skip(1).filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_alphabetic()).next())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn right_before_a_key_is_above_every_lower_one() {
        let key = |id: u128| item::position(&Position { starts_at: None, id: Uuid::from_u128(id) });
        for id in [1, 9, 10, 0xa0, 0xff, 0x100] {
            let before = right_before(&key(id));
            assert!(key(id - 1) < before && before < key(id), "{id}");
        }
    }
}
