//! The command line.

use crate::faults::Fault;

pub(crate) const USAGE: &str = "\
options:
  --seconds N      how long faults and load go on (20)
  --seed N         which faults and requests (random)
  --processes N    how many processes serve (3)
  --faults LIST    all, none, or some of: restart,freeze,cut,cut-reply,slow,all-slow,
                   out-of-memory,kill-clients,flush,lose (all)";

pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) processes: usize,
    pub(crate) faults: Vec<Fault>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            seconds: 20,
            seed: fastrand::u64(..1_000_000),
            processes: 3,
            faults: faults("all")?,
        };
        for pair in words.chunks(2) {
            match *pair {
                ["--seconds", value] => options.seconds = value.parse().ok()?,
                ["--seed", value] => options.seed = value.parse().ok()?,
                ["--processes", value] => options.processes = value.parse().ok()?,
                ["--faults", value] => options.faults = faults(value)?,
                _ => return None,
            }
        }
        (options.processes > 0).then_some(options)
    }
}

fn faults(list: &str) -> Option<Vec<Fault>> {
    let named = |name: &str| Fault::ALL.iter().find(|(known, _)| *known == name);
    match list {
        "none" => Some(Vec::new()),
        "all" => Some(Fault::ALL.map(|(_, fault)| fault).to_vec()),
        list => list
            .split(',')
            .map(|name| named(name).map(|(_, fault)| *fault))
            .collect(),
    }
}
