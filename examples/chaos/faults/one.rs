//! One Redis, with a proxy in front of it for each process.

use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use test_support::{Proxy, RedisServer};

use super::server::Server;
use super::{Fault, Servers, between, fault, freeze_process};
use crate::checker::Checker;

pub(crate) struct One {
    redis: RedisServer,
    proxies: Vec<Proxy>,
}

impl Servers for One {
    const NAME: &'static str = "one";

    const FAULTS: &'static [Fault<Self>] = &[
        fault("restart", Self::restart),
        fault("freeze", Self::freeze),
        fault("cut", Self::cut),
        fault("cut-reply", Self::cut_reply),
        fault("slow", Self::slow),
        fault("all-slow", Self::all_slow),
        fault("out-of-memory", Self::run_out_of_memory),
        fault("kill-clients", Self::kill_clients),
        fault("flush", Self::flush),
        fault("lose", Self::lose),
        fault("refuse", Self::refuse),
        fault("pause-writes", Self::pause_writes),
        fault("demote", Self::demote),
        fault("snapshot", Self::snapshot),
        fault("slow-link", Self::slow_link),
        fault("silent", Self::silent),
        fault("strand", Self::strand),
        fault("freeze-process", freeze_process),
    ];

    const CALM: [u64; 2] = [1500, 3000];

    fn address(&self, process: usize) -> String {
        self.proxies[process].url()
    }
}

impl One {
    pub(crate) async fn start(processes: usize) -> Self {
        let redis = tokio::task::block_in_place(RedisServer::start);
        let mut proxies = Vec::new();
        for _ in 0..processes {
            proxies.push(Proxy::start(redis.address().into()).await);
        }
        Self { redis, proxies }
    }

    /// Killed, and started again without data.
    fn restart(&mut self, random: &mut Rng, checker: &Checker) {
        let down = between(random, 200, 3000);
        checker.set_condition(format!("Redis killed for {down:?}"));
        self.redis.kill();
        sleep(down);
        self.redis.start_again();
        checker.set_condition("Redis started again".to_owned());
    }

    /// Stopped by a signal, and continued with its data.
    fn freeze(&mut self, random: &mut Rng, checker: &Checker) {
        let frozen = between(random, 50, 3000);
        let server = self.redis.process();
        checker.set_condition(format!("Redis stopped for {frozen:?}"));
        self.redis.signal("STOP", server);
        sleep(frozen);
        self.redis.signal("CONT", server);
        checker.set_condition("Redis continued".to_owned());
    }

    /// All connections of one process are closed.
    fn cut(&mut self, random: &mut Rng, checker: &Checker) {
        let process = random.usize(..self.proxies.len());
        checker.set_condition(format!("connections of process {process} cut"));
        self.proxies[process].cut();
    }

    /// A connection of one process is reset in the middle of a reply, perhaps a large one.
    fn cut_reply(&mut self, random: &mut Rng, checker: &Checker) {
        let process = random.usize(..self.proxies.len());
        let bytes = *random.choice(&[4000, 400_000]).unwrap_or(&0);
        let bytes = random.usize(..=bytes);
        checker.set_condition(format!(
            "a reply to process {process} cut after {bytes} bytes"
        ));
        self.proxies[process].cut_replies_after(bytes);
    }

    /// Replies to one process are late, but within the time budget: while only one process is cut
    /// off from Redis, the others cannot know what it could not evict.
    fn slow(&mut self, random: &mut Rng, checker: &Checker) {
        let process = random.usize(..self.proxies.len());
        let delay = between(random, 20, 80);
        checker.set_condition(format!("replies to process {process} late by {delay:?}"));
        slow_down(&self.proxies[process..=process], delay, random, checker);
    }

    /// Replies to all processes are late, perhaps later than the time budget.
    fn all_slow(&mut self, random: &mut Rng, checker: &Checker) {
        let delay = between(random, 20, 400);
        checker.set_condition(format!("replies to all processes late by {delay:?}"));
        slow_down(&self.proxies, delay, random, checker);
    }

