use super::*;
use crate::key::Group;
use crate::store::Stamps;
use proptest::prelude::*;

fn head() -> StoredHead {
    let mut fields = HeaderMap::new();
    fields.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    fields.append("x-mine", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    fields.append("x-mine", HeaderValue::from_static("two"));
    StoredHead {
        status: StatusCode::OK,
        fields,
        grant: Grant {
            lifetime: Some(Duration::from_secs(30)),
            max_age: Some(5),
            s_maxage: true,
            is_targeted: false,
            directives: "must-revalidate".to_owned(),
        },
        generated: 1_700_000_000_000,
    }
}

fn stamps(address: &[Nonce]) -> EntryStamps {
    Stamps::from_slice(address).into()
}

fn in_groups() -> EntryStamps {
    EntryStamps {
        groups: vec![("a".into(), [1; 16]), ("b".into(), [2; 16])],
        expected: vec!["c".into()],
        ..stamps(&[[7; 16]])
    }
}

fn groups_of(entry: &Entry) -> (Vec<(&str, &[u8])>, Vec<&str>) {
    (entry.groups().collect(), entry.expected_groups().collect())
}

fn encoded(body: &[u8]) -> Bytes {
    head().encode(&stamps(&[[7; 16], [9; 16]]), body).unwrap()
}

#[test]
fn what_was_encoded_is_decoded() {
    for body in [&b""[..], b"\x00\xff binary"] {
        let entry = Entry::parse(encoded(body)).unwrap();
        let (decoded, read) = entry.decode().unwrap();
        assert_eq!(read, body);
        assert_eq!(format!("{decoded:?}"), format!("{:?}", head()));
        assert!(entry.is_stamped_with([Some([7; 16]), Some([9; 16])].into_iter()));
        assert!(!entry.is_stamped_with([Some([7; 16]), None].into_iter()));
        assert!(!entry.is_stamped_with([Some([7; 16])].into_iter()));
        assert!(!entry.is_stamped_with([Some([9; 16]), Some([7; 16])].into_iter()));
    }
}

#[test]
fn each_flag_of_a_grant_is_kept() {
    for (s_maxage, is_targeted) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut head = head();
        (head.grant.s_maxage, head.grant.is_targeted) = (s_maxage, is_targeted);
        let entry = Entry::parse(head.encode(&EntryStamps::default(), b"").unwrap()).unwrap();
        let (decoded, _) = entry.decode().unwrap();
        assert_eq!(decoded.grant, head.grant);
    }
}

#[test]
fn a_value_is_no_response_and_a_response_is_no_value() {
    let stamps = stamps(&[[7; 16]]);
    let value = StoredValue {
        lifetime: Some(Duration::from_secs(30)),
        generated: 1_700_000_000_000,
    };
    let value = Entry::parse(value.encode(&stamps, b"[1]").unwrap()).unwrap();
    assert_eq!(value.json().unwrap(), "[1]");
    assert_eq!(value.lifetime(), Some(Duration::from_secs(30)));
    assert!(value.decode().is_none());
    assert!(value.is_stamped_with([Some([7; 16])].into_iter()));
    let response = Entry::parse(encoded(b"[1]")).unwrap();
    assert!(response.json().is_none());
}

#[test]
fn a_lifetime_that_is_longer_than_can_be_stored_still_ends() {
    let value = StoredValue {
        lifetime: Some(Duration::MAX),
        generated: 1_700_000_000_000,
    };
    let value = Entry::parse(value.encode(&EntryStamps::default(), b"1").unwrap()).unwrap();
    assert!(value.lifetime().is_some());
}

/// Entries outlive the process that wrote them, so a change of these bytes needs a new version.
#[test]
fn the_format_is_pinned() {
    let pinned = concat!(
        "61726332",
        "535f42b7",
        "00000095",
        "0000000000000002",
        "0000018bcfe56800",
        "0000000000007530",
        "0000000000000005",
        "00c80102",
        "00000000",
        "0707070707070707070707070707070709090909090909090909090909090909",
        "000f6d7573742d726576616c6964617465",
        "010000000a746578742f706c61696e",
        "000006782d6d696e65000000046361",
        "66e9000006782d6d696e650000000374",
        "776f6869",
    );
    assert_eq!(crate::key::hex(&encoded(b"hi")), pinned);
}

proptest! {
    #[test]
    fn a_damaged_header_does_not_decode(at in 0usize..149, bit in 0u8..8) {
        let mut bytes = encoded(b"body").to_vec();
        bytes[at] ^= 1 << bit;
        prop_assert!(Entry::parse(bytes.into()).is_none());
    }

    #[test]
    fn a_cut_or_extended_entry_does_not_decode(len in 0usize..159) {
        let mut bytes = encoded(b"body").to_vec();
        prop_assume!(len != bytes.len());
        bytes.resize(len, 0);
        prop_assert!(Entry::parse(bytes.into()).is_none());
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::parse(bytes.clone().into()).and_then(|entry| entry.decode());
        // With a valid frame around them, so that the inner decoder sees them too.
        bytes.resize(bytes.len().max(FIXED), 0);
        let header = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&header.to_be_bytes());
        bytes[12..20].fill(0);
        bytes[47] %= 4;
        let checksum = checksum(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_be_bytes());
        let _ = Entry::parse(bytes.into()).and_then(|entry| entry.decode());
    }
}

#[test]
fn the_groups_of_a_response_and_those_of_the_next_one_are_kept() {
    let entry = Entry::parse(head().encode(&in_groups(), b"body").unwrap()).unwrap();
    let stored = vec![("a", &[1; 16][..]), ("b", &[2; 16])];
    assert_eq!(groups_of(&entry), (stored.clone(), vec!["c"]));
    assert!(entry.names_groups() && entry.is_stamped_with([Some([7; 16])].into_iter()));

    let changed = entry.expecting(&["d".into(), "e".into()]).unwrap();
    let changed = Entry::parse(changed).unwrap();
    assert_eq!(groups_of(&changed), (stored, vec!["d", "e"]));
    let (decoded, body) = changed.decode().unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{:?}", head()));
    assert_eq!(body, "body");
}

#[test]
fn a_hint_names_groups_and_nothing_else() {
    let hint = Entry::parse(hint(&["a".into(), "b".into()]).unwrap()).unwrap();
    assert!(hint.is_hint() && hint.decode().is_none() && hint.json().is_none());
    assert_eq!(groups_of(&hint), (vec![], vec!["a", "b"]));
}

#[test]
fn more_groups_than_fit_are_refused() {
    let too_many = vec![Group::from("a"); 1 << 16];
    assert!(hint(&too_many).is_none());
    assert!(hint(&["a".repeat(1 << 16).into()]).is_none());
}
