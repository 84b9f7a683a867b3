//! The same values in other spellings have the same key, and a write by one spelling drops what was
//! read by another.

use std::collections::BTreeMap;
use std::fmt::Debug;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, RawPathParams, State};
use axum::http::Uri;
use axum::routing::get;
use axum_redis_cache::{Cache, Explanation, KeyPart, cache_evict, cache_put, cached};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;

use crate::asking::{ask, read};
use crate::properties::{check, wait};
use crate::support::{App, request};

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Filter {
    #[serde(alias = "m")]
    n: u32,
    #[serde(default)]
    d: u32,
    o: Option<String>,
}

#[derive(Debug, Deserialize, KeyPart)]
struct KeyedFilter {
    #[serde(alias = "m")]
    n: u32,
    #[serde(default)]
    d: u32,
    o: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Place {
    b: u32,
    a: String,
}

#[derive(Debug, Deserialize, KeyPart)]
struct KeyedPlace {
    b: u32,
    a: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct OnlyText {
    a: String,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct OnlyNumber {
    b: u32,
}

/// A value, as a handler reads it.
#[derive(Clone, Debug)]
enum Value {
    Number(u32),
    Text(String),
}

/// The spelling of each character of a text.
type Ways = Vec<Index>;

fn ways() -> impl Strategy<Value = Ways> {
    proptest::collection::vec(any::<Index>(), 16)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![0_u32..12, Just(u32::MAX)].prop_map(Value::Number)
}

fn text() -> impl Strategy<Value = Value> {
    let character = select("abA1 +/%*~|=&,()?é\u{0}\"".chars().collect::<Vec<_>>());
    proptest::collection::vec(character, 1..3).prop_map(|text| Value::Text(text.iter().collect()))
}

impl Value {
    fn spelled(&self, ways: &Ways, is_of_query: bool) -> String {
        let text = match self {
            Self::Number(number) => {
                let sign = ["", "+", "", ""][ways[14].index(4)];
                let zeros = ["", "", "0", "00"][ways[15].index(4)];
                format!("{sign}{zeros}{number}")
            }
            Self::Text(text) => text.clone(),
        };
        let mut out = String::new();
        for (character, way) in text.chars().zip(ways.iter().cycle()) {
            let is_plain = character.is_ascii_alphanumeric() || "~*,()".contains(character);
            let way = way.index(3);
            if is_plain && way == 0 {
                out.push(character);
            } else if character == ' ' && is_of_query && way == 0 {
                out.push('+');
            } else {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    let code = if way == 1 {
                        format!("%{byte:02x}")
                    } else {
                        format!("%{byte:02X}")
                    };
                    out.push_str(&code);
                }
            }
        }
        out
    }
}

/// The values of a filter's query.
#[derive(Clone, Debug)]
struct Asked {
    n: Value,
    d: Option<Value>,
    o: Option<Value>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let d = proptest::option::of((0_u32..3).prop_map(Value::Number));
    let o = proptest::option::of(text());
    (number(), d, o).prop_map(|(n, d, o)| Asked { n, d, o })
}

impl Asked {
    /// The default of `d` is left out or written out, if that is wanted.
    fn spelled(&self, ways: &Ways, with_defaults: bool) -> String {
        let mut pairs = vec![(["n", "m", "%6e", "%6D"][ways[0].index(4)], Some(&self.n))];
        let zero = Value::Number(0);
        let d = match &self.d {
            Some(Value::Number(0)) if with_defaults && ways[1].index(2) == 0 => None,
            None if with_defaults && ways[1].index(2) == 0 => Some(&zero),
            d => d.as_ref(),
        };
        pairs.push((["d", "%64"][ways[2].index(2)], d));
        pairs.push((["o", "%6F"][ways[3].index(2)], self.o.as_ref()));
        pairs.retain(|(_, value)| value.is_some());
        if ways[4].index(2) == 0 {
            pairs.push(("utm_source", Some(&zero)));
        }
        let turn = ways[5].index(pairs.len());
        pairs.rotate_left(turn);
        let pairs = pairs.iter().map(|(name, value)| {
            let value = value.unwrap().spelled(ways, true);
            format!("{name}={value}")
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Makes a handler, and writes that name it.
macro_rules! resources {
    ($($name:ident($($argument:ident: $ty:ty),*);)*) => { $(
        mod $name {
            use super::*;

            #[cached(ttl = 60)]
            pub(super) async fn page(State(app): State<App> $(, $argument: $ty)*) -> String {
                let run = body(app).await;
                format!("{run} {:?}", ($($argument,)*))
            }

            #[cache_evict(page)]
            pub(super) async fn evict() {}

            #[cache_put(page)]
            pub(super) async fn put(State(app): State<App>) -> String {
                body(app).await
            }

            pub(super) fn router(reads: &[&str], writes: &[&str]) -> Router {
                let mut router = Router::new();
                for route in reads {
                    router = router.route(route, get(page).put(put).delete(evict));
                }
                for route in writes {
                    router = router.route(route, axum::routing::delete(evict).put(put));
                }
                router.with_state(App::counting(Cache::in_memory()))
            }
        }
    )* };
}

async fn body(app: App) -> String {
    let body = http_body_util::BodyExt::collect(app.run().await.into_body()).await;
    String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
}

resources! {
    of_number(a: Path<u32>);
    of_text(a: Path<String>);
    of_tuple(a: Path<(String, u32)>);
    of_struct(a: Path<Place>);
    of_map(a: Path<BTreeMap<String, String>>);
    of_pairs(a: Path<Vec<(String, String)>>);
    of_texts(a: Path<Vec<String>>);
    of_keyed_struct(a: Path<KeyedPlace>);
    of_raw_params(a: RawPathParams);
    of_result(a: Result<Path<(String, u32)>, PathRejection>);
    of_struct_and_number(a: Path<OnlyText>, b: Path<OnlyNumber>);
    of_query_of_pairs(q: Query<BTreeMap<String, String>>);
    of_filter(q: Query<Filter>);
    of_keyed_filter(q: Query<KeyedFilter>);
    of_number_and_filter(a: Path<u32>, q: Query<Filter>);
    of_text_and_keyed_filter(a: Path<String>, q: Query<KeyedFilter>);
    of_tuple_and_filter(a: Path<(String, u32)>, q: Query<Filter>);
    of_struct_and_filter(a: Path<Place>, q: Query<Filter>);
    of_number_at_two_mounts(a: Path<u32>);
    of_tuple_and_filter_at_two_mounts(a: Path<(String, u32)>, q: Query<Filter>);
}

/// The key and variant of a request.
async fn key(router: &Router, target: &str) -> (String, Option<String>) {
    let explained = Explanation::of(router.clone(), request("GET", target, &[])).await;
    let explained = explained.unwrap_or_else(|| panic!("a handler for {target}"));
    (explained.key, explained.variant)
}

/// The values of a route: a text and a number, or one of them.
#[derive(Clone, Copy)]
enum Values {
    None,
    Number,
    Text,
    Both,
    /// Both, as texts: those of a number differ with its zeros.
    Texts,
}

/// Fills a route with values: `a` is the text if there are two.
fn filled(route: &str, values: Values, (text, number): (&Value, &Value), ways: &Ways) -> String {
    let (a, b) = match values {
        Values::Number => (number, number),
        _ => (text, number),
    };
    let as_text = match (values, b) {
        (Values::Texts, Value::Number(number)) => Some(Value::Text(number.to_string())),
        _ => None,
    };
    let b = as_text.as_ref().unwrap_or(b);
    let a = a.spelled(ways, false);
    let b = b.spelled(&ways.iter().rev().copied().collect(), false);
    let filled = route.replace("{a}", &a).replace("{b}", &b);
    filled.replace("{x}", &a)
}

fn with_query(path: &str, query: Option<String>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

type Input = (Value, Value, Asked, Ways, Ways);

fn inputs() -> impl Strategy<Value = Input> {
    (text(), number(), asked(), ways(), ways())
}

fn keys_are_equal(router: &Router, route: &str, values: Values, has_query: bool) {
    check(400, &inputs(), |(text, number, asked, one, other)| {
        wait(async {
            let target = |ways: &Ways| {
                let path = filled(route, values, (&text, &number), ways);
                with_query(&path, has_query.then(|| asked.spelled(ways, false)))
            };
            let (one, other) = (target(&one), target(&other));
            prop_assume!(one.parse::<Uri>().is_ok() && other.parse::<Uri>().is_ok());
            prop_assert_eq!(
                key(router, &one).await,
                key(router, &other).await,
                "{} {}",
                one,
                other
            );
            Ok(())
        })
    });
}

#[test]
fn equal_values_have_equal_keys() {
    use Values::{Both, None, Number, Text};
    let (one, two) = ("/r/{a}", "/r/{a}/{b}");
    keys_are_equal(&of_number::router(&[one], &[]), one, Number, false);
    keys_are_equal(&of_text::router(&[one], &[]), one, Text, false);
    keys_are_equal(&of_tuple::router(&[two], &[]), two, Both, false);
    keys_are_equal(&of_struct::router(&[two], &[]), two, Both, false);
    keys_are_equal(&of_filter::router(&["/r"], &[]), "/r", None, true);
    keys_are_equal(&of_keyed_filter::router(&["/r"], &[]), "/r", None, true);
    keys_are_equal(
        &of_number_and_filter::router(&[one], &[]),
        one,
        Number,
        true,
    );
    keys_are_equal(
        &of_text_and_keyed_filter::router(&[one], &[]),
        one,
        Text,
        true,
    );
    keys_are_equal(&of_tuple_and_filter::router(&[two], &[]), two, Both, true);
    keys_are_equal(&of_struct_and_filter::router(&[two], &[]), two, Both, true);
}

/// After a write by any spelling, at any of its routes, no read is answered with the old response.
fn nothing_old_is_read(
    router: impl Fn(&[&str], &[&str]) -> Router,
    (reads, writes): (&[&str], &[&str]),
    values: Values,
    has_query: bool,
) {
    let router = router(reads, writes);
    let all: Vec<&str> = reads.iter().chain(writes).copied().collect();
    let choices = (any::<Index>(), any::<Index>(), any::<bool>());
    let inputs = (inputs(), choices, asked());
    check(
        400,
        &inputs,
        |((text, number, asked, one, other), choices, other_asked)| {
            let (read_at, write_at, is_put) = choices;
            wait(async {
                let query = |ways: &Ways| has_query.then(|| asked.spelled(ways, true));
                let path = |route: &str, ways: &Ways| filled(route, values, (&text, &number), ways);
                let target =
                    with_query(&path(reads[read_at.index(reads.len())], &one), query(&one));
                // An eviction drops the entries of every query, a put that of its own.
                let written = if is_put || !has_query || one[7].index(2) == 0 {
                    query(&other)
                } else {
                    [
                        None,
                        Some(other_asked.spelled(&other, true)),
                        Some("x".to_owned()),
                    ][one[8].index(3)]
                    .clone()
                };
                let write = with_query(&path(all[write_at.index(all.len())], &other), written);
                prop_assume!(target.parse::<Uri>().is_ok() && write.parse::<Uri>().is_ok());
                read(&router, &target).await;
                let old = read(&router, &target).await;
                let Some(old) = old.strip_prefix("HIT ") else {
                    return Err(TestCaseError::fail(format!("GET {target}: {old}")));
                };
                let method = if is_put { "PUT" } else { "DELETE" };
                let answer = ask(&router, method, &write).await;
                let new = read(&router, &target).await;
                let (outcome, text) = new.split_once(' ').unwrap();
                prop_assert!(
                    text != old,
                    "GET {}, {} {} ({}), GET {}",
                    target,
                    method,
                    write,
                    answer,
                    new
                );
                prop_assert!(is_put || outcome == "MISS", "{} {}", target, new);
                Ok(())
            })
        },
    );
}

#[test]
fn a_write_by_any_spelling_at_any_route_leaves_nothing_old() {
    use Values::{Both, None, Number, Text, Texts};
    let (one, two): ((&[_], &[_]), (&[_], &[_])) = (
        (&["/r/{a}"], &["/w/{a}", "/v/{x}"]),
        (
            &["/r/{a}/{b}"],
            &["/w/{a}/{b}", "/swapped/{b}/{a}", "/v/{x}/{b}"],
        ),
    );
    let none: (&[_], &[_]) = (&["/r"], &["/w", "/v/w"]);
    nothing_old_is_read(of_number::router, one, Number, false);
    nothing_old_is_read(of_text::router, one, Text, false);
    nothing_old_is_read(of_tuple::router, two, Both, false);
    nothing_old_is_read(of_struct::router, two, Both, false);
    let ordered: (&[_], &[_]) = (&["/r/{a}/{b}"], &["/w/{a}/{b}", "/v/{x}/{b}"]);
    nothing_old_is_read(of_map::router, ordered, Texts, false);
    nothing_old_is_read(of_pairs::router, two, Texts, false);
    nothing_old_is_read(of_texts::router, two, Texts, false);
    nothing_old_is_read(of_keyed_struct::router, two, Both, false);
    nothing_old_is_read(of_raw_params::router, ordered, Texts, false);
    nothing_old_is_read(of_result::router, two, Both, false);
    nothing_old_is_read(of_struct_and_number::router, two, Both, false);
    nothing_old_is_read(of_query_of_pairs::router, none, None, true);
    nothing_old_is_read(of_filter::router, none, None, true);
    nothing_old_is_read(of_keyed_filter::router, none, None, true);
    nothing_old_is_read(of_number_and_filter::router, one, Number, true);
    nothing_old_is_read(of_text_and_keyed_filter::router, one, Text, true);
    nothing_old_is_read(of_tuple_and_filter::router, two, Both, true);
    nothing_old_is_read(of_struct_and_filter::router, two, Both, true);
}

#[test]
fn a_write_at_any_mount_leaves_nothing_old_at_another() {
    let one: (&[_], &[_]) = (&["/one/{a}", "/two/{a}"], &["/w/{a}", "/v/{x}"]);
    nothing_old_is_read(of_number_at_two_mounts::router, one, Values::Number, false);
    let two: (&[_], &[_]) = (&["/one/{a}/{b}", "/two/{a}/{b}"], &["/swapped/{b}/{a}"]);
    nothing_old_is_read(
        of_tuple_and_filter_at_two_mounts::router,
        two,
        Values::Both,
        true,
    );
}
