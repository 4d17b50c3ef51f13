//! Limits the places for connections, and selects the connection to close when all are taken. Knows no HTTP.
//!
//! When every place is taken, the connection that has been idle longest is closed for the new one. A connection with a
//! request in progress is never closed for a new one. One peer then keeps at most half of the places, so that it cannot
//! take them all by connecting faster than others.
//!
//! Responses that clients do not read share [`MAX_UNSENT`] bytes. Beyond that, the connection that has been blocked
//! longest is closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Maximum size of the responses that are not written yet, in bytes, over all connections.
const MAX_UNSENT: usize = 64 << 20;

/// Maximum number of connections that have lost their place and are still open. More would take the files of others.
const MAX_CLOSING: usize = 16;

/// States of a connection, in the low bits of [`Seat::state`].
const BUSY: u64 = 0;
const IDLE: u64 = 1;
/// A request is in progress, and its client does not take the response.
const BLOCKED: u64 = 2;
const CLOSING: u64 = 3;
const KIND_MASK: u64 = 3;
const KIND_BITS: u32 = 2;

/// An address that counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    /// Returns the peer of an address: for IPv6 the whole /64, which one client usually has.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// Function that returns the maximum number of connections at this moment.
pub type Limit = Arc<dyn Fn() -> usize + Send + Sync>;

pub(super) struct Places {
    limit: Limit,
    taken: Mutex<Taken>,
    /// Wakes the task that waits for a place.
    freed: Notify,
    waiting: AtomicBool,
    /// Number of state changes. It orders them, so that the longest idle connection has the lowest number.
    sequence: AtomicU64,
    unsent: AtomicUsize,
    /// Connections that have lost their place and are still open.
    closing: AtomicUsize,
}

#[derive(Default)]
struct Taken {
    seats: HashMap<u64, Arc<Seat>>,
    peers: HashMap<Peer, usize>,
    next: u64,
}

/// A connection's place, shared by its own task and by tasks that look for a place.
pub(super) struct Seat {
    places: Arc<Places>,
    /// `None` for a peer without a limit, such as a proxy.
    peer: Option<Peer>,
    /// Kind, and sequence number of the last change.
    state: AtomicU64,
    /// True if the last response was handed over whole and is not flushed yet.
    answered: AtomicBool,
    /// Size of the responses that may not be written yet, in bytes.
    unsent: AtomicUsize,
    closed: Notify,
}

/// A place that is taken until this is dropped.
pub(super) struct Ticket {
    id: u64,
    pub(super) seat: Arc<Seat>,
}

enum Admission {
    Admitted(Ticket),
    /// The peer has its share, and all of it is in use.
    Refused,
    Full,
}

impl Places {
    pub(super) fn new(limit: Limit) -> Arc<Self> {
        Arc::new(Self {
            limit,
            taken: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            closing: AtomicUsize::new(0),
        })
    }

    /// Takes a place, and waits for one while requests are in progress on all of them. Returns `None` if the peer has
    /// its share of them already. Only one task may wait.
    pub(super) async fn admit(self: &Arc<Self>, peer: Option<Peer>) -> Option<Ticket> {
        loop {
            match self.try_admit(peer) {
                Admission::Admitted(ticket) => {
                    self.waiting.store(false, Ordering::SeqCst);
                    return Some(ticket);
                }
                Admission::Refused => return None,
                Admission::Full if self.waiting.swap(true, Ordering::SeqCst) => {
                    self.freed.notified().await;
                    self.waiting.store(false, Ordering::SeqCst);
                }
                // Try once more: a place may have become free before the flag was set.
                Admission::Full => {}
            }
        }
    }

    fn try_admit(self: &Arc<Self>, peer: Option<Peer>) -> Admission {
        if self.closing.load(Ordering::SeqCst) >= MAX_CLOSING {
            return Admission::Full;
        }
        let limit = (self.limit)().max(1);
        let share = (limit / 2).max(1);
        let mut taken = self.taken();
        while taken.seats.len() >= limit {
            let evicted = if taken.of(peer) >= share {
                let Some(id) = taken.longest(IDLE, |seat| seat.peer == peer) else {
                    closed_metric("refused");
                    return Admission::Refused;
                };
                taken.close(id)
            } else {
                let crowded = taken.longest(IDLE, |seat| taken.of(seat.peer) > share);
                let Some(id) = crowded.or_else(|| taken.longest(IDLE, |_| true)) else { return Admission::Full };
                taken.close(id)
            };
            if evicted {
                closed_metric("idle");
            }
        }
        let seat = Arc::new(Seat {
            places: Arc::clone(self),
            peer,
            state: AtomicU64::new(self.state(IDLE)),
            answered: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
            closed: Notify::new(),
        });
        Admission::Admitted(Ticket { id: taken.add(Arc::clone(&seat)), seat })
    }

