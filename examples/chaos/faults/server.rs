//! Faults of a server that stays up.

use std::thread::sleep;
use std::time::Duration;

use fastrand::Rng;
use redis::Connection;

use super::between;
use crate::checker::Checker;

pub(super) struct Server {
    /// The name in the condition that is printed.
    name: String,
    connection: Connection,
}

impl Server {
    pub(super) fn new(name: String, connection: Connection) -> Self {
        Self { name, connection }
    }

    /// It answers lookups and refuses all else, because it has fewer than nine replicas.
    pub(super) fn refuse_writes(&mut self, random: &mut Rng, checker: &Checker) {
        let time = between(random, 20, 3000);
        self.configure("min-replicas-to-write", ["9", "0"], time, checker);
    }

    /// It answers lookups and lets all else wait.
    pub(super) fn pause_writes(&mut self, random: &mut Rng, checker: &Checker) {
        let pause = between(random, 20, 3000);
        checker.set_condition(format!("writes to {} paused for {pause:?}", self.name));
        self.command(&["CLIENT", "PAUSE", &pause.as_millis().to_string(), "WRITE"]);
        sleep(pause);
        checker.set_condition(format!("writes to {} go on", self.name));
    }

    /// A setting has the first value for a while, then the second.
    pub(super) fn configure(
        &mut self,
        name: &str,
        values: [&str; 2],
        time: Duration,
        checker: &Checker,
    ) {
        let [first, second] = values;
        checker.set_condition(format!("{name} of {} is {first} for {time:?}", self.name));
        self.command(&["CONFIG", "SET", name, first]);
        sleep(time);
        self.command(&["CONFIG", "SET", name, second]);
        checker.set_condition(format!("{name} of {} is {second} again", self.name));
    }

    pub(super) fn command(&mut self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        let () = command
            .arg(&words[1..])
            .query(&mut self.connection)
            .unwrap();
    }
}
