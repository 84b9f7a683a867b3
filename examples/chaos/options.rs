//! The command line.

use crate::faults::cluster::Cluster;
use crate::faults::one::One;
use crate::faults::sentinel::Sentinel;
use crate::faults::{Servers, names};

const OPTIONS: &str = "\
options:
  --servers NAME   one, cluster or sentinel: the latter need those features (one)
  --seconds N      how long faults and load go on (20)
  --seed N         which faults and requests (random)
  --processes N    how many processes serve (3)
  --faults LIST    all, none, or some of these, separated by commas (all)";

pub(crate) fn usage() -> String {
    let lists = [
        (One::NAME, names::<One>()),
        (Cluster::NAME, names::<Cluster>()),
        (Sentinel::NAME, names::<Sentinel>()),
    ];
    let lists = lists.map(|(servers, names)| format!("    of {servers}: {names}"));
    format!("{OPTIONS}\n{}", lists.join("\n"))
}

pub(crate) struct Options<'a> {
    pub(crate) servers: &'a str,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) faults: &'a str,
}

impl<'a> Options<'a> {
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let mut options = Self {
            servers: "one",
            seconds: 20,
            seed: fastrand::u64(..1_000_000),
            processes: 3,
            faults: "all",
        };
        for pair in words.chunks(2) {
            match *pair {
                ["--servers", value] => options.servers = value,
                ["--seconds", value] => options.seconds = value.parse().ok()?,
                ["--seed", value] => options.seed = value.parse().ok()?,
                ["--processes", value] => options.processes = value.parse().ok()?,
                ["--faults", value] => options.faults = value,
                _ => return None,
            }
        }
        (options.processes > 0).then_some(options)
    }
}
