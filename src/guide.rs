//! The guide: what the README leaves out, a chapter for each question.
//!
//! | chapter | question |
//! | --- | --- |
//! | [`quick_start`] | How do I get from an empty directory to a cached handler in Redis? |
//! | [`keys`] | What is a response found by, and what does the compiler check? |
//! | [`groups`] | How is one entry evicted, or everything of a kind? |
//! | [`http`] | What do browsers and proxies see, and what is not stored? |
//! | [`users`] | How are responses cached that differ by user? |
//! | [`write_through`] | How does a write fill the cache? |
//! | [`values`] | How is something cached that is no response? |
//! | [`failures`] | What happens when something fails, and what is not promised? |
//! | [`deployment`] | How is it set up for a server, a cluster, Sentinels, TLS? |
//! | [`telemetry`] | What do logs, traces and metrics say? |
//! | [`testing`] | How do I test an application that caches? |
//! | [`migrating`] | What becomes of the caching that I have? |
//!
//! The references of the attributes are at [`cached`](macro@crate::cached),
//! [`cache_evict`](macro@crate::cache_evict) and [`cache_put`](macro@crate::cache_put).

// Of two definitions of a link the first counts: those of the chapters lead to files, these to pages.
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
#[doc = include_str!("../docs/guide/telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide_links.md")]
#[doc = include_str!("../docs/guide/migrating.md")]
pub mod migrating {}