    /// Closes the connections that have been blocked longest until the responses of the others fit.
    fn shed_unsent(&self) {
        let mut taken = self.taken();
        while self.unsent.load(Ordering::Relaxed) > MAX_UNSENT {
            let Some(id) = taken.longest(BLOCKED, |_| true) else { return };
            if taken.close(id) {
                closed_metric("unread");
            }
        }
    }

    fn state(&self, kind: u64) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) << KIND_BITS | kind
    }

    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed_metric(why: &'static str) {
    metrics::counter!("citas_connections_closed_total", "why" => why).increment(1);
}

impl Taken {
    /// Returns the number of the peer's connections; 0 for a peer without a limit.
    fn of(&self, peer: Option<Peer>) -> usize {
        peer.and_then(|peer| self.peers.get(&peer)).copied().unwrap_or_default()
    }

    /// Returns the eligible connection that has been in this state longest.
    fn longest(&self, kind: u64, eligible: impl Fn(&Seat) -> bool) -> Option<u64> {
        let in_state = |(id, seat): (&u64, &Arc<Seat>)| {
            let state = seat.state.load(Ordering::SeqCst);
            (state & KIND_MASK == kind && eligible(seat)).then_some((state, *id))
        };
        self.seats.iter().filter_map(in_state).min().map(|(_, id)| id)
    }

    fn add(&mut self, seat: Arc<Seat>) -> u64 {
        let id = self.next;
        self.next += 1;
        if let Some(peer) = seat.peer {
            *self.peers.entry(peer).or_default() += 1;
        }
        self.seats.insert(id, seat);
        id
    }

    /// Takes a connection's place away and closes the connection. Returns false if its state has changed meanwhile.
    fn close(&mut self, id: u64) -> bool {
        let Some(seat) = self.seats.get(&id) else { return false };
        if !seat.close() {
            return false;
        }
        self.remove(id);
        true
    }

    fn remove(&mut self, id: u64) {
        let Some(seat) = self.seats.remove(&id) else { return };
        seat.sent();
        if let Some(peer) = seat.peer
            && let Some(count) = self.peers.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

impl Seat {
    /// Records that a request has come. Returns false if the connection is being closed.
    pub(super) fn begin(&self) -> bool {
        self.answered.store(false, Ordering::Relaxed);
        self.change(|kind| match kind {
            IDLE => Some(BUSY),
            CLOSING => None,
            // The previous response is not read yet.
            kind => Some(kind),
        })
    }

    /// Records a response of this many bytes. Closes blocked connections if the unread responses take too much.
    pub(super) fn answer(&self, bytes: usize) {
        // The sum comes first, so that an eviction in between subtracts no more than it holds.
        let before = self.places.unsent.fetch_add(bytes, Ordering::Relaxed);
        self.unsent.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_UNSENT {
            self.places.shed_unsent();
        }
    }

    /// Records that the response was handed over whole. It may not be written yet.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Marks the connection as blocked on a client that does not read.
    pub(super) fn blocked(&self) {
        self.change(|kind| (kind == BUSY).then_some(BLOCKED));
    }

    /// Records that everything that was handed over is written.
    pub(super) fn flushed(&self) {
        self.sent();
        let next = if self.answered.swap(false, Ordering::Relaxed) { IDLE } else { BUSY };
        let changed = self.change(|kind| match kind {
            BUSY if next == IDLE => Some(IDLE),
            BLOCKED => Some(next),
            _ => None,
        });
        if changed && next == IDLE {
            self.places.wake();
        }
    }

    /// Returns true if no request is in progress and everything is written.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::SeqCst) & KIND_MASK == IDLE
    }

    /// Resolves when the connection must be closed.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    fn close(&self) -> bool {
        self.places.closing.fetch_add(1, Ordering::SeqCst);
        let is_closing = self.change(|kind| matches!(kind, IDLE | BLOCKED).then_some(CLOSING));
        if is_closing {
            self.closed.notify_one();
        } else {
            self.places.closing.fetch_sub(1, Ordering::SeqCst);
        }
        is_closing
    }

