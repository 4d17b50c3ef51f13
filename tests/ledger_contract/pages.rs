//! Lists: their filters, their order, and their pages.

use std::sync::Arc;

use citas_core::model::{Phase, Revision, Slot};
use citas_core::ports::{Ledger, Order, OwnerFilter, Page, Position, Query};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use uuid::Uuid;

use crate::support::appointments::*;

/// Returns the time `later` minutes after noon.
fn noon(later: usize) -> Timestamp {
    at("2026-12-01T17:00:00Z") + minutes(later)
}

fn starting(number: usize, start: Option<Timestamp>) -> Revision {
    let mut revision = booked(number);
    revision.appointment.starts_at = start;
    revision.appointment.slot = revision.appointment.slot.filter(|_| start.is_some());
    revision
}

async fn store(ledger: &dyn Ledger, revisions: impl IntoIterator<Item = Revision>) {
    for revision in revisions {
        ledger.commit(change(revision)).await.unwrap();
    }
}

fn ids(page: &Page) -> Vec<Uuid> {
    page.items.iter().map(|item| item.appointment.id).collect()
}

fn numbered(numbers: &[usize]) -> Vec<Uuid> {
    numbers.iter().copied().map(id).collect()
}

fn of_hospital(limit: usize) -> Query {
    Query { hospital: booked(0).appointment.hospital, limit, ..Query::default() }
}

fn account(subject: &str) -> OwnerFilter {
    OwnerFilter::Account(subject.into())
}

/// Returns every item of every page, whatever the limit.
pub(super) async fn walk(ledger: &dyn Ledger, query: &Query) -> Vec<Revision> {
    let (mut query, mut items) = (query.clone(), Vec::new());
    loop {
        let page = ledger.page(pe(), &query).await.unwrap();
        assert!(page.items.len() <= query.limit);
        items.extend(page.items);
        let Some(next) = page.next else { return items };
        assert_eq!(items.last().map(|item| item.appointment.id), Some(next.id), "a page ends with its last item");
        query.after = Some(next);
    }
}

pub async fn a_page_is_in_the_order_of_start_then_id(ledger: Arc<dyn Ledger>) {
    let starts =
        [(5, noon(1)), (2, noon(9)), (4, noon(1)), (3, noon(0)), (1, noon(1)), (6, at("1969-07-20T20:17:40Z"))];
    store(&*ledger, starts.map(|(number, start)| starting(number, Some(start)))).await;
    let expected = numbered(&[6, 3, 1, 4, 5, 2]);
    for limit in 1..=7 {
        let found: Vec<Uuid> =
            walk(&*ledger, &of_hospital(limit)).await.iter().map(|item| item.appointment.id).collect();
        assert_eq!(found, expected, "{limit} a page");
    }
}

pub async fn without_a_start_sorts_last(ledger: Arc<dyn Ledger>) {
    let far = at("9999-12-01T00:00:00Z");
    store(&*ledger, [(1, None), (2, Some(noon(0))), (3, None), (4, Some(far))].map(|(n, start)| starting(n, start)))
        .await;
    for limit in 1..=5 {
        let found: Vec<Uuid> =
            walk(&*ledger, &of_hospital(limit)).await.iter().map(|item| item.appointment.id).collect();
        assert_eq!(found, numbered(&[2, 4, 1, 3]), "{limit} a page");
    }
}

pub async fn a_page_holds_at_most_its_limit_and_the_last_one_says_so(ledger: Arc<dyn Ledger>) {
    store(&*ledger, (1..=4).map(|number| starting(number, Some(noon(number))))).await;
    let first = ledger.page(pe(), &of_hospital(2)).await.unwrap();
    assert_eq!(ids(&first), numbered(&[1, 2]));
    assert_eq!(first.next, Some(Position { starts_at: Some(noon(2)), id: id(2) }));
    let last = ledger.page(pe(), &Query { after: first.next, ..of_hospital(2) }).await.unwrap();
    assert_eq!(ids(&last), numbered(&[3, 4]));
    assert_eq!(last.next, None);
}

