//! Explanations of requests: why a stored response is reused or not.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Extensions, Method};
use tower_service::Service;

/// An explanation of a request: the address of its stored response, and the state of that entry.
///
/// [`Explanation::of`] sends a request through the application up to the handler, which does not run:
///
/// ```
/// # use axum::{Router, body::Body, extract::{Path, Request}, routing::get};
/// # use axum_redis_cache::{Cache, Explanation, cached};
/// #[cached(ttl = 300, key = "product:{id}", group = ["products", "product:{id}"])]
/// async fn get_product(Path(id): Path<u64>) -> String {
///     format!("product {id}")
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let state = Cache::in_memory();
/// let app = Router::new().route("/products/{id}", get(get_product)).with_state(state);
/// let request = Request::get("/products/42").body(Body::empty()).unwrap();
/// let explanation = Explanation::of(app, request).await.unwrap();
/// // The name of the handler comes first.
/// assert!(explanation.key.ends_with("get_product product:42"));
/// assert_eq!(explanation.groups, ["product:42", "products"]);
/// assert_eq!(explanation.outcome, "MISS");
/// println!("{explanation}");
/// # });
/// ```
///
/// The fields of the request and the values of the extractors select the variant and the groups of an
/// entry, so a key alone is not enough to explain a request. The extractors run as always.
///
/// A client cannot ask for an explanation. To get one through HTTP, add a route for it, and **serve
/// that route only where nobody but you can reach it**: an explanation contains keys and groups,
/// which may hold values that users sent.
///
/// ```
/// # use axum::{Router, body::Body, extract::{Path, Request, State}, routing::get};
/// # use axum_redis_cache::{Cache, Explanation, cached};
/// # #[cached(ttl = 300)]
/// # async fn get_product(Path(id): Path<u64>) -> String {
/// #     format!("product {id}")
/// # }
/// /// `/debug/products/42?currency=eur` explains `/products/42?currency=eur`.
/// async fn explain(State(app): State<Router>, request: Request) -> String {
///     let target = request.uri().to_string();
///     let target = target.strip_prefix("/debug").unwrap_or("/");
///     // A new request: the one at hand has been routed already.
///     let mut asked = Request::new(Body::empty());
///     *asked.headers_mut() = request.headers().clone();
///     *asked.uri_mut() = target.parse().unwrap_or_default();
///     match Explanation::of(app, asked).await {
///         Some(explanation) => explanation.to_string(),
///         None => "no `#[cached]` handler was reached".to_owned(),
///     }
/// }
///
/// # let state = Cache::in_memory();
/// let app = Router::new().route("/products/{id}", get(get_product)).with_state(state);
/// let debug = Router::new().route("/debug/{*target}", get(explain)).with_state(app.clone());
/// # let _: Router = debug;
/// // Serve `app` on the public address, and `debug` on a loopback one.
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the handler.
    pub handler: &'static str,
    /// The key of the response: between the braces of its names in Redis.
    pub key: String,
    /// The response of the key that the request selects, as a hash of the fields that `vary`
    /// nominates, of the values of `vary_by`, of path parameters that no argument reads, and of the
    /// mount; `None`: the key has one response.
    pub variant: Option<String>,
    /// The groups whose eviction drops the response.
    pub groups: Vec<String>,
    /// The value of `X-Redis-Cache` in the response to such a request, if the handler returns a
    /// storable response.
    pub outcome: &'static str,
    /// The reason for that outcome.
    pub reason: String,
    /// The stored response, whether it may be reused or not. Not looked up when the request may not use
    /// the cache, or while an eviction is pending.
    pub entry: Option<StoredEntry>,
    /// Set while an eviction that concerns the entry has not reached the store. Until it has, this
    /// process does not reuse the entry.
    pub eviction_is_pending: bool,
    /// Set while a request in this process runs the handler for the others, or waits for another
    /// process that does.
    pub is_filled_here: bool,
    /// The holder of the right to store the response, in this process or another.
    pub lease: LeaseState,
    /// The reasons why responses of the handler were not stored, and why requests did not use the
    /// cache, since this process started.
    pub not_stored: Vec<&'static str>,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEntry {
    /// The age of the response.
    pub age: Duration,
    /// The time for which the response stays fresh; zero: it is stale. `None`: no expiry.
    pub fresh_for: Option<Duration>,
    /// The nonces that were evicted after the response was stored, or that the store has lost:
    /// groups by their names, `everything`, `the variants of the key`, or `the groups it was stored
    /// in` if the route has other groups now. An evicted key without variants has no entry.
    pub evicted: Vec<String>,
}