    fn sent(&self) {
        if self.unsent.load(Ordering::Relaxed) > 0 {
            let bytes = self.unsent.swap(0, Ordering::Relaxed);
            self.places.unsent.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Changes the kind of the state if `next` returns one. Returns false if not. An equal kind keeps its sequence
    /// number.
    fn change(&self, next: impl Fn(u64) -> Option<u64>) -> bool {
        let update = |state: u64| {
            let kind = next(state & KIND_MASK)?;
            Some(if kind == state & KIND_MASK { state } else { self.places.state(kind) })
        };
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update).is_ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.seat.places.taken().remove(self.id);
        if self.seat.state.load(Ordering::SeqCst) & KIND_MASK == CLOSING {
            self.seat.places.closing.fetch_sub(1, Ordering::SeqCst);
        }
        self.seat.sent();
        self.seat.places.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in_while_too_many_that_lost_their_place_are_still_open() {
        let places = places(1);
        let mut open = vec![admitted(&places, None).unwrap()];
        for _ in 0..MAX_CLOSING {
            open.push(admitted(&places, None).unwrap());
        }
        assert!(admitted(&places, None).is_none());
        open.remove(0);
        assert!(admitted(&places, None).is_some());
    }

    fn places(limit: usize) -> Arc<Places> {
        Places::new(Arc::new(move || limit))
    }

    fn peer(number: u8) -> Peer {
        Peer::of([10, 0, 0, number].into())
    }

    fn admitted(places: &Arc<Places>, peer: impl Into<Option<Peer>>) -> Option<Ticket> {
        match places.try_admit(peer.into()) {
            Admission::Admitted(ticket) => Some(ticket),
            Admission::Refused | Admission::Full => None,
        }
    }

    fn is_closing(ticket: &Ticket) -> bool {
        ticket.seat.state.load(Ordering::SeqCst) & KIND_MASK == CLOSING
    }

    #[test]
    fn the_connection_that_has_been_idle_longest_gives_its_place_up() {
        let places = places(3);
        let [first, second, third] = [1, 2, 3].map(|number| admitted(&places, peer(number)).unwrap());
        assert!(first.seat.begin());
        first.seat.answered();
        first.seat.flushed();
        let fourth = admitted(&places, peer(4)).unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(is_closing), [false, true, false, false]);
        assert!(!second.seat.begin(), "a request on it comes too late");
    }

    #[test]
    fn nothing_is_closed_while_a_request_is_under_way_or_its_answer_is_not_written() {
        let places = places(2);
        let [first, second] = [1, 2].map(|number| admitted(&places, peer(number)).unwrap());
        assert!(first.seat.begin() && second.seat.begin());
        second.seat.answered();
        second.seat.blocked();
        assert!(admitted(&places, peer(3)).is_none());
        second.seat.flushed();
        let third = admitted(&places, peer(3)).unwrap();
        assert_eq!([&first, &second, &third].map(is_closing), [false, true, false]);
    }

    #[test]
    fn when_all_are_taken_one_peer_keeps_at_most_half() {
        let places = places(4);
        let crowd: Vec<_> = (0..4).map(|_| admitted(&places, peer(1)).unwrap()).collect();
        let others: Vec<_> = (2..5).filter_map(|number| admitted(&places, peer(number))).collect();
        assert_eq!(others.len(), 3);
        assert!(crowd[..3].iter().all(is_closing) && !is_closing(&crowd[3]));

        let back: Vec<_> = (0..4).filter_map(|_| admitted(&places, peer(1))).collect();
        assert!(is_closing(&others[0]), "below its share the peer takes the place of whoever is idle longest");
        assert!(!is_closing(&others[1]) && !is_closing(&others[2]), "at its share it takes its own");
        assert_eq!(back.iter().filter(|ticket| !is_closing(ticket)).count() + usize::from(!is_closing(&crowd[3])), 2);
    }

    #[test]
    fn a_peer_with_its_share_in_use_is_refused_and_a_proxy_is_not() {
        let places = places(4);
        let busy: Vec<_> = (0..2).map(|_| admitted(&places, peer(1)).unwrap()).collect();
        assert!(busy.iter().all(|ticket| ticket.seat.begin()));
        let _others: Vec<_> = (2..4).map(|number| admitted(&places, peer(number)).unwrap()).collect();
        assert!(matches!(places.try_admit(Some(peer(1))), Admission::Refused));
        assert!(admitted(&places, None).is_some());
    }

    #[test]
    fn an_ipv6_peer_is_its_network() {
        let of = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff::8"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn of_answers_that_nobody_reads_the_oldest_are_given_up() {
        let places = places(4);
        let tickets: Vec<_> = (0..4).map(|number| admitted(&places, peer(number)).unwrap()).collect();
        for ticket in &tickets {
            assert!(ticket.seat.begin());
            ticket.seat.blocked();
        }
        for ticket in &tickets[..3] {
            ticket.seat.answer(MAX_UNSENT / 3);
        }
        assert!(!tickets.iter().any(is_closing));
        tickets[3].seat.answer(MAX_UNSENT / 3);
        assert_eq!(tickets.iter().map(is_closing).collect::<Vec<_>>(), [true, false, false, false]);
        drop(tickets);
        assert_eq!(places.unsent.load(Ordering::Relaxed), 0);
        assert!(places.taken().seats.is_empty() && places.taken().peers.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_place_gets_the_next_that_becomes_idle() {
        let places = places(1);
        let first = admitted(&places, peer(1)).unwrap();
        assert!(first.seat.begin());
        let mut next = std::pin::pin!(places.admit(Some(peer(2))));
        assert!(futures::poll!(&mut next).is_pending());
        first.seat.answered();
        first.seat.flushed();
        assert!(next.await.is_some());
    }
}
