//! The arithmetic of the rate limiter: bytes that are due, against bytes that time has brought.
//!
//! ```text
//! debited  ------------------------------>|   every request moves it right and waits where it puts it
//! accrued  ----------------->|                time moves it right, at most a second of rate beyond `debited`
//!                            |<-- debt -->|
//! ```
//!
//! Both only grow, so a request is paid when `accrued` has come to the place that it was given, whatever is debited after
//! it: requests are served in their order, and the rate may change while they wait. The unit is the byte-nanosecond,
//! a byte per second for a billionth of a second times 10^9, so that nothing is lost to rounding however often time is
//! looked at.

const NANOS_PER_S: i128 = 1_000_000_000;

/// A token bucket that holds a second of its rate and may be overdrawn by any amount.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// When time was last looked at, in nanoseconds.
    seen: u64,
    /// Byte-nanoseconds.
    accrued: i128,
    /// Byte-nanoseconds.
    debited: i128,
}

/// The place of a request in the order of all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(i128);

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: u64, now: u64) -> Self {
        Self { rate, seen: now, accrued: amount(rate), debited: 0 }
    }

    pub(crate) const fn rate(&self) -> u64 {
        self.rate
    }

    /// Changes the rate from `now` on. Debt stays; a bucket without a rate had none, and is full.
    pub(crate) fn set_rate(&mut self, rate: u64, now: u64) {
        self.look(now);
        if self.rate == 0 {
            self.accrued = self.debited.saturating_add(amount(rate));
        }
        self.rate = rate;
        self.look(now);
    }

    /// Takes out so many bytes, whether they are there or not.
    pub(crate) fn debit(&mut self, bytes: u64, now: u64) -> Ticket {
        self.look(now);
        self.debited = self.debited.saturating_add(amount(bytes));
        Ticket(self.debited)
    }

    /// Gives back what was taken out for a request that came to nothing.
    pub(crate) fn refund(&mut self, bytes: u64, now: u64) {
        self.accrued = self.accrued.saturating_add(amount(bytes));
        self.look(now);
    }

    /// Nanoseconds until the request is paid, at the rate of now.
    pub(crate) fn left(&mut self, ticket: Ticket, now: u64) -> u64 {
        self.look(now);
        let due = ticket.0.saturating_sub(self.accrued);
        if due <= 0 || self.rate == 0 {
            return 0;
        }
        let rate = i128::from(self.rate);
        u64::try_from(due.saturating_add(rate - 1) / rate).unwrap_or(u64::MAX)
    }

    /// Adds what the time since the last look has brought. A clock that went back brings nothing, and counts from where
    /// it is now.
    fn look(&mut self, now: u64) {
        let passed = now.saturating_sub(self.seen);
        self.seen = now;
        let gained = i128::from(passed).saturating_mul(i128::from(self.rate));
        let full = self.debited.saturating_add(amount(self.rate));
        self.accrued = self.accrued.saturating_add(gained).min(full);
    }
}

fn amount(bytes: u64) -> i128 {
    i128::from(bytes) * NANOS_PER_S
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    /// Requests as (nanosecond, bytes) of a bucket of 1,000 bytes per second; how long each of them waits.
    #[track_caller]
    fn check(requests: &[(u64, u64)], waits: &[u64]) {
        let mut bucket = Bucket::new(1_000, 0);
        let found: Vec<u64> = requests
            .iter()
            .map(|(now, bytes)| {
                let ticket = bucket.debit(*bytes, *now);
                bucket.left(ticket, *now)
            })
            .collect();
        assert_eq!(found, waits);
    }

    /// Proves C-157.
    #[test]
    fn a_request_waits_until_its_debt_is_repaid() {
        // The burst is a second of rate.
        check(&[(0, 400), (0, 600), (0, 1)], &[0, 0, S / 1_000]);
        // Debt of any size, in proportion, and in the order of the requests.
        check(&[(0, 5_000), (0, 1_000)], &[4 * S, 5 * S]);
        // Time brings bytes back, never more than the burst.
        check(&[(0, 1_000), (S / 2, 600)], &[0, S / 10]);
        check(&[(0, 1_000), (50 * S, 1_500)], &[0, S / 2]);
        // A clock that goes back brings nothing, and costs nothing.
        check(&[(90 * S, 2_000), (10 * S, 1_000), (12 * S, 1_000)], &[S, 2 * S, S]);
        // Nothing is free, and nothing lost, at the limits of the numbers.
        check(&[(0, u64::MAX), (u64::MAX, 0)], &[u64::MAX, u64::MAX]);
        check(&[(0, 0), (0, 1_000)], &[0, 0]);
    }

    #[test]
    fn the_rate_may_change_while_a_request_waits() {
        let mut bucket = Bucket::new(1_000, 0);
        let ticket = bucket.debit(3_000, 0);
        assert_eq!(bucket.left(ticket, 0), 2 * S);
        bucket.set_rate(500, S);
        assert_eq!(bucket.left(ticket, S), 2 * S, "1,000 bytes are left");
        bucket.set_rate(10_000, 2 * S);
        assert_eq!(bucket.left(ticket, 2 * S), S / 20);
        bucket.set_rate(0, 2 * S);
        assert_eq!(bucket.left(ticket, 2 * S), 0);
        bucket.set_rate(100, 3 * S);
        let ticket = bucket.debit(150, 3 * S);
        assert_eq!(bucket.left(ticket, 3 * S), S / 2, "the debt of before is forgotten");
    }

    #[test]
    fn what_came_to_nothing_is_given_back() {
        let mut bucket = Bucket::new(1_000, 0);
        let _stopped = bucket.debit(4_000, 0);
        let other = bucket.debit(1_000, 0);
        assert_eq!(bucket.left(other, 0), 4 * S);
        bucket.refund(4_000, 0);
        assert_eq!(bucket.left(other, 0), 0);
    }

    proptest! {
        /// Proves C-157: over any stretch of time no more passes than its share and one burst, and who asks again as
        /// soon as it may loses nothing.
        #[test]
        fn the_rate_is_kept(
            rate in 1_u64..5_000_000,
            requests in prop::collection::vec(1_u64..3_000_000, 1..60),
        ) {
            let mut bucket = Bucket::new(rate, 0);
            let (mut now, mut total) = (0, 0);
            for bytes in requests {
                let ticket = bucket.debit(bytes, now);
                total += bytes;
                while let left @ 1.. = bucket.left(ticket, now) {
                    now += left.min(77_000_000);
                }
                let share = u128::from(rate) * u128::from(now + S) / u128::from(S);
                prop_assert!(u128::from(total) <= share + 1, "{} bytes by {}", total, now);
                if now > 0 {
                    prop_assert!(share <= u128::from(total) + 1 + u128::from(rate) / 1_000, "too slow");
                }
            }
        }
    }
}
