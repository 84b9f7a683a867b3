//! What the attributes promise, seen through HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backlog;
mod cache_groups;
mod cache_status;
mod conditional;
mod corrupt;
mod deployments;
mod directives;
mod disabled;
mod evict;
mod explain;
mod failover;
mod faults;
mod freshness;
mod keys;
mod layers;
mod outage;
mod outcomes;
mod put;
mod races;
mod read;
mod references;
mod restarts;
mod rights;
mod seed;
mod shapes;
mod stacking;
mod stale;
mod stampede;
mod storable;
mod streams;
mod structured;
mod support;
mod templates;
mod values;
mod vary;
