//! Random requests, of which many have the same values in other spellings, and some nearly the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Form, Path, Query, RawQuery};
use axum::http::Uri;
use axum::routing::{MethodRouter, get};
use axum_redis_cache::{Cache, Explanation, KeyPart, cached};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde::{Deserialize, Deserializer};

use crate::asking::read;
use crate::support::request;

/// The number of requests to each handler.
const REQUESTS: u32 = 3_600;

fn echo(arguments: &dyn Debug) -> String {
    format!("{arguments:?}")
}

/// Makes a handler that answers with its arguments.
macro_rules! echoes {
    ($($name:ident($($argument:ident: $ty:ty),*);)*) => { $(
        #[cached(ttl = 60)]
        async fn $name($($argument: $ty),*) -> String {
            echo(&($($argument,)*))
        }
    )* };
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Pair {
    b: u8,
    a: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Plain {
    #[serde(alias = "m", alias = "N")]
    n: u32,
    #[serde(default)]
    d: u32,
    o: Option<String>,
}

#[derive(Debug, Deserialize, KeyPart)]
struct Keyed {
    #[serde(alias = "m", alias = "N")]
    n: u32,
    #[serde(default)]
    d: u32,
    o: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Flat {
    n: String,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct FlatStruct {
    d: Option<String>,
    #[serde(flatten)]
    plain: Named,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Named {
    n: String,
    o: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Float {
    n: f64,
    o: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[serde(alias = "a", alias = "1")]
    Low,
    High,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Kinds {
    n: Kind,
    o: Option<Other>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Other {
    High,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "n", rename_all = "lowercase")]
#[allow(dead_code)]
enum Tagged {
    Low { o: Option<String> },
    High { d: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Untagged {
    One { n: String },
    Two { m: String, o: Option<String> },
    Any(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code)]
#[derive(Default)]
struct Strict {
    n: String,
    m: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Folded {
    #[serde(deserialize_with = "folded")]
    n: String,
    #[serde(default, deserialize_with = "folded", alias = "d")]
    o: String,
}

fn folded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| text.to_lowercase())
}

#[derive(Debug, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
#[allow(dead_code)]
struct Counted(usize);

impl From<BTreeMap<String, String>> for Counted {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map.len())
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
#[allow(dead_code)]
struct Newtype(Plain);

echoes! {
    path_u64(a: Path<u64>);
    path_i8(a: Path<i8>);
    path_float(a: Path<f64>);
    path_char(a: Path<char>);
    path_bool(a: Path<bool>);
    path_string(a: Path<String>);
    path_kind(a: Path<Kind>);
    path_tuple(a: Path<(String, u64)>);
    path_struct(a: Path<Pair>);
    path_map(a: Path<BTreeMap<String, String>>);
    path_texts(a: Path<Vec<String>>);
    path_pairs(a: Path<Vec<(String, String)>>);
    path_result(a: Result<Path<u64>, PathRejection>);
    path_tuple_result(a: Result<Path<(String, u64)>, PathRejection>);
    query_plain(q: Query<Plain>);
    query_keyed(q: Query<Keyed>);
    query_newtype(q: Query<Newtype>);
    query_flat(q: Query<Flat>);
    query_flat_struct(q: Query<FlatStruct>);
    query_pairs(q: Query<Vec<(String, String)>>);
    query_map(q: Query<BTreeMap<String, String>>);
    query_result(q: Result<Query<Plain>, QueryRejection>);
    query_keyed_result(q: Result<Query<Keyed>, QueryRejection>);
    query_float(q: Query<Float>);
    query_kinds(q: Query<Kinds>);
    query_tagged(q: Query<Tagged>);
    query_untagged(q: Query<Untagged>);
    query_strict(q: Query<Strict>);
    query_folded(q: Query<Folded>);
    query_counted(q: Query<Counted>);
    form_plain(q: Form<Plain>);
    raw_query(q: RawQuery);
    two_queries(p: Query<Plain>, q: Query<Vec<(String, String)>>);
    path_and_query(a: Path<String>, q: Query<Plain>);
    path_and_results(a: Result<Path<u64>, PathRejection>, q: Result<Query<Plain>, QueryRejection>);
    two_keyed(a: Path<String>, p: Query<Keyed>, q: Query<Vec<(String, String)>>);
}

#[cached(ttl = 60, key = "t:{a}{b}")]
async fn template_of_two(Path((a, b)): Path<(String, String)>) -> String {
    echo(&(a, b))
}

#[cached(ttl = 60, key = "{a}:{b}:")]
async fn template_with_numbers(Path((a, b)): Path<(String, i8)>) -> String {
    echo(&(a, b))
}

#[cached(ttl = 60, key = "{p.b}")]
async fn template_of_a_field(Path(p): Path<Pair>) -> String {
    echo(&p)
}

#[cached(ttl = 60, key = "{q.n}")]
async fn template_of_a_query(Query(q): Query<Plain>) -> String {
    echo(&q)
}

#[cached(ttl = 60, key = "{q.o}{a}")]
async fn template_of_both(Path(a): Path<String>, Query(q): Query<Keyed>) -> String {
    echo(&(a, q))
}

mod extra {
    use axum_extra::extract::{OptionalQuery, Query, QueryRejection};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    pub(super) struct Listed {
        #[serde(default)]
        n: Vec<String>,
        #[serde(default, alias = "m")]
        o: Vec<u8>,
        d: Option<String>,
    }

    #[derive(Debug, Deserialize, KeyPart)]
    pub(super) struct KeyedListed {
        #[serde(default)]
        n: Vec<String>,
        o: Option<String>,
    }

    echoes! {
        optional_query(q: OptionalQuery<Plain>);
        optional_listed(q: OptionalQuery<Listed>);
        query_listed(q: Query<Listed>);
        query_keyed_listed(q: Query<KeyedListed>);
        query_result(q: Result<Query<Listed>, QueryRejection>);
        query_repeated(q: Query<Plain>);
        optional_result(q: Result<OptionalQuery<Plain>, axum_extra::extract::OptionalQueryRejection>);
    }

    #[test]
    fn an_extractor_of_axum_extra_has_what_an_uncached_run_gives() {
        answers_as_uncached("/", get(optional_query));
        answers_as_uncached("/", get(optional_listed));
        answers_as_uncached("/", get(query_listed));
        answers_as_uncached("/", get(query_keyed_listed));
        answers_as_uncached("/", get(query_result));
        answers_as_uncached("/", get(query_repeated));
        answers_as_uncached("/", get(optional_result));
    }
}

/// Runs something to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Runs a test on many inputs; says for which it fails.
pub(crate) fn check<S>(cases: u32, inputs: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 0,
        max_global_rejects: 1_000_000,
        ..Config::default()
    };
    match TestRunner::new(config).run(inputs, test) {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => panic!("{reason}\nof {input:?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A segment of a path: often a number, sometimes what looks like an end or a separator.
fn segment() -> impl Strategy<Value = String> {
    let number = select(vec![
        "1", "01", "%31", "+1", "2", "10", "-1", "%2B1", "1.0", "1e0",
    ]);
    let text = select(vec![
        "a", "%61", "A", "low", "high", "l%6Fw", "true", "inf", "NaN", "-0",
    ]);
    let odd = [
        "%2F", "%2f", "/", "%20", "+", "%25", "*", "~", "|", "=", "&", ",", "%2C", "%28", "(", ")",
        "%FF", "%FE", "%C3%A9", "%00", "%3F", "!", "%7E", "%2A",
    ];
    let odd = vec(
        prop_oneof![select(odd.to_vec()), select(vec!["1", "a"])],
        1..3,
    );
    prop_oneof![
        3 => number.prop_map(str::to_owned),
        3 => text.prop_map(str::to_owned),
        2 => odd.prop_map(|pieces| pieces.concat()),
    ]
}

fn query() -> impl Strategy<Value = Option<String>> {
    let name = prop_oneof![
        6 => select(vec!["n", "%6e", "%6E", "n"]),
        2 => select(vec!["m", "N"]),
        4 => select(vec!["o", "d"]),
        2 => select(vec!["x", "utm_source", "", "*", "%FF", "n%3D1"]),
    ];
    let value = prop_oneof![
        6 => select(vec!["=1", "=01", "=%31", "=%2B1", "=2", "=0"]),
        3 => select(vec!["=a", "=%61", "=A", "=low", "=high", "=l%6fw", "=LOW"]),
        2 => select(vec!["=a+b", "=a%20b", "=a%2Bb", "=1.0", "=1e0", "=-0", "=0.0", "=NaN", "=inf"]),
        2 => select(vec!["=", "", "=+1", "=%FF", "=%FE", "=%EF%BF%BD", "=*", "=~", "=%7E"]),
        2 => select(vec!["=1%26d=1", "=1&d=1", "=a,b", "=a%2Cb", "=(", "=a)", "==", "=1%3D", "=?"]),
    ];
    let joint = prop_oneof![9 => Just("&"), 1 => Just("&&")];
    let pair = (name, value).prop_map(|(name, value)| [name, value].concat());
    option::weighted(
        0.9,
        (vec(pair, 0..4), joint).prop_map(|(pairs, joint)| pairs.join(joint)),
    )
}

/// A target of a route: for each parameter a segment, and a query.
fn targets(route: &str) -> impl Strategy<Value = String> + use<> {
    let parameters = route.matches('{').count();
    let start = route
        .split('{')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    (vec(segment(), parameters), query())
        .prop_map(move |(segments, query)| {
            let path = segments
                .iter()
                .fold(start.clone(), |path, segment| path + "/" + segment);
            let path = if path.is_empty() {
                "/".to_owned()
            } else {
                path
            };
            query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
        })
        .prop_filter("a URI", |target| target.parse::<Uri>().is_ok())
}

/// Requests to a router with a cache have the same answer as without one.
fn answers_as_uncached(route: &str, methods: MethodRouter<Cache>) {
    let cached = Router::new()
        .route(route, methods.clone())
        .with_state(Cache::in_memory());
    let twin = Router::new()
        .route(route, methods)
        .with_state(Cache::disabled());
    let hits = AtomicUsize::new(0);
    let made_for: RefCell<HashMap<String, String>> = RefCell::default();
    check(REQUESTS, &targets(route), |target| {
        wait(async {
            let answer = read(&cached, &target).await;
            let right = read(&twin, &target).await;
            let (outcome, body) = answer.split_once(' ').unwrap();
            let (_, right) = right.split_once(' ').unwrap();
            if outcome == "HIT" {
                hits.fetch_add(1, Ordering::Relaxed);
            } else {
                made_for
                    .borrow_mut()
                    .entry(body.to_owned())
                    .or_insert(target.clone());
            }
            if body != right {
                let key = Explanation::of(cached.clone(), request("GET", &target, &[])).await;
                let made_for = made_for.borrow().get(body).cloned();
                let key = key.map(|it| it.key);
                let text = format!(
                    "{outcome} {body}, right is {right}\nmade for {made_for:?}\nkey {key:?}"
                );
                return Err(TestCaseError::fail(text));
            }
            Ok(())
        })
    });
    let hits = hits.into_inner();
    // Some types refuse most random requests.
    assert!(hits > 4, "only {hits} HITs");
}

#[test]
fn a_path_has_what_an_uncached_run_gives() {
    answers_as_uncached("/{a}", get(path_u64));
    answers_as_uncached("/{a}", get(path_i8));
    answers_as_uncached("/{a}", get(path_float));
    answers_as_uncached("/{a}", get(path_char));
    answers_as_uncached("/{a}", get(path_bool));
    answers_as_uncached("/{a}", get(path_string));
    answers_as_uncached("/{a}", get(path_kind));
    answers_as_uncached("/{a}/{b}", get(path_tuple));
    answers_as_uncached("/{a}/{b}", get(path_struct));
    answers_as_uncached("/{a}/{b}", get(path_map));
    answers_as_uncached("/{a}/{b}", get(path_texts));
    answers_as_uncached("/{a}/{*b}", get(path_pairs));
    answers_as_uncached("/{a}", get(path_result));
    answers_as_uncached("/{a}/{*b}", get(path_tuple_result));
}

#[test]
fn a_query_has_what_an_uncached_run_gives() {
    answers_as_uncached("/", get(query_plain));
    answers_as_uncached("/", get(query_keyed));
    answers_as_uncached("/", get(query_newtype));
    answers_as_uncached("/", get(query_flat));
    answers_as_uncached("/", get(query_flat_struct));
    answers_as_uncached("/", get(query_pairs));
    answers_as_uncached("/", get(query_map));
    answers_as_uncached("/", get(query_result));
    answers_as_uncached("/", get(query_keyed_result));
    answers_as_uncached("/", get(form_plain));
    answers_as_uncached("/", get(raw_query));
}

#[test]
fn a_query_of_odd_types_has_what_an_uncached_run_gives() {
    answers_as_uncached("/", get(query_float));
    answers_as_uncached("/", get(query_kinds));
    answers_as_uncached("/", get(query_tagged));
    answers_as_uncached("/", get(query_untagged));
    answers_as_uncached("/", get(query_strict));
    answers_as_uncached("/", get(query_folded));
    answers_as_uncached("/", get(query_counted));
}

#[test]
fn several_arguments_have_what_an_uncached_run_gives() {
    answers_as_uncached("/", get(two_queries));
    answers_as_uncached("/{a}", get(path_and_query));
    answers_as_uncached("/{a}", get(path_and_results));
    answers_as_uncached("/{a}", get(two_keyed));
}

#[test]
fn a_template_has_what_an_uncached_run_gives() {
    answers_as_uncached("/{a}/{b}", get(template_of_two));
    answers_as_uncached("/{a}/{b}", get(template_with_numbers));
    answers_as_uncached("/{a}/{b}", get(template_of_a_field));
    answers_as_uncached("/", get(template_of_a_query));
    answers_as_uncached("/{a}", get(template_of_both));
}
