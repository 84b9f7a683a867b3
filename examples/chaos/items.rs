//! What is cached: items of several kinds, each kind behind a route of its own.

use std::fmt;

/// Items `0..ITEMS` are of each kind in turn. The first ones are asked for most.
pub(crate) const ITEMS: u32 = 200;
const SHELVES: u32 = 4;
/// Items whose bodies are large, and how long those are at least. They are asked for often.
const LARGE: [(u32, usize); 2] = [(7, 300 * 1024), (10, 1024 * 1024)];
const USUAL_LENGTH: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its key is made of the values of its path, and its group is that of all of its kind.
    Plain,
    /// Its key is a template, and its group has a value: the shelf.
    Shelved,
    /// Selected by a request field.
    Label,
    /// Selected by a value of the request.
    Price,
    /// Fresh for a second.
    Brief,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Plain,
        Self::Shelved,
        Self::Label,
        Self::Price,
        Self::Brief,
    ];

    pub(crate) fn of(item: u32) -> Self {
        Self::ALL[item as usize % Self::ALL.len()]
    }

    /// The field that selects a response, and its values.
    pub(crate) fn variants(self) -> &'static [Option<(&'static str, &'static str)>] {
        match self {
            Self::Label => &[
                Some(("accept-language", "de")),
                Some(("accept-language", "en")),
            ],
            Self::Price => &[
                Some(("x-user", "1")),
                Some(("x-user", "2")),
                Some(("x-user", "3")),
            ],
            Self::Plain | Self::Shelved | Self::Brief => &[None],
        }
    }

    fn collection(self) -> &'static str {
        match self {
            Self::Plain => "/items",
            Self::Shelved => "/shelves",
            Self::Label => "/labels",
            Self::Price => "/prices",
            Self::Brief => "/briefs",
        }
    }
}

pub(crate) fn shelf_of(item: u32) -> u32 {
    item / 5 % SHELVES
}

pub(crate) fn is_large(item: u32) -> bool {
    LARGE.iter().any(|(large, _)| *large == item)
}

/// What one write changes, and evicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Item(u32),
    Shelf(u32),
    Kind(Kind),
    All,
}

impl Scope {
    pub(crate) fn contains(self, item: u32) -> bool {
        match self {
            Self::Item(id) => id == item,
            Self::Shelf(number) => Kind::of(item) == Kind::Shelved && shelf_of(item) == number,
            Self::Kind(kind) => Kind::of(item) == kind,
            Self::All => true,
        }
    }

    /// Returns the minimum length of a body.
    pub(crate) fn length(self) -> usize {
        let length_of = |id| LARGE.iter().find(|(large, _)| *large == id);
        match self {
            Self::Item(id) => length_of(id).map_or(USUAL_LENGTH, |(_, length)| *length),
            Self::Shelf(_) | Self::Kind(_) | Self::All => USUAL_LENGTH,
        }
    }

    /// Where it is read and written.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Item(id) if Kind::of(id) == Kind::Shelved => {
                format!("/shelves/{}/items/{id}", shelf_of(id))
            }
            Self::Item(id) => format!("{}/{id}", Kind::of(id).collection()),
            Self::Shelf(number) => format!("/shelves/{number}"),
            Self::Kind(kind) => kind.collection().to_owned(),
            Self::All => "/".to_owned(),
        }
    }

    /// The inverse of `Display`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, number) = text.split_once(' ')?;
        let number = number.parse().ok()?;
        match name {
            "item" => Some(Self::Item(number)),
            "shelf" => Some(Self::Shelf(number)),
            "kind" => Kind::ALL.get(number as usize).copied().map(Self::Kind),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(id) => write!(f, "item {id}"),
            Self::Shelf(number) => write!(f, "shelf {number}"),
            Self::Kind(kind) => write!(f, "kind {}", *kind as usize),
            Self::All => f.write_str("all 0"),
        }
    }
}
