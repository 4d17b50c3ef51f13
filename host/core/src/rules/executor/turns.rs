//! Decides which country's call runs next. Knows no threads and no clock: callers pass the time since a fixed moment.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::CountryCode;

/// Time after which a call gives up its place when another country waits for one. Calls take 20 µs to 2 ms; a call that
/// has taken this long may take 100 ms.
const MAX_IN_PLACE: Duration = Duration::from_millis(5);

/// Maximum number of calls of one country that go on beside those with a place. With more, a country could take all
/// cores.
const MAX_BESIDE: usize = 2;

/// Maximum expected wait for a turn. A client that would wait longer is better refused at once, to retry later.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// Maximum number of urgent calls of a country before one of its background calls has a turn, so that mail goes out
/// under load too.
const MAX_URGENT_STREAK: u32 = 4;

/// Expected time of a country's call before any call is measured.
const INITIAL_COST: Duration = Duration::from_millis(1);

/// Inverse weight of a call that took less than expected.
const SMOOTHING: u32 = 8;

/// Waiting and running calls.
pub(super) struct Turns<Job> {
    accounts: BTreeMap<CountryCode, Account<Job>>,
    running: BTreeMap<u64, Running>,
    places: usize,
    taken: usize,
    next_ticket: u64,
    /// Highest time used by a country at the start of one of its calls. A country that comes back after a pause is
    /// raised to this level, so that it does not save up turns.
    level: Duration,
}

/// Calls of one country.
struct Account<Job> {
    /// Calls that a client waits for.
    urgent: VecDeque<Waiting<Job>>,
    /// Calls that no client waits for.
    background: VecDeque<Job>,
    /// Urgent calls that have started since the last background call.
    streak: u32,
    running: usize,
    beside: usize,
    /// Thread time used by the country's calls.
    used: Duration,
    /// Expected time of a call.
    cost: Duration,
}

struct Waiting<Job> {
    job: Job,
    since: Duration,
}

struct Running {
    country: CountryCode,
    since: Duration,
    /// Part of the country's `used` for this call.
    charged: Duration,
    is_beside: bool,
}

/// Error of a call whose turn would come too late.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLate;

/// State of a finished call's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The call kept its place, and its thread can take the next call.
    InPlace,
    /// Another thread has the place.
    Beside,
}

impl<Job> Default for Account<Job> {
    fn default() -> Self {
        let (used, cost) = (Duration::ZERO, INITIAL_COST);
        Self { urgent: VecDeque::new(), background: VecDeque::new(), streak: 0, running: 0, beside: 0, used, cost }
    }
}

impl<Job> Account<Job> {
    fn is_waiting(&self) -> bool {
        !self.urgent.is_empty() || !self.background.is_empty()
    }

    fn is_active(&self) -> bool {
        self.running > 0 || self.is_waiting()
    }

    fn can_start(&self) -> bool {
        self.is_waiting() && (self.beside == 0 || self.running < MAX_BESIDE)
    }

    /// Adjusts the expected time to a call. One call at most doubles it: the first call of a process, or a call that
    /// had to wait for a core, says little about the next.
    fn learn(&mut self, took: Duration) {
        self.cost = if took > self.cost {
            took.min(self.cost * 2)
        } else {
            self.cost.saturating_sub(self.cost.saturating_sub(took) / SMOOTHING)
        };
    }

    fn next(&mut self) -> Option<Job> {
        if self.streak >= MAX_URGENT_STREAK || self.urgent.is_empty() {
            self.streak = 0;
            if let Some(job) = self.background.pop_front() {
                return Some(job);
            }
        }
        self.streak += 1;
        self.urgent.pop_front().map(|waiting| waiting.job)
    }
}

