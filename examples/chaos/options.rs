//! The command line.

pub(crate) const USAGE: &str = "\
options:
  --servers NAME   one, cluster or sentinel: the latter need those features (one)
  --seconds N      how long faults and load go on (20)
  --seed N         which faults and requests (random)
  --processes N    how many processes serve (3)
  --faults LIST    all, none, or some of (all)
                   one: restart,freeze,cut,cut-reply,slow,all-slow,out-of-memory,kill-clients,
                        flush,lose
                   cluster: kill,restart,failover,migrate,freeze
                   sentinel: kill,restart,failover,freeze";

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
