//! What the benches of many requests share: servers in processes of their own, and a client cheap
//! enough to run beside them.

pub(crate) mod answer;
pub(crate) mod server;
pub(crate) mod spread;

/// The words of the command line, without what cargo adds.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect()
}
