//! The guide, with one chapter for each question.
//!
//! | chapter | question |
//! | --- | --- |
//! | [`quick_start`] | How do I get from an empty directory to a cached handler in Redis? |
//! | [`keys`] | How is the key of a response built, and what does the compiler check? |
//! | [`groups`] | How do I evict one entry, a group, or everything? |
//! | [`http`] | Which fields do browsers and proxies see, and which responses are not stored? |
//! | [`cdn`] | How do I put nginx, Varnish or a CDN in front of the application? |
//! | [`users`] | How do I cache responses that differ by user? |
//! | [`write_through`] | How does a write fill the cache? |
//! | [`values`] | How do I cache values that are not responses? |
//! | [`failures`] | What are the effects of failures, and what is not promised? |
//! | [`deployment`] | How do I configure one server, a cluster, Sentinels, TLS? |
//! | [`compatibility`] | Which servers were tested, and what differs between them? |
//! | [`telemetry`] | Which logs, traces and metrics are there? |
//! | [`testing`] | How do I test an application that caches? |
//! | [`migrating`] | How do I migrate from caching by hand, or from fastapi-redis-sdk? |
//!
//! The references of the attributes are at [`cached`](macro@crate::cached),
//! [`cache_evict`](macro@crate::cache_evict) and [`cache_put`](macro@crate::cache_put).

// If a link is defined twice, the first definition counts: those of the chapters lead to files, these to
// pages.
#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/quick_start.md")]
pub mod quick_start {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/keys.md")]
pub mod keys {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/groups.md")]
pub mod groups {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/http.md")]
pub mod http {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/cdn.md")]
pub mod cdn {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/users.md")]
pub mod users {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/write_through.md")]
pub mod write_through {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/values.md")]
pub mod values {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/failures.md")]
pub mod failures {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/compatibility.md")]
pub mod compatibility {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/migrating.md")]
pub mod migrating {}
