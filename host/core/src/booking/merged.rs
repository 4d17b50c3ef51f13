//! A page of the appointments that match any of several queries.

use futures::future::try_join_all;

use crate::model::CountryCode;
use crate::ports::{Ledger, Order, Page, Position, Query, Unavailable};

/// Returns a page of the appointments that match any of these queries, which are equal but for their filters by a key. No
/// appointment matches two of them. All are read at once.
pub(super) async fn merged(
    ledger: &dyn Ledger,
    country: CountryCode,
    queries: Vec<Query>,
) -> Result<Page, Unavailable> {
    let Some((order, limit)) = queries.first().map(|query| (query.order, query.limit)) else {
        return Ok(Page::default());
    };
    let pages = try_join_all(queries.iter().map(|query| ledger.page(country, query))).await?;
    Ok(merge(pages, order, limit))
}

/// Merges pages. Beyond the end of a page that is followed by another, items may be missing, so the merged page ends there.
fn merge(mut pages: Vec<Page>, order: Order, limit: usize) -> Page {
    if pages.len() == 1 {
        return pages.remove(0);
    }
    let in_order = |one: &Position, other: &Position| match order {
        Order::Ascending => one.cmp(other),
        Order::Descending => other.cmp(one),
    };
    let end = pages.iter().filter_map(|page| page.next.clone()).min_by(in_order);
    let is_known = |position: &Position| end.as_ref().is_none_or(|end| in_order(position, end).is_le());
    let items = pages.into_iter().flat_map(|page| page.items);
    let mut items: Vec<_> = items.map(|item| (Position::of(&item), item)).collect();
    items.retain(|(position, _)| is_known(position));
    items.sort_by(|(one, _), (other, _)| in_order(one, other));
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = if has_more { items.last().map(|(position, _)| position.clone()) } else { end };
    Page { items: items.into_iter().map(|(_, item)| item).collect(), next }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::testing::revision;

    fn page(starts: &[Option<i64>], next: Option<i64>) -> Page {
        let position = |start: Option<i64>| {
            let starts_at = start.map(|start| Timestamp::from_second(start).unwrap());
            Position { starts_at, id: Uuid::from_u128(start.unwrap_or_default().unsigned_abs().into()) }
        };
        let item = |start: &Option<i64>| {
            let Position { starts_at, id } = position(*start);
            let mut item = revision(id);
            item.appointment.starts_at = starts_at;
            item
        };
        Page { items: starts.iter().map(item).collect(), next: next.map(|start| position(Some(start))) }
    }

    /// Merges pages. Returns the starts of the items and that of the next page's position.
    fn starts_of(pages: Vec<Page>, order: Order, limit: usize) -> (Vec<Option<i64>>, Option<i64>) {
        let second = |start: Option<Timestamp>| start.map(Timestamp::as_second);
        let Page { items, next } = merge(pages, order, limit);
        let starts = items.iter().map(|item| second(item.appointment.starts_at));
        (starts.collect(), next.and_then(|next| second(next.starts_at)))
    }

    #[test]
    fn pages_are_merged_in_order_up_to_the_limit() {
        let pages = || vec![page(&[Some(1), Some(4), None], None), page(&[Some(2), Some(3)], None), page(&[], None)];
        assert_eq!(starts_of(pages(), Order::Ascending, 9), (vec![Some(1), Some(2), Some(3), Some(4), None], None));
        assert_eq!(starts_of(pages(), Order::Ascending, 3), (vec![Some(1), Some(2), Some(3)], Some(3)));
        let reversed = pages().into_iter().map(|mut page| {
            page.items.reverse();
            page
        });
        assert_eq!(starts_of(reversed.collect(), Order::Descending, 2), (vec![None, Some(4)], Some(4)));
    }

    #[test]
    fn merged_pages_end_where_the_first_of_them_may_lack_an_item() {
        let of = |next| vec![page(&[Some(1), Some(2)], Some(next)), page(&[Some(3), Some(6)], None)];
        assert_eq!(starts_of(of(2), Order::Ascending, 9), (vec![Some(1), Some(2)], Some(2)));
        assert_eq!(starts_of(of(4), Order::Ascending, 9), (vec![Some(1), Some(2), Some(3)], Some(4)));
        let none = vec![page(&[], Some(2)), page(&[Some(3)], None)];
        assert_eq!(starts_of(none, Order::Ascending, 9), (vec![], Some(2)), "a short page without an item");
        let down = vec![page(&[Some(9), Some(7)], Some(7)), page(&[Some(8), Some(5)], Some(5))];
        assert_eq!(starts_of(down, Order::Descending, 9), (vec![Some(9), Some(8), Some(7)], Some(7)));
    }
}
