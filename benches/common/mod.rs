//! What the benches of many requests share: servers in processes of their own, and a client cheap
//! enough to run beside them.

pub(crate) mod answer;
mod arguments;
pub(crate) mod server;
pub(crate) mod spread;

pub(crate) use arguments::arguments;
