use std::any::Any;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;
use proptest::prelude::*;

use super::{Any as Anything, KeyPart, KeyWriter, Part, Text};

fn written(value: &impl KeyPart) -> String {
    Text::new().value(value).into_string()
}

#[test]
fn values_are_readable_where_they_can_be() {
    assert_eq!(written(&42_u64), "42");
    assert_eq!(written(&-1_i8), "-1");
    assert_eq!(written(&"tokio-rs_1.0"), "tokio-rs_1.0");
    assert_eq!(written(&"a/b:c d%~,;"), "a%2Fb%3Ac%20d%25%7E%2C%3B");
    assert_eq!(written(&'\u{e4}'), "%C3%A4");
    assert_eq!(written(&Some("x")), "x");
    assert_eq!(written(&None::<bool>), "~");
    assert_eq!(written(&Some(None::<bool>)), "~~");
}

/// Two parts, the first of which may be any number of parts deep.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::option_option, reason = "it must not be ambiguous")]
struct Pair(Option<Option<String>>, Option<i16>);

impl KeyPart for Pair {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.0.write(key);
        self.1.write(key);
    }
}

type Values = (
    String,
    Option<Pair>,
    Option<Option<String>>,
    char,
    (i16, bool),
);

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[~,;%:/a]{0,4}",
        "(%2F|%7E|~|,|;|None|a|\u{e4}){0,3}",
        any::<String>()
    ]
}

fn values() -> impl Strategy<Value = Values> {
    let nested = || prop::option::of(prop::option::of(hostile()));
    let pair = (nested(), prop::option::of(-2..2_i16)).prop_map(|(a, b)| Pair(a, b));
    let character = prop_oneof![prop::char::range('%', '~'), any::<char>()];
    (
        hostile(),
        prop::option::of(pair),
        nested(),
        character,
        (-2..2_i16, any::<bool>()),
    )
}

/// As the macro writes a template: values that could run into what follows end with `;`.
fn template((text, pair, nested, character, (number, flag)): &Values) -> String {
    let key = Text::new()
        .literal("k:")
        .value(text)
        .literal(";")
        .value(pair);
    let key = key
        .literal("/")
        .value(nested)
        .literal(";a")
        .value(character);
    key.literal(":")
        .value(number)
        .literal(";")
        .value(flag)
        .literal("%~")
        .into_string()
}

/// The same by the rules of the encoding, read backwards. What can be read back is injective.
fn read(key: &str) -> Option<[String; 6]> {
    let is_value = |c: char| c.is_ascii_alphanumeric() || "%~,.-_".contains(c);
    let mut rest = key.strip_prefix("k:")?;
    let mut out = [const { String::new() }; 6];
    for (value, end) in out.iter_mut().zip([";", "/", ";a", ":", ";", "%~"]) {
        let len = rest
            .find(|c| !is_value(c))
            .unwrap_or_else(|| rest.len() - end.len());
        *value = rest[..len].to_owned();
        rest = rest[len..].strip_prefix(end)?;
    }
    rest.is_empty().then_some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn different_values_never_write_the_same_key(a in values(), b in values()) {
        let key = template(&a);
        prop_assert_eq!(key == template(&b), a == b);
        let parts = [
            written(&a.0), written(&a.1), written(&a.2), written(&a.3), written(&a.4.0),
            written(&a.4.1),
        ];
        prop_assert_eq!(read(&key), Some(parts), "every value can be found in it again");
    }
}

proptest! {
    #[test]
    fn different_options_never_write_the_same_part(
        a in prop::option::of(prop::option::of(prop::option::of("[~,a]{0,2}"))),
        b in prop::option::of(prop::option::of(prop::option::of("[~,a]{0,2}"))),
    ) {
        prop_assert_eq!(written(&a) == written(&b), a == b);
    }
}