pub async fn each_filter_leaves_what_meets_it(ledger: Arc<dyn Ledger>) {
    let mut other = starting(2, Some(noon(2)));
    other.owner = Some("eva".into());
    other.person = person(2);
    other.appointment.doctor = None;
    other.appointment.hospital = Some("00000001".into());
    other.appointment.phase = Phase::NoShow;
    store(&*ledger, [starting(1, Some(noon(1))), other.clone()]).await;

    let all = Query { limit: 10, ..Query::default() };
    let (both, mine, others) = (&[1, 2][..], &[1][..], &[2][..]);
    for (query, expected) in [
        (all.clone(), both),
        (Query { owner: account("ana"), ..all.clone() }, mine),
        (Query { owner: account("eva"), ..all.clone() }, others),
        (Query { person: Some(person(1)), ..all.clone() }, mine),
        (Query { person: Some(person(2)), ..all.clone() }, others),
        (Query { doctor: Some("45678".into()), ..all.clone() }, mine),
        (Query { hospital: Some("00006219".into()), ..all.clone() }, mine),
        (Query { hospital: Some("00000001".into()), ..all.clone() }, others),
        (Query { phases: vec![Phase::Booked], ..all.clone() }, mine),
        (Query { phases: vec![Phase::NoShow], ..all.clone() }, others),
        (Query { phases: vec![Phase::NoShow, Phase::Booked], ..all.clone() }, both),
        (Query { phases: vec![Phase::Pending, Phase::Cancelled], ..all.clone() }, &[]),
        (Query { phases: vec![Phase::NoShow, Phase::Pending], doctor: Some("45678".into()), ..all.clone() }, &[]),
        (Query { owner: OwnerFilter::Nobody, ..all.clone() }, &[]),
        (Query { owner: account("an"), ..all.clone() }, &[]),
        (Query { owner: account("ANA"), ..all.clone() }, &[]),
    ] {
        assert_eq!(ids(&ledger.page(pe(), &query).await.unwrap()), numbered(expected), "{query:?}");
    }
}

pub async fn filters_together_leave_what_meets_all(ledger: Arc<dyn Ledger>) {
    // Each bit of the number selects one of two owners, people, doctors, hospitals and phases.
    let revision = |number: usize| {
        let bit = |bit: usize| (number >> bit) & 1;
        let mut revision = starting(number, Some(noon(number)));
        revision.owner = Some(format!("owner {}", bit(0)));
        revision.person = person(bit(1));
        revision.appointment.doctor = Some(format!("doctor {}", bit(2)));
        revision.appointment.hospital = Some(format!("hospital {}", bit(3)));
        revision.appointment.phase = [Phase::Booked, Phase::Cancelled][bit(4)];
        revision
    };
    store(&*ledger, (0..32).map(revision)).await;
    for given in 0..32_usize {
        let if_given = |bit: usize, word: &str| (given & (1 << bit) != 0).then(|| format!("{word} 1"));
        let query = Query {
            owner: if_given(0, "owner").map_or(OwnerFilter::Any, OwnerFilter::Account),
            person: if_given(1, "").map(|_| person(1)),
            doctor: if_given(2, "doctor"),
            hospital: if_given(3, "hospital"),
            phases: if_given(4, "").map(|_| Phase::Cancelled).into_iter().collect(),
            limit: 3,
            ..Query::default()
        };
        let expected: Vec<Revision> = (0..32).filter(|number| number & given == given).map(revision).collect();
        assert_eq!(walk(&*ledger, &query).await, expected, "{query:?}");
    }
}

