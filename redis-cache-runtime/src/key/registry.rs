//! The handlers of this process: their names, which are unique, and where they are mounted.
//!
//! Names and mounts come from the code, so their number is bounded and they are never removed. Requests
//! read these lists, which only grow, without a lock.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use super::cache_key::bucket_of;
use super::normal::push_byte;

/// A value that identifies a state. Drawn nonces are random and never used twice: the loss of a key
/// would reset a counter or a clock.
pub(crate) type Nonce = [u8; 16];

/// A list that only grows.
#[derive(Debug)]
pub(crate) struct Grown<T> {
    first: OnceLock<Box<Node<T>>>,
}

#[derive(Debug)]
struct Node<T> {
    value: T,
    rest: Grown<T>,
}

impl<T> Grown<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: OnceLock::new(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.first.get();
        std::iter::from_fn(move || {
            let node = next?;
            next = node.rest.first.get();
            Some(&node.value)
        })
    }

    /// Returns the first value that meets a condition. If there is none, appends a new one.
    pub(crate) fn get_or_add(&self, wanted: impl Fn(&T) -> bool, make: impl Fn() -> T) -> &T {
        let mut list = self;
        loop {
            let node = list.first.get_or_init(|| {
                let rest = Self::new();
                Box::new(Node {
                    value: make(),
                    rest,
                })
            });
            if wanted(&node.value) {
                return &node.value;
            }
            list = &node.rest;
        }
    }
}

/// A handler, with the types that it is an instance of if it is generic.
#[derive(Debug)]
pub(crate) struct Instance {
    types: TypeId,
    /// The name with which the keys of the handler begin.
    name: String,
    bucket: u8,
    /// Another handler had the name first.
    is_duplicate: bool,
    mounts: Grown<Mount>,
    /// The mounts for which writes stored responses before any read.
    written: Grown<Mount>,
    /// The handler is mounted more than once, here or in another process, so each mount stores its
    /// responses under the name of the mount.
    is_spread: AtomicBool,
}

/// The path at which the router has a handler: that of the route, or for a fallback that of its nested
/// router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountPath<'a> {
    pub(crate) path: &'a str,
    pub(crate) is_fallback: bool,
}

/// A place where a handler is mounted.
#[derive(Debug)]
pub(crate) struct Mount {
    path: String,
    is_fallback: bool,
    /// The text that distinguishes the entries of this mount.
    selects: String,
    /// Entries are stamped with it, because the first mount of a handler in one process may be
    /// another than in the next.
    stamp: Nonce,
    /// The names by which the handler reads the parameters of the path.
    names: OnceLock<String>,
}

/// A mount of a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mounted {
    handler: &'static Instance,
    mount: &'static Mount,
    /// The mount uses the plain entries of the handler, whose names do not hold the mount.
    is_plain: bool,
    /// Arguments of the handler may have been read before the lease is taken.
    pub(crate) reads_early: bool,
}

impl Mount {
    fn new(path: MountPath<'_>) -> Self {
        // The path of a route never ends like this.
        let end = if path.is_fallback { "/**" } else { "" };
        let selects = [path.path, end].concat();
        Self {
            path: path.path.to_owned(),
            is_fallback: path.is_fallback,
            stamp: stamp(&selects),
            selects,
            names: OnceLock::new(),
        }
    }

    fn is_at(&self, path: MountPath<'_>) -> bool {
        self.path == path.path && self.is_fallback == path.is_fallback
    }
}

