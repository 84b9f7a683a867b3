//! A Redis Cluster: three primaries with a replica each.

use std::thread::sleep;

use fastrand::Rng;
use test_support::RedisCluster;

use super::server::Server;
use super::{Fault, Servers, between, fault, freeze_process};
use crate::checker::Checker;
use crate::items::Scope;

/// Items that are asked for often, and whose keys are like their paths.
const HOT: [u32; 5] = [0, 2, 3, 5, 10];

pub(crate) struct Cluster(RedisCluster);

impl Servers for Cluster {
    const NAME: &'static str = "cluster";

    const FAULTS: &'static [Fault<Self>] = &[
        fault("kill", Self::kill),
        fault("restart", Self::restart),
        fault("failover", Self::fail_over),
        fault("migrate", Self::migrate),
        fault("freeze", Self::freeze),
        fault("refuse", Self::refuse),
        fault("pause-writes", Self::pause_writes),
        fault("freeze-process", freeze_process),
    ];

    const CALM: [u64; 2] = [3000, 5000];

    fn address(&self, _: usize) -> String {
        self.0.url()
    }
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self(tokio::task::block_in_place(RedisCluster::start))
    }

    /// A primary is killed, and comes back as a replica of its replica.
    fn kill(&mut self, random: &mut Rng, checker: &Checker) {
        let (name, primary) = self.victim(random, checker);
        checker.set_condition(format!("primary of {name} killed"));
        self.0.kill(primary);
        self.0.wait_until_ok();
        checker.set_condition(format!("primary of {name} replaced"));
        sleep(between(random, 0, 1000));
        self.0.start_again(primary);
        self.0.wait_until_ok();
    }

    /// A primary is killed and started again without data, perhaps before it was replaced.
    fn restart(&mut self, random: &mut Rng, checker: &Checker) {
        let (name, primary) = self.victim(random, checker);
        let down = between(random, 50, 3000);
        checker.set_condition(format!("primary of {name} killed for {down:?}"));
        self.0.kill(primary);
        sleep(down);
        self.0.start_again(primary);
        checker.set_condition(format!("primary of {name} started again"));
        self.0.wait_until_ok();
    }

    /// A replica takes over, and nothing is lost.
    fn fail_over(&mut self, random: &mut Rng, checker: &Checker) {
        let (name, primary) = self.victim(random, checker);
        checker.set_condition(format!("manual failover of the primary of {name}"));
        self.0.fail_over_to(self.0.replicas_of(primary)[0]);
    }

    /// A slot moves to another primary.
    fn migrate(&mut self, random: &mut Rng, checker: &Checker) {
        let (name, primary) = self.victim(random, checker);
        let pause = between(random, 0, 800);
        checker.set_condition(format!("slot of {name} moves, with pauses of {pause:?}"));
        let other = || Some(self.0.primary_of(&random.u64(..).to_string()));
        let to = std::iter::from_fn(other).find(|other| *other != primary);
        self.0
            .migrate_slot(self.0.slot_of(&name), to.unwrap(), pause);
        checker.set_condition(format!("slot of {name} moved"));
        self.0.wait_until_ok();
    }

    /// A primary is stopped by a signal, perhaps until it was replaced, and continued.
    fn freeze(&mut self, random: &mut Rng, checker: &Checker) {
        let (name, primary) = self.victim(random, checker);
        let frozen = between(random, 500, 5000);
        checker.set_condition(format!("primary of {name} stopped for {frozen:?}"));
        self.0.signal(primary, "STOP");
        sleep(frozen);
        self.0.signal(primary, "CONT");
        checker.set_condition(format!("primary of {name} continued"));
        self.0.wait_until_ok();
    }

    /// A primary answers lookups and refuses all else.
    fn refuse(&mut self, random: &mut Rng, checker: &Checker) {
        self.victim_server(random, checker)
            .refuse_writes(random, checker);
        self.0.wait_until_ok();
    }

    /// A primary answers lookups and lets all else wait.
    fn pause_writes(&mut self, random: &mut Rng, checker: &Checker) {
        self.victim_server(random, checker)
            .pause_writes(random, checker);
        self.0.wait_until_ok();
    }

    fn victim_server(&self, random: &mut Rng, checker: &Checker) -> Server {
        let (name, primary) = self.victim(random, checker);
        Server::new(format!("primary of {name}"), self.0.connection(primary))
    }

    /// A name and its primary. If it is that of an item, the hits of that item are watched.
    fn victim(&self, random: &mut Rng, checker: &Checker) -> (String, usize) {
        let name = if let Some(item) = HOT.get(random.usize(..=HOT.len())) {
            checker.recovery.watch(*item);
            let path = Scope::Item(*item).path();
            format!("{{{}}}", path.trim_start_matches('/'))
        } else {
            random
                .choice(self.nonces_of_everything())
                .unwrap_or_default()
        };
        let primary = self.0.primary_of(&name);
        (name, primary)
    }

    /// The nonces that the entries of each handler are stamped with, so that everything can be evicted.
    fn nonces_of_everything(&self) -> Vec<String> {
        let names = |node| -> Vec<String> {
            let keys = redis::cmd("KEYS").arg("*:cache:all:*").to_owned();
            keys.query(&mut self.0.connection(node)).unwrap()
        };
        (0..self.0.node_count()).flat_map(names).collect()
    }
}