pub async fn what_nobody_owns_is_left_by_a_filter_of_its_own(ledger: Arc<dyn Ledger>) {
    // Each bit of the number selects an owner or none, one of two people, and one of two phases.
    let revision = |number: usize| {
        let bit = |bit: usize| (number >> bit) & 1;
        let mut revision = starting(number, Some(noon(number)));
        revision.owner = (bit(0) == 0).then(|| "ana".into());
        revision.person = person(bit(1));
        revision.appointment.phase = [Phase::Booked, Phase::Cancelled][bit(2)];
        revision
    };
    store(&*ledger, (0..16).map(revision)).await;
    for given in [1, 3, 5, 7_usize] {
        let is_given = |bit: usize| given & (1 << bit) != 0;
        let query = Query {
            owner: OwnerFilter::Nobody,
            person: is_given(1).then(|| person(1)),
            phases: is_given(2).then_some(Phase::Cancelled).into_iter().collect(),
            limit: 3,
            ..Query::default()
        };
        let expected: Vec<Revision> = (0..16).filter(|number| number & given == given).map(revision).collect();
        assert_eq!(walk(&*ledger, &query).await, expected, "{query:?}");
    }
    let mut owned = after(&revision(1));
    owned.owner = Some("eva".into());
    let mut unowned = after(&revision(0));
    unowned.owner = None;
    store(&*ledger, [owned, unowned.clone()]).await;
    let query = Query { owner: OwnerFilter::Nobody, person: Some(person(0)), limit: 1, ..Query::default() };
    assert_eq!(ledger.page(pe(), &query).await.unwrap().items, [unowned], "an owner comes and goes");
}

pub async fn from_is_included_and_to_is_not(ledger: Arc<dyn Ledger>) {
    store(&*ledger, (1..=5).map(|number| starting(number, Some(noon(number))))).await;
    store(&*ledger, [starting(6, None)]).await;
    let far = Some(at("9999-12-01T00:00:00Z"));
    for (from, to, expected) in [
        (Some(noon(2)), Some(noon(4)), &[2, 3][..]),
        (Some(noon(2)), Some(noon(2)), &[]),
        (Some(noon(3)), None, &[3, 4, 5]),
        (None, Some(noon(3)), &[1, 2]),
        (None, far, &[1, 2, 3, 4, 5]),
        (far, None, &[]),
        (Some(at("0001-01-01T00:00:00Z")), far, &[1, 2, 3, 4, 5]),
        (None, None, &[1, 2, 3, 4, 5, 6]),
    ] {
        for limit in [1, 2, 10] {
            let query = Query { from, to, ..of_hospital(limit) };
            let found: Vec<Uuid> = walk(&*ledger, &query).await.iter().map(|item| item.appointment.id).collect();
            assert_eq!(found, numbered(expected), "{query:?}");
        }
    }
}

/// Returns appointments at each hour from 22:00 on 30 November to the morning of 2 December, in three zones.
fn around_a_day() -> impl Iterator<Item = Revision> {
    let zones = [("America/Lima", -5), ("Pacific/Easter", -5), ("Pacific/Kiritimati", 14)];
    let hours = (0..30_usize).flat_map(move |hour| zones.map(|zone| (hour, zone)));
    hours.enumerate().map(|(number, (hour, (zone, offset)))| {
        let start = Date::constant(2026, 11, 30).at(22, 0, 0, 0) + minutes(60 * hour);
        let starts_at = Offset::constant(offset).to_timestamp(start).unwrap();
        let mut revision = starting(number, Some(starts_at));
        revision.appointment.slot = Some(Slot { start, minutes: 30, zone: zone.into() });
        revision.appointment.phase = [Phase::Booked, Phase::Arrived, Phase::NoShow][number % 3];
        revision
    })
}

pub async fn a_date_is_that_of_the_place(ledger: Arc<dyn Ledger>) {
    store(&*ledger, around_a_day().chain([starting(900, None)])).await;
    let date = Date::constant(2026, 12, 1);
    let on_that_day = |item: &Revision| item.appointment.slot.as_ref().is_some_and(|slot| slot.start.date() == date);
    let mut expected: Vec<Revision> = around_a_day().filter(on_that_day).collect();
    expected.sort_by_key(Position::of);
    assert_eq!(expected.len(), 72);
    for limit in [1, 7, 100] {
        let query = Query { date: Some(date), ..of_hospital(limit) };
        assert_eq!(walk(&*ledger, &query).await, expected, "{limit} a page");
        let any = Query { hospital: None, ..query.clone() };
        assert_eq!(walk(&*ledger, &any).await, expected, "{limit} a page");
        let from = Some(at("2026-12-01T12:00:00Z"));
        let later: Vec<Revision> = expected.iter().filter(|item| item.appointment.starts_at >= from).cloned().collect();
        assert_eq!(walk(&*ledger, &Query { from, ..query }).await, later, "{limit} a page");
    }
    let none = Query { date: Some(Date::constant(2026, 12, 5)), ..of_hospital(10) };
    assert_eq!(walk(&*ledger, &none).await, []);
}

