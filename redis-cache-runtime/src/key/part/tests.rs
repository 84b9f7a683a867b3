mod injective;

use std::any::Any;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;

use super::{Any as Anything, KeyPart, Part, Text};

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

/// Fails if two of these values write the same, alone or with something after them.
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

#[derive(axum_redis_cache::KeyPart)]
#[key_part(crate = crate)]
struct Derived<T>(T);

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
    stands_for::<Derived<&str>>(&&Derived("a"));
    stands_for::<Option<Vec<Derived<u8>>>>(Some([Derived(7)]));
    stands_for::<Anything>(&Derived("a"));
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