    /// Nothing more can be stored.
    fn run_out_of_memory(&mut self, random: &mut Rng, checker: &Checker) {
        let time = between(random, 200, 2000);
        self.server()
            .configure("maxmemory", ["1", "0"], time, checker);
    }

    /// Redis closes all connections.
    fn kill_clients(&mut self, _: &mut Rng, checker: &Checker) {
        checker.set_condition("all connections closed by Redis".to_owned());
        self.server().command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }

    /// Redis forgets everything.
    fn flush(&mut self, _: &mut Rng, checker: &Checker) {
        checker.set_condition("everything flushed".to_owned());
        self.server().command(&["FLUSHALL"]);
    }

    /// Redis forgets names at random: entries, leases and nonces.
    fn lose(&mut self, random: &mut Rng, checker: &Checker) {
        checker.set_condition("names lost at random".to_owned());
        for _ in 0..random.u32(1..200) {
            let one = "return redis.call('DEL', redis.call('RANDOMKEY') or '')";
            self.server().command(&["EVAL", one, "0"]);
        }
    }

    /// Redis answers lookups and refuses all else.
    fn refuse(&mut self, random: &mut Rng, checker: &Checker) {
        self.server().refuse_writes(random, checker);
    }

    /// Redis answers lookups and lets all else wait.
    fn pause_writes(&mut self, random: &mut Rng, checker: &Checker) {
        self.server().pause_writes(random, checker);
    }

    /// Redis becomes the replica of a server that is not there, and is a primary again.
    fn demote(&mut self, random: &mut Rng, checker: &Checker) {
        checker.set_condition("Redis made a replica".to_owned());
        self.server().command(&["REPLICAOF", "127.0.0.1", "1"]);
        sleep(between(random, 20, 2000));
        self.server().command(&["REPLICAOF", "NO", "ONE"]);
        checker.set_condition("Redis is a primary again".to_owned());
    }

    /// Killed, and started again with what it had some time before.
    fn snapshot(&mut self, random: &mut Rng, checker: &Checker) {
        self.server().command(&["SAVE"]);
        sleep(between(random, 50, 1000));
        checker.set_condition("Redis killed".to_owned());
        self.redis.kill();
        self.redis.start_again();
        checker.set_condition("Redis started again with older data".to_owned());
    }

    /// Replies to all processes share a link that is slow.
    fn slow_link(&mut self, random: &mut Rng, checker: &Checker) {
        let rate = random.u32(20_000..500_000);
        checker.set_condition(format!("{rate} bytes of replies in a second"));
        for proxy in &self.proxies {
            proxy.limit(rate);
        }
        sleep(between(random, 500, 2000));
        for proxy in &self.proxies {
            proxy.pass();
        }
        checker.set_condition("a fast link again".to_owned());
    }

    /// Connections of all processes forward nothing, and then go on or are closed.
    fn silent(&mut self, random: &mut Rng, checker: &Checker) {
        let silence = between(random, 50, 3000);
        checker.set_condition(format!("all connections silent for {silence:?}"));
        for proxy in &self.proxies {
            proxy.hang();
        }
        sleep(silence);
        let closed = random.bool();
        for proxy in &self.proxies {
            if closed {
                proxy.cut();
            }
            proxy.pass();
        }
        let end = if closed { "are closed" } else { "go on" };
        checker.set_condition(format!("silent connections {end}"));
    }

    /// Connections of one process forward nothing any more; new ones do.
    fn strand(&mut self, random: &mut Rng, checker: &Checker) {
        let process = random.usize(..self.proxies.len());
        checker.set_condition(format!("connections of process {process} stranded"));
        self.proxies[process].strand();
    }

    fn server(&self) -> Server {
        Server::new("Redis".to_owned(), self.redis.connection())
    }
}

fn slow_down(proxies: &[Proxy], delay: Duration, random: &mut Rng, checker: &Checker) {
    for proxy in proxies {
        proxy.delay(delay);
    }
    sleep(between(random, 500, 2000));
    for proxy in proxies {
        proxy.pass();
    }
    checker.set_condition("replies in time again".to_owned());
}