pub async fn a_descending_page_is_the_reverse_of_an_ascending_one(ledger: Arc<dyn Ledger>) {
    let undated = (901..=903).map(|number| starting(number, None));
    store(&*ledger, around_a_day().chain(undated)).await;
    let date = Some(Date::constant(2026, 12, 1));
    let (from, to) = (Some(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T20:00:00Z")));
    let phases = vec![Phase::Booked, Phase::Arrived];
    let all = Query { limit: 100, ..Query::default() };
    for query in [
        of_hospital(100),
        all.clone(),
        Query { phases: phases.clone(), ..all.clone() },
        Query { phases: vec![Phase::Booked], ..all.clone() },
        Query { phases, date, ..of_hospital(100) },
        Query { from, to, ..all.clone() },
        Query { from, date, ..all.clone() },
    ] {
        let mut expected = walk(&*ledger, &query).await;
        expected.reverse();
        assert!(expected.len() > 10, "{query:?}");
        for limit in [1, 7, 100] {
            let descending = Query { order: Order::Descending, limit, ..query.clone() };
            assert_eq!(walk(&*ledger, &descending).await, expected, "{descending:?}");
        }
    }
}

pub async fn a_cursor_outlives_its_item(ledger: Arc<dyn Ledger>) {
    store(&*ledger, (1..=6).map(|number| starting(number, (number < 5).then(|| noon(number))))).await;
    let page = ledger.page(pe(), &of_hospital(2)).await.unwrap();
    let rest = Query { after: page.next, ..of_hospital(10) };

    // The last item moves to the end, and then to another hospital.
    let mut moved = after(&starting(2, None));
    store(&*ledger, [moved.clone()]).await;
    assert_eq!(ids(&ledger.page(pe(), &rest).await.unwrap()), numbered(&[3, 4, 2, 5, 6]));
    moved.appointment.hospital = Some("elsewhere".into());
    store(&*ledger, [after(&moved)]).await;
    assert_eq!(ids(&ledger.page(pe(), &rest).await.unwrap()), numbered(&[3, 4, 5, 6]));

    let never_there = Position { starts_at: Some(noon(3)), id: id(0) };
    let page = ledger.page(pe(), &Query { after: Some(never_there), ..of_hospital(10) }).await.unwrap();
    assert_eq!(ids(&page), numbered(&[3, 4, 5, 6]));
    let without_start = Position { starts_at: None, id: id(5) };
    let page = ledger.page(pe(), &Query { after: Some(without_start), ..of_hospital(10) }).await.unwrap();
    assert_eq!(ids(&page), numbered(&[6]));
}

pub async fn a_page_shows_the_latest_revision(ledger: Arc<dyn Ledger>) {
    let first = starting(1, Some(noon(1)));
    let mut second = after(&first);
    second.appointment.phase = Phase::Cancelled;
    second.appointment.doctor = None;
    store(&*ledger, [first, second.clone()]).await;
    assert_eq!(ledger.page(pe(), &of_hospital(10)).await.unwrap().items, [second]);
    let of_doctor = Query { doctor: Some("45678".into()), limit: 10, ..Query::default() };
    assert_eq!(ledger.page(pe(), &of_doctor).await.unwrap().items, []);
}

pub async fn nothing_listed_is_an_empty_page(ledger: Arc<dyn Ledger>) {
    let page = ledger.page(pe(), &of_hospital(10)).await.unwrap();
    assert_eq!((page.items, page.next), (Vec::new(), None));
}
