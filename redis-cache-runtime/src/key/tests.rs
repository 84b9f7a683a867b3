use super::cache_key::bucket_of;
use super::spelling::{BUCKETS, MAX_LEN, hashed};
use super::*;
use proptest::prelude::*;

fn key(text: &str) -> CacheKey {
    CacheKey::of_handler(format!("h/{text}"), 0)
}

#[test]
fn a_text_never_spells_a_hashed_key() {
    assert!(
        key(&"x".repeat(1000)).text.starts_with('#'),
        "as no handler's name does"
    );
    let hashed = group("x".repeat(1000).into());
    assert_ne!(group(hashed.clone()), hashed);
    assert_ne!(group("(a)b".into()), Scope::new("a", None).group("b"));
}

/// The key that is long as it is, or that is hashed.
fn stretched(key: &str, long: bool) -> String {
    key.repeat(if long { MAX_LEN } else { 1 })
}

fn variant(text: &str) -> Option<Variant> {
    Variant::of(&Selecting {
        values: Some(text),
        ..Selecting::default()
    })
}

fn rendered(key: CacheKey, value: Option<&str>, group: &str) -> Vec<String> {
    let names = Names::new("p");
    let at = Address {
        key,
        variant: value.and_then(variant),
        groups: DeclaredGroups::Made(vec![super::group(group.to_owned().into())]),
        response_groups: None,
        mounted: None,
    };
    [names.entry(&at), names.lease(&at)]
        .into_iter()
        .chain(names.nonces(&at))
        .map(|name| name.concat())
        .collect()
}

#[test]
fn only_what_is_longer_than_the_limit_is_hashed() {
    let of_handler = |len| CacheKey::of_handler("k".repeat(len), 0).text;
    assert_eq!(of_handler(MAX_LEN), "k".repeat(MAX_LEN));
    assert!(of_handler(MAX_LEN + 1).starts_with('#'));
    let of_value = |len: usize| CacheKey::of_value(Some("g"), &"k".repeat(len - 3)).text;
    assert_eq!(of_value(4), "=g:k");
    assert_eq!(of_value(MAX_LEN).len(), MAX_LEN);
    assert!(of_value(MAX_LEN + 1).starts_with("=#"));
    let group = |len| group("g".repeat(len).into());
    assert!(!is_hashed(&group(MAX_LEN)) && is_hashed(&group(MAX_LEN + 1)));
}

#[test]
fn the_fingerprint_of_a_key_is_the_start_of_its_hash() {
    assert_eq!(key("a").fingerprint(), hashed("h/a")[1..17]);
}

/// Entries outlive the process that stamped them, so buckets must not change.
#[test]
fn the_bucket_of_a_name_is_pinned() {
    let names = ["app::home", "app::get_product", "app::list", ""];
    assert_eq!(names.map(bucket_of), [24, 14, 55, 2]);
}

#[test]
fn addresses_are_the_same_if_key_variant_and_groups_are() {
    let address = |text, value, groups| Address {
        key: key(text),
        variant: variant(value),
        groups,
        response_groups: None,
        mounted: None,
    };
    let groups = DeclaredGroups::Fixed(&["g"]);
    let at = address("a", "v", groups.clone());
    assert_eq!(
        at,
        address("a", "v", DeclaredGroups::Made(vec!["g".into()]))
    );
    assert_ne!(at, address("b", "v", groups.clone()));
    assert_ne!(at, address("a", "w", groups));
    assert_ne!(at, address("a", "v", DeclaredGroups::Fixed(&["h"])));
}

#[test]
fn whatever_selects_a_variant_is_told_apart() {
    let mut seen = std::collections::HashSet::new();
    let texts = ["", "a", "ab", "b"];
    for values in [None, Some(""), Some("a"), Some("ab"), Some("b")] {
        for (rest, mount) in texts
            .into_iter()
            .flat_map(|rest| texts.map(|mount| (rest, mount)))
        {
            let selecting = Selecting {
                values,
                rest,
                mount,
                ..Selecting::default()
            };
            let variant = Variant::of(&selecting);
            let is_same = values == Some("") && !(rest.is_empty() && mount.is_empty());
            assert!(seen.insert(variant) || is_same, "{values:?} {rest} {mount}");
        }
    }
}

