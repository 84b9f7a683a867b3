//! A primary with two replicas, watched by three sentinels.

use std::thread::sleep;

use fastrand::Rng;
use test_support::RedisSentinels;

use super::server::Server;
use super::{Fault, Servers, between, fault, freeze_process};
use crate::checker::Checker;

pub(crate) struct Sentinel(RedisSentinels);

impl Servers for Sentinel {
    const NAME: &'static str = "sentinel";

    const FAULTS: &'static [Fault<Self>] = &[
        fault("kill", Self::kill),
        fault("restart", Self::restart),
        fault("failover", Self::fail_over),
        fault("freeze", Self::freeze),
        fault("refuse", Self::refuse),
        fault("pause-writes", Self::pause_writes),
        fault("freeze-process", freeze_process),
    ];

    const CALM: [u64; 2] = [3000, 5000];

    /// Each asks another sentinel first.
    fn address(&self, process: usize) -> String {
        let sentinels = self.0.sentinel_addresses().into_iter();
        let mut sentinels: Vec<_> = sentinels.map(|address| address.to_string()).collect();
        let first = process % sentinels.len();
        sentinels.rotate_left(first);
        sentinels.join(",")
    }
}

impl Sentinel {
    pub(crate) fn start() -> Self {
        Self(tokio::task::block_in_place(RedisSentinels::start))
    }

    /// The primary is killed, and comes back when there is another.
    fn kill(&mut self, random: &mut Rng, checker: &Checker) {
        checker.set_condition("primary killed".to_owned());
        let old = self.0.kill_primary();
        self.0.wait_for_failover(old);
        checker.set_condition("primary replaced".to_owned());
        sleep(between(random, 0, 2000));
        self.0.start_again(old);
        checker.set_condition("old primary started again".to_owned());
        self.0.wait_until_ok();
    }

    /// The primary is killed and started again without data, perhaps before it was replaced.
    fn restart(&mut self, random: &mut Rng, checker: &Checker) {
        let down = between(random, 50, 3000);
        checker.set_condition(format!("primary killed for {down:?}"));
        let primary = self.0.kill_primary();
        sleep(down);
        self.0.start_again(primary);
        checker.set_condition("primary started again".to_owned());
        self.0.wait_until_ok();
    }

    /// A replica becomes the primary while the old one still runs.
    fn fail_over(&mut self, _: &mut Rng, checker: &Checker) {
        checker.set_condition("manual failover".to_owned());
        self.0.fail_over();
        checker.set_condition("manual failover done".to_owned());
        self.0.wait_until_ok();
    }

    /// The primary is stopped by a signal, perhaps until it was replaced, and continued.
    fn freeze(&mut self, random: &mut Rng, checker: &Checker) {
        let frozen = between(random, 500, 6000);
        checker.set_condition(format!("primary stopped for {frozen:?}"));
        let primary = self.0.primary();
        self.0.signal(primary, "STOP");
        sleep(frozen);
        self.0.signal(primary, "CONT");
        checker.set_condition("old primary continued".to_owned());
        self.0.wait_until_ok();
    }

    /// The primary answers lookups and refuses all else.
    fn refuse(&mut self, random: &mut Rng, checker: &Checker) {
        self.primary().refuse_writes(random, checker);
        self.0.wait_until_ok();
    }

    /// The primary answers lookups and lets all else wait, also what the sentinels publish there: it
    /// is replaced if that takes long.
    fn pause_writes(&mut self, random: &mut Rng, checker: &Checker) {
        self.primary().pause_writes(random, checker);
        self.0.wait_until_ok();
    }

    fn primary(&self) -> Server {
        let connection = self.0.connection(self.0.primary());
        Server::new("primary".to_owned(), connection)
    }
}