/// Whether no two of these values write the same, alone or with something after them.
fn are_told_apart<T: KeyPart>(values: &[T]) {
    let mut keys = std::collections::HashSet::new();
    for value in values {
        assert!(keys.insert(written(value)), "{}", written(value));
        assert!(keys.insert(written(&(value, ""))), "{}", written(value));
        assert!(keys.insert(written(&(value, "a"))), "{}", written(value));
    }
}

#[test]
fn sequences_write_how_many_there_are() {
    assert_eq!(written(&Vec::<u8>::new()), "0");
    assert_eq!(written(&vec![""]), "1,");
    assert_eq!(written(&[1, 2]), "2,1,2");
    assert_eq!(written(&&[1, 2][..]), "2,1,2");
    assert_eq!(written(&(1, ("b", ()), 'c')), "1,b,c");
    assert_eq!(written(&()), "");
    assert_eq!(written(&Some(())), "");
}

#[test]
fn nested_sequences_are_told_apart() {
    let texts = ["", "0", "1", "2", ",", "~", "1,"];
    let mut lists = vec![vec![]];
    for first in texts {
        lists.push(vec![first]);
        lists.extend(texts.map(|second| vec![first, second]));
    }
    are_told_apart(&lists);
    let mut nested = vec![vec![]];
    for first in &lists {
        nested.push(vec![first]);
        nested.extend(lists.iter().map(|second| vec![first, second]));
    }
    are_told_apart(&nested);
    let options: Vec<_> = lists.iter().map(Some).chain([None]).collect();
    are_told_apart(&options.iter().map(Some).chain([None]).collect::<Vec<_>>());
}

#[test]
fn addresses_and_durations_are_told_apart() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(written(&address("127.0.0.1:80").ip()), "127.0.0.1");
    assert_eq!(written(&address("127.0.0.1:80")), "127.0.0.1,80");
    assert_eq!(written(&address("[::1]:80").ip()), "%3A%3A1");
    let flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 1, 0).into();
    are_told_apart(&[
        address("0.0.0.1:8"),
        address("0.0.0.1:80"),
        address("[::1]:80"),
        address("[::1%1]:80"),
        address("[::ffff:0.0.0.1]:80"),
        flow,
    ]);

    assert_eq!(written(&Duration::from_secs(300)), "300");
    assert_eq!(written(&Duration::from_millis(1500)), "1.500000000");
    are_told_apart(&[(0, 0), (1, 0), (0, 1), (1, 5), (15, 0)].map(|(s, n)| Duration::new(s, n)));
    assert_eq!(written(&NonZero::<i8>::MIN), "-128");
}

/// Compiles only if each value can stand for a `T`.
fn stands_for<T: ?Sized>(_: impl Part<T>) {}

#[test]
fn values_stand_for_their_types() {
    stands_for::<u64>(7);
    stands_for::<u64>(&&&7);
    stands_for::<u64>(Path(&7));
    stands_for::<Option<u64>>(Some(7));
    stands_for::<Option<u64>>(&Extension(Some(&7)));
    stands_for::<String>("a");
    stands_for::<String>(&&String::new());
    stands_for::<String>(Cow::from("a"));
    stands_for::<str>(Box::<str>::from("a"));
    stands_for::<Arc<str>>("a");
    stands_for::<Option<Box<str>>>(Some(String::new()));
    stands_for::<Box<u8>>(Box::new(7));
    stands_for::<IpAddr>(Ipv4Addr::LOCALHOST);
    stands_for::<(String, u64)>(("a", 7));
    stands_for::<(String, u64)>(&(&"a", &7));
    stands_for::<(u8,)>((7,));
    stands_for::<()>(());
    stands_for::<Vec<String>>(["a", "b"]);
    stands_for::<Vec<(String, Option<i8>)>>(&[("a", Some(7))][..]);
    stands_for::<[String; 2]>(["a", "b"]);
    stands_for::<Arc<[u8]>>(vec![7]);
    stands_for::<Vec<[u8; 1]>>(Arc::<[[u8; 1]]>::from([[7]]));
    stands_for::<PhantomData<dyn Any>>(PhantomData);
    stands_for::<Anything>(Some("a"));
    stands_for::<Anything>(&Pair(None, None));
}

