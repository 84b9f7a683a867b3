//! What the requests of a time saw.

use std::time::{Duration, Instant};

use crate::common::answer::OUTCOMES;
use crate::common::spread::Spread;
use crate::load::Sample;

/// How long after a phase its state is kept, for the requests that were sent in it.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// A time in which Redis was in one state.
pub(crate) struct Phase {
    name: String,
    began: Instant,
    ended: Instant,
}

pub(crate) fn print_header() {
    print!("\n{:<28} {:>8} {:>6}", "", "requests", "failed");
    for outcome in OUTCOMES {
        print!(" {outcome:>6}");
    }
    println!("   added ms: p50     p99     max");
}

impl Phase {
    /// A phase that lasts as long as `during` does; its last requests are answered before this
    /// returns, unless Redis is away.
    pub(crate) fn lasting(name: &str, during: impl FnOnce()) -> Self {
        let began = Instant::now();
        during();
        let ended = Instant::now();
        std::thread::sleep(LAST_ANSWERS);
        Self {
            name: name.to_owned(),
            began,
            ended,
        }
    }

    /// What came first, and the rest.
    pub(crate) fn split(&self, at: Duration) -> [Self; 2] {
        let middle = self.began + at;
        [
            ("    first", self.began, middle),
            ("    after", middle, self.ended),
        ]
        .map(|(name, began, ended)| Self {
            name: format!("{name} {at:?}"),
            began,
            ended,
        })
    }

    /// Prints what became of the requests that were sent in it.
    pub(crate) fn print(&self, samples: &[Sample]) {
        let own: Vec<&Sample> = samples
            .iter()
            .filter(|sample| (self.began..self.ended).contains(&sample.sent))
            .collect();
        let count = |outcome: Option<&str>| {
            own.iter()
                .filter(|sample| {
                    sample.answered.as_ref().map(|answered| answered.outcome) == outcome
                })
                .count()
        };
        print!("{:<28} {:>8} {:>6}", self.name, own.len(), count(None));
        for outcome in OUTCOMES {
            print!(" {:>6}", count(Some(outcome)));
        }
        let added: Spread = own.iter().filter_map(|sample| added(sample)).collect();
        let [p50, p99, max] = [50, 99, 100].map(|percent| added.percentile(percent));
        println!("       {p50:>7.2} {p99:>7.2} {max:>7.2}");
    }
}

/// What a request took besides the handler.
fn added(sample: &Sample) -> Option<Duration> {
    let answered = sample.answered.as_ref()?;
    Some(sample.latency.saturating_sub(answered.handler))
}

/// Prints when the first response out of Redis came, counted from the begin of a phase.
pub(crate) fn print_first_hits(phase: &Phase, servers: usize, samples: &[Sample]) {
    print!("first HIT of each server, {}:", phase.name);
    for server in 0..servers {
        // A HIT that waited for a run of the handler did not come out of Redis.
        let stored = |sample: &&Sample| {
            sample
                .answered
                .as_ref()
                .is_some_and(|answered| answered.outcome == "HIT" && answered.handler.is_zero())
        };
        let first = samples
            .iter()
            .filter(|sample| sample.server == server)
            .filter(stored)
            .filter_map(|sample| (sample.sent + sample.latency).checked_duration_since(phase.began))
            .min();
        match first {
            Some(after) => print!(" {} ms", after.as_millis()),
            None => print!(" never"),
        }
    }
    println!();
}