#[test]
fn what_extends_a_key_is_evicted_with_it_and_in_every_scope_for_itself() {
    let names = Names::new("p");
    let base = key("a");
    let page = base.clone().extended("?page=2");
    let witness = names.witness();
    let evicted = |eviction| -> Vec<String> {
        let evicted = names.evicted(&eviction).into_iter();
        evicted
            .filter(|name| Some(*name) != witness)
            .map(|name| name.concat())
            .collect()
    };
    let of_base = evicted(Eviction::Key(base.clone()));
    let stamped = rendered(page.clone(), None, "g");
    assert!(stamped[2..].iter().any(|name| of_base.contains(name)));
    assert!(
        !evicted(Eviction::Key(page.clone()))
            .iter()
            .any(|name| of_base.contains(name))
    );
    assert!(evicted(Eviction::Handler(0)).contains(&stamped[2]));
    let scope = Scope::new("de", None);
    let of_scope = evicted(Eviction::Key(scope.key(base)));
    assert!(!stamped.iter().any(|name| of_scope.contains(name)));
    let scoped = rendered(scope.key(page), None, "g");
    assert!(scoped.iter().any(|name| of_scope.contains(name)));
}

#[cfg(feature = "cluster")]
#[test]
fn in_a_cluster_everything_is_evicted_in_the_slot_of_each_entry() {
    let names = Names::in_cluster("p");
    for (number, bucket) in (0..100).zip((0..BUCKETS).cycle()) {
        let at = Address {
            key: CacheKey::of_handler(format!("h/{number}}}"), bucket).extended("?page=2"),
            variant: variant("a"),
            groups: DeclaredGroups::Fixed(&[]),
            response_groups: None,
            mounted: None,
        };
        let everything = names.nonces(&at).next().unwrap();
        let slot = slot(everything);
        assert_eq!(slot, super::slot(names.entry(&at)));
        assert_eq!(slot, slot_of_key(&at.key));
        for eviction in [Eviction::All, Eviction::Handler(bucket)] {
            assert!(names.is_in_every_slot(&eviction) && names.evicted(&eviction).is_empty());
            assert!(names.evicted_in_slot(&eviction, slot).contains(&everything));
        }
        let key = Eviction::Key(at.key.clone());
        let mut evicted = names.evicted(&key).into_iter();
        assert!(evicted.all(|name| super::slot(name) == slot));
    }
}

proptest! {
    #[test]
    fn keys_of_values_are_injective_and_begin_like_no_handler(
        groups in proptest::array::uniform2(proptest::option::of("[a:%=#}]{0,3}")),
        keys in proptest::array::uniform2("[a:%=#}]{0,3}"),
        long in any::<[bool; 2]>(),
    ) {
        let keys = [0, 1].map(|of| stretched(&keys[of], long[of]));
        let of = |of: usize| CacheKey::of_value(groups[of].as_deref(), &keys[of]);
        let same = groups[0] == groups[1] && keys[0] == keys[1];
        prop_assert_eq!(of(0) == of(1), same);
        prop_assert_eq!(of(0).text.as_bytes()[0], b'=');
    }

    #[test]
    fn names_are_injective(a in "[a{}#:/*]{0,6}", b in "[a{}#:/*]{0,6}", v in "[ab]{0,2}") {
        let of = |key: &str, value| rendered(self::key(key), value, key);
        let (left, right) = (of(&a, Some(&*v)), of(&b, Some(&v)));
        let bare = of(&b, None);
        prop_assert_eq!(left[0] == right[0], key(&a) == key(&b));
        prop_assert_eq!(left[4] == right[4], a == b);
        prop_assert!(left[0] != bare[0] && left[1] != bare[1]);
        for (kind, name) in left.iter().enumerate() {
            // Both are stamped with the same nonce of everything.
            let others = right.iter().enumerate().filter(|(other, _)| *other != kind);
            prop_assert!(others.into_iter().all(|(_, other)| other != name));
        }
    }

    #[test]
    fn everything_about_a_key_is_in_one_slot(a in "[a{}#:/*]{0,6}", v in "[ab]{0,2}") {
        let slot = |name: &str| {
            let open = name.find('{').unwrap();
            let close = open + 1 + name[open + 1..].find('}').unwrap();
            name[open + 1..close].to_owned()
        };
        let names = rendered(key(&a), Some(&v), "g");
        prop_assert!(!slot(&names[0]).is_empty());
        prop_assert_eq!(slot(&names[0]), slot(&names[1]));
        prop_assert_eq!(slot(&names[0]), slot(&names[3]));
    }
}