impl Instance {
    /// Returns the handler of a name, registered for a route.
    pub(crate) fn new(route: usize, types: TypeId, name: &str) -> Self {
        let name = escaped(name);
        let is_duplicate = !register(&name, (route, types));
        if is_duplicate {
            tracing::error!(
                handler = name,
                "two handlers have the same name: the second one is not cached; give it one with \
                 `name = \"..\"`"
            );
        }
        Self {
            types,
            bucket: bucket_of(&name),
            name,
            is_duplicate,
            mounts: Grown::new(),
            written: Grown::new(),
            is_spread: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_of(&self, types: TypeId) -> bool {
        self.types == types
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn bucket(&self) -> u8 {
        self.bucket
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.is_duplicate
    }

    /// Returns the mount of a path.
    pub(crate) fn mount(&'static self, path: MountPath<'_>) -> Mounted {
        let is_wanted = |mount: &Mount| mount.is_at(path);
        self.mounted(self.mounts.get_or_add(is_wanted, || Mount::new(path)))
    }

    /// Returns the mount of a path, if it is known.
    pub(crate) fn known_mount(&'static self, path: MountPath<'_>) -> Option<Mounted> {
        let mount = self.mounts.iter().find(|mount| mount.is_at(path));
        mount.map(|mount| self.mounted(mount))
    }

    /// Returns the mount for which a write on a path stores. If no mount of the path is known, another
    /// router may have mounted the handler, with another state. Then the response of the write is stored
    /// in two cases: no mount of the handler is known yet, or the write names values and the only known
    /// mount is in the router of the write, which is nested at `nest`.
    pub(crate) fn written_mount(
        &'static self,
        path: MountPath<'_>,
        nest: &str,
        names_values: bool,
    ) -> Option<Mounted> {
        if let Some(mounted) = self.known_mount(path) {
            return Some(mounted);
        }
        let mut mounts = self.mounts.iter();
        match (mounts.next(), mounts.next()) {
            (None, _) => {
                let is_wanted = |mount: &Mount| mount.is_at(path);
                let mount = self.written.get_or_add(is_wanted, || Mount::new(path));
                Some(Mounted {
                    handler: self,
                    mount,
                    is_plain: true,
                    reads_early: false,
                })
            }
            (Some(only), None) if names_values && only.path.starts_with(nest) => {
                Some(self.mounted(only))
            }
            _ => None,
        }
    }

    fn mounted(&'static self, mount: &'static Mount) -> Mounted {
        let first = self.mounts.iter().next();
        let is_first = first.is_some_and(|first| std::ptr::eq(first, mount));
        let is_plain = is_first && !self.is_spread.load(Ordering::Relaxed);
        Mounted {
            handler: self,
            mount,
            is_plain,
            reads_early: false,
        }
    }

    /// Returns whether every known mount reads the parameters of its path by these names.
    pub(crate) fn reads_by(&self, names: &str) -> Option<bool> {
        let mut known = self
            .mounts
            .iter()
            .filter_map(|mount| mount.names.get())
            .peekable();
        known.peek()?;
        Some(known.all(|other| other == names))
    }
}

impl Mounted {
    pub(crate) fn handler(self) -> &'static Instance {
        self.handler
    }

    /// Returns the text that distinguishes the responses of this mount.
    pub(crate) fn selects(self) -> &'static str {
        if self.is_plain {
            ""
        } else {
            &self.mount.selects
        }
    }

    /// Sets whether arguments of the handler may have been read before the lease is taken.
    pub(crate) fn reading_early(self, reads_early: bool) -> Self {
        Self {
            reads_early,
            ..self
        }
    }

    pub(crate) fn is_plain(self) -> bool {
        self.is_plain
    }

    /// Returns whether the names by which the handler reads the parameters of the path are known.
    pub(crate) fn knows_names(self) -> bool {
        self.mount.names.get().is_some()
    }

    /// Records the names by which the handler reads the parameters of the path.
    pub(crate) fn note(self, names: String) {
        // It is set already, or the same for every request.
        let _ = self.mount.names.set(names);
    }

    pub(crate) fn stamp(self) -> Nonce {
        self.mount.stamp
    }

    /// Records that another process uses the plain entries of the handler for another mount.
    pub(crate) fn spread(self) {
        self.handler.is_spread.store(true, Ordering::Relaxed);
    }
}

fn stamp(path: &str) -> Nonce {
    let mut stamp = Nonce::default();
    stamp.copy_from_slice(&Sha256::digest(path)[..16]);
    stamp
}

/// Registers a name for a route and types; `false`: another has it.
fn register(name: &str, of: (usize, TypeId)) -> bool {
    static NAMES: LazyLock<Mutex<HashMap<String, (usize, TypeId)>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    *names.entry(name.to_owned()).or_insert(of) == of
}

/// Returns a name without the characters that have a meaning in keys.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes().filter(|byte| *byte != b' ') {
        let is_plain = byte.is_ascii_alphanumeric() || b"_-.:<>,&[];".contains(&byte);
        push_byte(&mut out, byte, is_plain);
    }
    out
}

/// Returns the name of a handler by its companion type: crate, module path and function, with the
/// enclosing functions and types.
pub(crate) fn name_of(companion: &'static str) -> &'static str {
    let name = companion
        .strip_suffix("::__AxumRedisCacheHandler")
        .unwrap_or(companion);
    name.strip_suffix("::{{closure}}").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_what_is_added_once() {
        let list = Grown::new();
        for number in [1, 2, 1, 3, 2] {
            let found = list.get_or_add(|other| *other == number, || number);
            assert_eq!(*found, number);
        }
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