#[cfg(feature = "uuid")]
#[test]
fn a_uuid_is_written_in_one_way() {
    let uuid = uuid::Uuid::from_u128(0xAB);
    assert_eq!(written(&uuid), "00000000-0000-0000-0000-0000000000ab");
    stands_for::<uuid::Uuid>(&uuid);
}

#[cfg(feature = "chrono")]
#[test]
fn dates_and_times_of_chrono_are_told_apart() {
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, Timelike, Utc};

    let date = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let time = NaiveTime::from_hms_nano_opt(12, 34, 56, 7).unwrap();
    assert_eq!(written(&date), "2024-02-29");
    assert_eq!(written(&time), "12%3A34%3A56.000000007");
    assert_eq!(
        written(&date.and_hms_opt(1, 2, 3)),
        "2024-02-29T01%3A02%3A03"
    );
    are_told_apart(&[date, NaiveDate::MIN, NaiveDate::MAX, NaiveDate::default()]);

    // Written as chrono writes it, a leap second in the middle of a minute is the second after it.
    let leap = |nanosecond| time.with_nanosecond(nanosecond).unwrap();
    let next = NaiveTime::from_hms_nano_opt(12, 34, 57, 500_000_000).unwrap();
    are_told_apart(&[time, leap(1_500_000_000), leap(150_000_000), next]);

    let utc = date.and_time(time).and_utc();
    assert_eq!(written(&utc), written(&date.and_time(time)));
    let east = |seconds| utc.with_timezone(&FixedOffset::east_opt(seconds).unwrap());
    assert_eq!(east(0), east(3600));
    are_told_apart(&[east(0), east(3600), east(-3600), east(1)]);
    let last = DateTime::<Utc>::MAX_UTC.with_timezone(&FixedOffset::east_opt(3600).unwrap());
    assert!(written(&last).ends_with(",3600"));
    stands_for::<DateTime<FixedOffset>>(last);
    stands_for::<Option<DateTime<Utc>>>(Some(utc));
}

#[cfg(feature = "time")]
#[test]
fn dates_and_times_of_time_are_told_apart() {
    use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    let date = Date::from_ordinal_date(2024, 60).unwrap();
    let time = Time::from_hms_nano(12, 34, 56, 7).unwrap();
    assert_eq!(written(&date), "2024-02-29");
    assert_eq!(written(&time), "12%3A34%3A56.000000007");
    let both = PrimitiveDateTime::new(date, Time::MIDNIGHT);
    assert_eq!(written(&both), "2024-02-29T00%3A00%3A00");
    are_told_apart(&[date, Date::MIN, Date::MAX]);
    are_told_apart(&[time, Time::MIDNIGHT, Time::MAX]);

    let utc = both.assume_utc();
    let east = |hours| utc.to_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
    assert_eq!(east(0), east(1));
    are_told_apart(&[east(0), east(1), east(-1)]);
    let last = PrimitiveDateTime::MAX.assume_offset(UtcOffset::from_hms(-1, 0, 0).unwrap());
    assert!(written(&last).ends_with(",-3600"));
    stands_for::<OffsetDateTime>(&last);
    stands_for::<Vec<Date>>([date]);
}

#[cfg(feature = "rust_decimal")]
#[test]
fn decimals_that_look_different_are_told_apart() {
    use rust_decimal::Decimal;

    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    assert_eq!(decimal("1.0"), decimal("1.00"));
    assert_eq!(written(&decimal("-1.50")), "-1.50");
    let mut values = ["0", "0.0", "1", "1.0", "1.00", "-1", "10", "0.01"]
        .map(decimal)
        .to_vec();
    values.push(-Decimal::ZERO);
    are_told_apart(&values);
    stands_for::<Decimal>(decimal("1"));
}