impl<Job> Turns<Job> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            accounts: BTreeMap::new(),
            running: BTreeMap::new(),
            places,
            taken: 0,
            next_ticket: 0,
            level: Duration::ZERO,
        }
    }

    /// Queues a call for its turn. Refuses an urgent call that would wait too long.
    pub(super) fn enqueue(
        &mut self,
        country: CountryCode,
        is_urgent: bool,
        job: Job,
        now: Duration,
    ) -> Result<(), TooLate> {
        if is_urgent && self.expected_wait(country, now) > MAX_WAIT {
            return Err(TooLate);
        }
        let account = self.accounts.entry(country).or_default();
        if !account.is_active() {
            account.used = account.used.max(self.level);
        }
        if is_urgent {
            account.urgent.push_back(Waiting { job, since: now });
        } else {
            account.background.push_back(job);
        }
        Ok(())
    }

    /// Returns the expected wait of an urgent call that arrives now: the time of the urgent calls before it, given the
    /// places that other countries leave. The result is at least the time that the first of them has already waited.
    fn expected_wait(&self, country: CountryCode, now: Duration) -> Duration {
        let Some(account) = self.accounts.get(&country) else { return Duration::ZERO };
        let others = self.accounts.iter().filter(|(code, other)| **code != country && other.is_active()).count();
        let ahead = u32::try_from(account.urgent.len() * (others + 1)).unwrap_or(u32::MAX);
        let expected = account.cost.saturating_mul(ahead) / u32::try_from(self.places).unwrap_or(u32::MAX);
        let waited = account.urgent.front().map_or(Duration::ZERO, |first| now.saturating_sub(first.since));
        expected.max(waited)
    }

    /// Starts the next call of the country that has used the least time; returns none if no call may start.
    pub(super) fn start(&mut self, now: Duration) -> Option<(u64, Job)> {
        if !self.has_free_place() {
            return None;
        }
        self.charge_running(now);
        let startable = self.accounts.iter_mut().filter(|(_, account)| account.can_start());
        let (country, account) = startable.min_by_key(|(_, account)| account.used)?;
        let job = account.next().expect("it can start");
        self.level = self.level.max(account.used);
        let charged = account.cost;
        account.used += charged;
        account.running += 1;
        self.taken += 1;
        self.next_ticket += 1;
        self.running.insert(self.next_ticket, Running { country: *country, since: now, charged, is_beside: false });
        Some((self.next_ticket, job))
    }

    /// Charges countries for the time that their running calls have taken beyond the expectation.
    fn charge_running(&mut self, now: Duration) {
        for running in self.running.values_mut() {
            let over = now.saturating_sub(running.since).saturating_sub(running.charged);
            running.charged += over;
            self.accounts.get_mut(&running.country).expect("it has a call that runs").used += over;
        }
    }

    /// Finishes a started call and charges its country for the time. A call that did not run does not change the
    /// expectation.
    pub(super) fn finish(&mut self, ticket: u64, did_run: bool, now: Duration) -> Outcome {
        let Running { country, since, charged, is_beside } = self.running.remove(&ticket).expect("it was started");
        let account = self.accounts.get_mut(&country).expect("it has a call that runs");
        let took = now.saturating_sub(since);
        account.used = account.used.saturating_sub(charged) + took;
        account.running -= 1;
        if did_run {
            account.learn(took);
        }
        if is_beside {
            account.beside -= 1;
            Outcome::Beside
        } else {
            self.taken -= 1;
            Outcome::InPlace
        }
    }

    pub(super) fn has_free_place(&self) -> bool {
        self.taken < self.places
    }

    /// Returns the time when the next call has to give up its place; none if no country waits for the place of another
    /// country.
    pub(super) fn next_overdue(&self) -> Option<Duration> {
        self.longest_contended().map(|(_, running)| running.since + MAX_IN_PLACE)
    }

    /// Takes the place of the longest running contended call, if it is overdue. Returns the ticket of that call.
    pub(super) fn set_beside(&mut self, now: Duration) -> Option<u64> {
        let (ticket, running) = self.longest_contended()?;
        if running.since + MAX_IN_PLACE > now {
            return None;
        }
        let running = self.running.get_mut(&ticket).expect("it was just found");
        running.is_beside = true;
        self.accounts.get_mut(&running.country).expect("it has a call that runs").beside += 1;
        self.taken -= 1;
        Some(ticket)
    }

    /// Returns the longest running call whose place another country waits for.
    fn longest_contended(&self) -> Option<(u64, &Running)> {
        if self.has_free_place() {
            return None;
        }
        let mut waiting = self.accounts.iter().filter(|(_, account)| account.can_start()).map(|(country, _)| *country);
        let (first, second) = (waiting.next()?, waiting.next());
        let is_contended = |country: CountryCode| second.is_some() || first != country;
        let may_go_on = |running: &Running| {
            !running.is_beside
                && is_contended(running.country)
                && self.accounts.get(&running.country).is_some_and(|account| account.beside < MAX_BESIDE)
        };
        let contended = self.running.iter().filter(|(_, running)| may_go_on(running));
        contended.min_by_key(|(_, running)| running.since).map(|(ticket, running)| (*ticket, running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn country(code: &str) -> CountryCode {
        code.parse().unwrap()
    }

    struct Bench {
        turns: Turns<&'static str>,
        now: Duration,
    }

    impl Bench {
        fn new(places: usize) -> Self {
            Self { turns: Turns::new(places), now: Duration::ZERO }
        }

        fn enqueue(&mut self, code: &'static str, calls: usize) {
            for _ in 0..calls {
                self.turns.enqueue(country(code), false, code, self.now).unwrap();
            }
        }

        fn offer(&mut self, code: &'static str) -> Result<(), TooLate> {
            self.turns.enqueue(country(code), true, code, self.now)
        }

        fn start(&mut self) -> Option<(u64, &'static str)> {
            self.turns.start(self.now)
        }

        /// Runs the next call for `took`. Returns its country.
        fn run(&mut self, took: impl Fn(&str) -> Duration) -> &'static str {
            let (ticket, code) = self.start().unwrap();
            self.now += took(code);
            self.turns.finish(ticket, true, self.now);
            code
        }
    }

    #[test]
    fn countries_share_the_time_and_not_the_number_of_calls() {
        let mut bench = Bench::new(1);
        bench.enqueue("aa", 100);
        bench.enqueue("pe", 100);
        let took = |code: &str| if code == "aa" { 10 * MS } else { MS };
        let calls: Vec<_> = (0..66).map(|_| bench.run(took)).collect();
        let slow = calls.iter().filter(|code| **code == "aa").count();
        assert!((5..=8).contains(&slow), "{slow} of 66 calls take ten times as long as the others");
    }

    #[test]
    fn who_comes_back_after_a_pause_has_saved_up_nothing() {
        let mut bench = Bench::new(1);
        bench.enqueue("aa", 100);
        for _ in 0..50 {
            bench.run(|_| MS);
        }
        bench.enqueue("pe", 50);
        let calls: Vec<_> = (0..20).map(|_| bench.run(|_| MS)).collect();
        let others = calls.iter().filter(|code| **code == "aa").count();
        assert!((8..=12).contains(&others), "{others} of 20");
    }

    #[test]
    fn a_long_call_gives_up_its_place_only_to_another_country() {
        let mut bench = Bench::new(1);
        bench.enqueue("aa", 2);
        let (long, _) = bench.start().unwrap();
        assert_eq!(bench.turns.next_overdue(), None, "its own country waits");
        bench.enqueue("pe", 1);
        assert_eq!(bench.turns.next_overdue(), Some(MAX_IN_PLACE));
        bench.turns.set_beside(bench.now);
        assert_eq!(bench.start(), None, "it is not overdue yet");
        bench.now += MAX_IN_PLACE;
        bench.turns.set_beside(bench.now);
        let (short, code) = bench.start().unwrap();
        assert_eq!(code, "pe");
        assert_eq!(bench.turns.finish(short, true, bench.now), Outcome::InPlace);
        assert_eq!(bench.turns.finish(long, true, bench.now), Outcome::Beside);
        assert_eq!(bench.start().unwrap().1, "aa");
        assert_eq!(bench.start(), None, "there is one place again");
    }

    #[test]
    fn two_calls_of_a_country_go_on_beside_and_no_third() {
        for places in 1..8 {
            let mut bench = Bench::new(places);
            bench.enqueue("aa", 20);
            while bench.start().is_some() {}
            let mut others = Vec::new();
            for code in ["ba", "bb", "bc", "bd", "be", "bf"] {
                bench.enqueue(code, 1);
                bench.now += MAX_IN_PLACE;
                bench.turns.set_beside(bench.now);
                others.extend(std::iter::from_fn(|| bench.start()).map(|(_, code)| code).filter(|code| *code != "aa"));
                let slow = &bench.turns.accounts[&country("aa")];
                assert!(slow.beside <= MAX_BESIDE && slow.running <= places.max(MAX_BESIDE), "{places} places");
            }
            assert_eq!(others, ["ba", "bb", "bc", "bd", "be", "bf"], "{places} places");
        }
    }

    #[test]
    fn a_queue_is_as_long_as_its_wait_is_short() {
        let mut bench = Bench::new(1);
        bench.enqueue("aa", 8);
        for _ in 0..8 {
            bench.run(|_| 10 * MS);
        }
        let admitted = (0..100).take_while(|_| bench.offer("aa").is_ok()).count();
        assert_eq!(admitted, 26, "250 ms of 10 ms each, and the one that starts at once");
        assert!(bench.offer("pe").is_ok(), "another country's queue is another matter");
    }

    #[test]
    fn calls_that_nobody_waits_for_delay_no_client_and_have_their_turns_all_the_same() {
        let mut bench = Bench::new(1);
        bench.enqueue("pe", 1);
        bench.run(|_| 10 * MS);
        bench.enqueue("pe", 1_000);
        for _ in 0..20 {
            bench.offer("pe").unwrap();
        }
        let before = bench.turns.accounts[&country("pe")].background.len();
        for _ in 0..20 {
            bench.run(|_| MS);
        }
        let account = &bench.turns.accounts[&country("pe")];
        assert_eq!((account.urgent.len(), before - account.background.len()), (4, 4));
    }

    #[test]
    fn one_slow_call_turns_no_crowd_away() {
        let mut bench = Bench::new(1);
        bench.enqueue("pe", 20);
        bench.run(|_| 100 * MS);
        for _ in 0..19 {
            bench.run(|_| MS / 10);
        }
        assert!((0..500).all(|_| bench.offer("pe").is_ok()));
    }

    #[test]
    fn nobody_is_let_in_behind_a_call_that_has_waited_too_long() {
        let mut bench = Bench::new(1);
        bench.offer("aa").unwrap();
        bench.offer("aa").unwrap();
        bench.start().unwrap();
        bench.now += MAX_WAIT + MS;
        assert_eq!(bench.offer("aa"), Err(TooLate), "what a call takes is not known yet, but the first one waits");
        assert_eq!(bench.offer("pe"), Ok(()));
    }
}
