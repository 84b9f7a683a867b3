//! The names that the pattern of an argument binds.

use proc_macro2::Ident;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{Pat, PatIdent};

/// Returns the names that a pattern binds, in order.
pub(crate) fn bindings(pattern: &Pat) -> Vec<Ident> {
    let mut bindings = Bindings(Vec::new());
    bindings.visit_pat(pattern);
    bindings.0
}

/// Returns the pattern for a reference to the same value: it binds by reference, so no value moves out.
pub(crate) fn by_reference(pattern: &Pat) -> Pat {
    let mut pattern = pattern.clone();
    ByReference.visit_pat_mut(&mut pattern);
    pattern
}

/// Returns whether every part of a value gets a name: nothing is left to `_` or `..`.
pub(crate) fn binds_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Ident(pattern) => pattern.subpat.is_none(),
        Pat::Paren(pattern) => binds_all(&pattern.pat),
        Pat::Reference(pattern) => binds_all(&pattern.pat),
        Pat::Tuple(pattern) => pattern.elems.iter().all(binds_all),
        Pat::TupleStruct(pattern) => pattern.elems.iter().all(binds_all),
        Pat::Struct(pattern) => {
            pattern.rest.is_none() && pattern.fields.iter().all(|field| binds_all(&field.pat))
        }
        _ => false,
    }
}

struct Bindings(Vec<Ident>);

impl Visit<'_> for Bindings {
    fn visit_pat_ident(&mut self, pattern: &PatIdent) {
        self.0.push(pattern.ident.clone());
        syn::visit::visit_pat_ident(self, pattern);
    }
}

struct ByReference;

impl VisitMut for ByReference {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        pattern.by_ref = None;
        pattern.mutability = None;
        syn::visit_mut::visit_pat_ident_mut(self, pattern);
    }
}
