//! Faults of Redis and of the connections to it, one after the other.

use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use test_support::{Proxy, RedisServer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed, and started again without data.
    Restart,
    /// Stopped by a signal, and continued with its data.
    Freeze,
    /// All connections of one process are closed.
    Cut,
    /// A connection of one process is reset in the middle of a reply.
    CutReply,
    /// Replies to one process are late, but within the time budget: while only one process is cut
    /// off from Redis, the others cannot know what it could not evict.
    Slow,
    /// Replies to all processes are late, perhaps later than the time budget.
    AllSlow,
    /// Nothing more can be stored.
    OutOfMemory,
    /// Redis closes all connections.
    KillClients,
    /// Redis forgets everything.
    Flush,
    /// Redis forgets names at random: entries, leases and nonces.
    Lose,
}

impl Fault {
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("restart", Self::Restart),
        ("freeze", Self::Freeze),
        ("cut", Self::Cut),
        ("cut-reply", Self::CutReply),
        ("slow", Self::Slow),
        ("all-slow", Self::AllSlow),
        ("out-of-memory", Self::OutOfMemory),
        ("kill-clients", Self::KillClients),
        ("flush", Self::Flush),
        ("lose", Self::Lose),
    ];
}

/// Redis, and the way of each process to it.
pub(crate) struct Network {
    pub(crate) redis: RedisServer,
    pub(crate) proxies: Vec<Proxy>,
}

impl Network {
    /// Makes a fault, says what it is, waits until it is over and heals it.
    pub(crate) fn suffer(&mut self, fault: Fault, random: &mut Rng, say: impl Fn(String)) {
        let process = random.usize(..self.proxies.len());
        let proxy = &self.proxies[process];
        match fault {
            Fault::Restart => self.restart(between(random, 200, 3000), say),
            Fault::Freeze => self.freeze(between(random, 50, 3000), say),
            Fault::Cut => {
                say(format!("connections of process {process} cut"));
                proxy.cut();
            }
            Fault::CutReply => {
                let bytes = random.usize(..4000);
                say(format!(
                    "a reply to process {process} cut after {bytes} bytes"
                ));
                proxy.cut_replies_after(bytes);
            }
            Fault::Slow => {
                let delay = between(random, 20, 80);
                say(format!("replies to process {process} late by {delay:?}"));
                slow_down(std::slice::from_ref(proxy), delay, random, say);
            }
            Fault::AllSlow => {
                let delay = between(random, 20, 400);
                say(format!("replies to all processes late by {delay:?}"));
                slow_down(&self.proxies, delay, random, say);
            }
            Fault::OutOfMemory => self.run_out_of_memory(between(random, 200, 2000), say),
            Fault::KillClients => {
                say("all connections closed by Redis".to_owned());
                self.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            }
            Fault::Flush => {
                say("everything flushed".to_owned());
                self.command(&["FLUSHALL"]);
            }
            Fault::Lose => {
                say("names lost at random".to_owned());
                self.lose(random.u32(1..200));
            }
        }
    }

    fn restart(&mut self, down: Duration, say: impl Fn(String)) {
        say(format!("Redis killed for {down:?}"));
        self.redis.kill();
        sleep(down);
        self.redis.start_again();
        say("Redis started again".to_owned());
    }

    fn freeze(&self, frozen: Duration, say: impl Fn(String)) {
        let server = self.redis.process();
        say(format!("Redis stopped for {frozen:?}"));
        self.redis.signal("STOP", server);
        sleep(frozen);
        self.redis.signal("CONT", server);
        say("Redis continued".to_owned());
    }

    fn run_out_of_memory(&self, full: Duration, say: impl Fn(String)) {
        say("Redis out of memory".to_owned());
        self.command(&["CONFIG", "SET", "maxmemory", "1"]);
        sleep(full);
        self.command(&["CONFIG", "SET", "maxmemory", "0"]);
        say("Redis has memory again".to_owned());
    }

    fn lose(&self, names: u32) {
        for _ in 0..names {
            let one = "return redis.call('DEL', redis.call('RANDOMKEY') or '')";
            self.command(&["EVAL", one, "0"]);
        }
    }

    fn command(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        let () = command
            .arg(&words[1..])
            .query(&mut self.redis.connection())
            .unwrap();
    }
}

fn slow_down(proxies: &[Proxy], delay: Duration, random: &mut Rng, say: impl Fn(String)) {
    for proxy in proxies {
        proxy.delay(delay);
    }
    sleep(between(random, 500, 2000));
    for proxy in proxies {
        proxy.pass();
    }
    say("replies in time again".to_owned());
}

pub(crate) fn between(random: &mut Rng, shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(random.u64(shortest..=longest))
}
