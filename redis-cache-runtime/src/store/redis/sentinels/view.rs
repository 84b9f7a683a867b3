//! The primary that follows from the answers of the Sentinels.
//!
//! Each answer contains the epoch of the last failover that the Sentinel knows. An answer with a lower
//! epoch than that of the known primary is out of date.

use std::time::Duration;

use tokio::time::Instant;

use crate::observe::fault::Fault;
use crate::settings::Endpoint;

/// The time after which a primary that no Sentinel names is given up. Sentinels inform each other of
/// failovers every two seconds.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A primary, as a Sentinel names it.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) endpoint: Endpoint,
    /// The epoch of the failover that made it the primary.
    pub(super) epoch: u64,
}

/// The last answers of the Sentinels, and the primary that follows from them.
pub(super) struct View {
    primary: Option<Primary>,
    /// The number of primaries so far.
    pub(super) generation: u64,
    answers: Vec<Option<Answer>>,
    /// The time since which no Sentinel has named the primary, although most have answered.
    unconfirmed: Option<Instant>,
}

/// The last answer of a Sentinel.
struct Answer {
    ended: Instant,
    named: Result<Primary, Fault>,
}

impl View {
    pub(super) fn new(sentinels: usize) -> Self {
        Self {
            primary: None,
            generation: 0,
            answers: (0..sentinels).map(|_| None).collect(),
            unconfirmed: None,
        }
    }

    pub(super) fn primary(&self) -> Option<&Endpoint> {
        self.primary.as_ref().map(|primary| &primary.endpoint)
    }

    /// Returns whether every Sentinel has answered, or has failed to answer, since a time.
    pub(super) fn all_ended(&self, since: Instant) -> bool {
        let mut answers = self.answers.iter();
        answers.all(|answer| answer.as_ref().is_some_and(|it| it.ended >= since))
    }

    /// Returns the number of Sentinels that have named a primary since a time.
    pub(super) fn answers(&self, since: Instant) -> usize {
        let answers = self.answers.iter().flatten();
        let answers = answers.filter(|answer| answer.ended >= since && answer.named.is_ok());
        answers.count()
    }

    /// Returns the reason why no Sentinel has named a primary.
    pub(super) fn fault(&self) -> Fault {
        let answers = self.answers.iter().flatten();
        let faults = answers.filter_map(|answer| answer.named.as_ref().err().cloned());
        faults.fold(Fault::Unreachable, Fault::or_more_telling)
    }

    /// Records the answer of a Sentinel, and replaces the primary if the answer names a newer one.
    pub(super) fn take_over(&mut self, sentinel: usize, named: Result<Primary, Fault>) {
        if let Ok(named) = &named {
            match &mut self.primary {
                Some(known) if known.endpoint == named.endpoint => {
                    known.epoch = known.epoch.max(named.epoch);
                }
                Some(known) if named.epoch <= known.epoch => {}
                _ => self.replace(named.clone()),
            }
        }
        self.answers[sentinel] = Some(Answer {
            ended: Instant::now(),
            named,
        });
        self.check_confirmed();
    }

    /// Replaces a primary that no Sentinel has named for a while, even if the epochs in the answers are
    /// not newer: the Sentinels were reset, so that their epochs began again.
    fn check_confirmed(&mut self) {
        let answers = self.answers.iter().flatten();
        let named: Vec<_> = answers.filter_map(|it| it.named.as_ref().ok()).collect();
        let is_confirmed = named.iter().any(|it| Some(&it.endpoint) == self.primary());
        if is_confirmed {
            self.unconfirmed = None;
        } else if named.len() > self.answers.len() / 2 {
            let newest = named
                .into_iter()
                .max_by_key(|primary| primary.epoch)
                .cloned();
            let since = *self.unconfirmed.get_or_insert_with(Instant::now);
            if let Some(newest) = newest.filter(|_| since.elapsed() >= UNCONFIRMED) {
                self.replace(newest);
            }
        }
    }

    fn replace(&mut self, primary: Primary) {
        let Primary { endpoint, epoch } = &primary;
        tracing::debug!(%endpoint, epoch, "the Sentinels name another primary");
        self.primary = Some(primary);
        self.generation += 1;
        self.unconfirmed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(port: u16, epoch: u64) -> Primary {
        let host = "redis".to_owned();
        let endpoint = Endpoint::Tcp { host, port };
        Primary { endpoint, epoch }
    }

    fn named(view: &View) -> Option<u16> {
        match view.primary()? {
            Endpoint::Tcp { port, .. } => Some(*port),
            Endpoint::Unix(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_failover_that_a_sentinel_knows_counts() {
        let mut view = View::new(3);
        view.take_over(0, Ok(primary(1, 4)));
        assert_eq!((named(&view), view.generation), (Some(1), 1));
        view.take_over(1, Ok(primary(2, 5)));
        assert_eq!((named(&view), view.generation), (Some(2), 2));
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            view.take_over(0, Ok(primary(1, 4)));
            view.take_over(1, Ok(primary(2, 5)));
            view.take_over(2, Ok(primary(1, 4)));
        }
        assert_eq!((named(&view), view.generation), (Some(2), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn epochs_may_begin_again() {
        let mut view = View::new(3);
        view.take_over(0, Ok(primary(1, 4)));
        for second in 0..20 {
            assert_eq!(named(&view), Some(if second < 11 { 1 } else { 2 }));
            view.take_over(0, Ok(primary(2, 0)));
            view.take_over(2, Ok(primary(2, 1)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_minority_of_the_sentinels_takes_no_primary_away() {
        let mut view = View::new(3);
        view.take_over(0, Ok(primary(1, 4)));
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            view.take_over(0, Err(Fault::Timeout));
            view.take_over(1, Ok(primary(2, 0)));
            view.take_over(2, Err(Fault::Timeout));
        }
        assert_eq!(named(&view), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_counted_from_a_time_on() {
        let mut view = View::new(2);
        view.take_over(0, Ok(primary(1, 0)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let since = Instant::now();
        assert_eq!((view.answers(since), view.all_ended(since)), (0, false));
        view.take_over(1, Err(Fault::Credentials));
        view.take_over(0, Ok(primary(1, 0)));
        assert_eq!((view.answers(since), view.all_ended(since)), (1, true));
        assert!(matches!(view.fault(), Fault::Credentials));
    }
}
