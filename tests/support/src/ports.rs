use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Connections do not choose their own port here, so a server that was killed finds its port free.
const PORTS: Range<u16> = 20_000..32_000;

/// The port of the cluster bus minus the port of its node. Redis 6.2 cannot change it.
pub(crate) const BUS_DISTANCE: u16 = 10_000;

/// Returns loopback ports for nodes of a cluster. The ports of their bus are free, too.
pub(crate) fn free_ports_with_bus<const COUNT: usize>() -> [u16; COUNT] {
    let port = || {
        let [bus] = free_ports();
        bus - BUS_DISTANCE
    };
    let mut ports = PORTS.map(|_| port()).filter(|port| is_free(*port));
    std::array::from_fn(|_| ports.next().expect("a free port"))
}

/// Loopback ports that are free, and that this process was not given for a long time.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // Processes begin at different ports, lest they try the same ones at the same time.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let [first, second, ..] = RandomState::new().hash_one(0).to_ne_bytes();
        AtomicU16::new(u16::from_ne_bytes([first, second]))
    });
    let number = || NEXT.fetch_add(1, Ordering::Relaxed);
    let port = || PORTS.start + number() % (PORTS.end - PORTS.start);
    let mut ports = PORTS.map(|_| port()).filter(|port| is_free(*port));
    std::array::from_fn(|_| ports.next().expect("a free port"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