/// The state of the right to store a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// The store was not asked, or had a fault.
    Unknown,
    /// No run holds the lease.
    Free,
    /// A run of the handler holds the lease, and other requests wait for it.
    Awaited,
    /// A run of the handler holds the lease, and no request waits for it: the response streams, or
    /// the request itself could not wait.
    Unawaited,
}

impl Explanation {
    /// Explains a GET or HEAD request as a client would send it to the application. A request that
    /// was routed before keeps the parameters of that route, so make a new one.
    ///
    /// Returns `None` if the request reached no handler with `#[cached]`: it has another method,
    /// and was not sent; or another handler ran and answered it; or a middleware or an extractor
    /// rejected it.
    pub async fn of<S: Service<Request>>(mut app: S, mut request: Request) -> Option<Self> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return None;
        }
        let explanation_slot = ExplanationSlot::default();
        REQUESTED.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(explanation_slot.clone());
        poll_fn(|cx| app.poll_ready(cx)).await.ok()?;
        app.call(request).await.ok()?;
        explanation_slot
            .slot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Set by the first explanation. Before that, no request is searched for a slot.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The slot for the explanation of a request, in the extensions of the request. No client can send
/// one.
#[derive(Clone, Default)]
pub(crate) struct ExplanationSlot {
    slot: Arc<Mutex<Option<Explanation>>>,
}

impl ExplanationSlot {
    /// Returns the slot of a request, if the request is to be explained.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        if REQUESTED.load(Ordering::Relaxed) {
            extensions.get().cloned()
        } else {
            None
        }
    }

    pub(crate) fn set(&self, explanation: Explanation) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(explanation);
    }
}

impl fmt::Display for Explanation {
    /// Formats the explanation as a few lines, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.outcome, self.reason)?;
        writeln!(f, "handler     {}", self.handler)?;
        writeln!(f, "key         {}", self.key.escape_debug())?;
        if let Some(variant) = &self.variant {
            writeln!(f, "variant     {variant}")?;
        }
        for group in &self.groups {
            writeln!(f, "group       {}", group.escape_debug())?;
        }
        match &self.entry {
            Some(entry) => writeln!(f, "stored      {entry}")?,
            None if self.lease == LeaseState::Unknown => writeln!(f, "stored      unknown")?,
            None => writeln!(f, "stored      nothing that can be read")?,
        }
        if self.eviction_is_pending {
            writeln!(f, "eviction    waits for the store")?;
        }
        if self.is_filled_here {
            writeln!(
                f,
                "filled      by a request in this process, or it waits for another's"
            )?;
        }
        write!(f, "lease       {}", self.lease)?;
        for reason in &self.not_stored {
            write!(f, "\nnot stored  {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3?} ago, ", self.age)?;
        match self.fresh_for {
            None => f.write_str("fresh without expiry")?,
            Some(Duration::ZERO) => f.write_str("stale")?,
            Some(left) => write!(f, "fresh for {left:.3?}")?,
        }
        for evicted in &self.evicted {
            write!(f, ", evicted with {}", evicted.escape_debug())?;
        }
        Ok(())
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Free => "free",
            Self::Awaited => "held by a run that others wait for",
            Self::Unawaited => "held by a run that nobody waits for",
        })
    }
}
