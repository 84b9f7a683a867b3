//! The way from a request to a reply: reads, evictions, writes, values and explanations.

mod body;
pub(crate) mod evict;
mod explain;
pub(crate) mod explanation;
mod handler_response;
pub(crate) mod read;
mod read_run;
mod reply;
pub(crate) mod request;
pub(crate) mod response_parts;
pub(crate) mod route;
pub(crate) mod run;
pub(crate) mod step;
mod store_response;
mod stored;
pub(crate) mod value;
pub(crate) mod write;
pub(crate) mod writer;
