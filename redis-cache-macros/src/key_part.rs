//! `#[derive(KeyPart)]`: writes the name of the variant, if the type is an enum, and then every field.
//!
//! ```text
//! // Input
//! #[derive(KeyPart)]
//! enum Owner<T> { Nobody, Team { name: T } }
//!
//! // Output
//! impl<T> KeyPart for Owner<T> where T: KeyPart {
//!     fn write(&self, key: &mut KeyWriter<'_>) {
//!         match self {
//!             Self::Nobody {} => { KeyWriter::text(key, "Nobody"); }
//!             Self::Team { name: field } => {
//!                 KeyWriter::text(key, "Team");
//!                 <T as KeyPart>::write(field, key);
//!             }
//!         }
//!     }
//! }
//! impl<T> Part<Self> for Owner<T> where T: KeyPart {}
//! ```
//!
//! The parts of one value are never a prefix of the parts of another value of its type. This is true
//! for each field, so it is true for a sequence of fields. The name of a variant determines the fields
//! that follow it.

use darling::{Error, Result};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::visit::Visit;
use syn::{Attribute, Data, DeriveInput, Field, Fields, Path, TypePath, parse_quote};

use crate::parse::default_crate;
use crate::runtime::Runtime;

/// Returns the implementations, or the errors.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let mut errors = Error::accumulator();
    let krate = errors.handle(krate(&input.attrs)).flatten();
    let runtime = Runtime::new(&krate.unwrap_or_else(default_crate));
    let attributes = fields(&input.data).flat_map(|field| &field.attrs);
    for attribute in attributes.chain(variant_attributes(&input.data)) {
        if attribute.path().is_ident("key_part") {
            let message = "this belongs on the whole type: fields and variants have no options, \
                           because all of them are in the key";
            errors.push(Error::custom(message).with_span(attribute.path()));
        }
    }
    let body = errors.handle(body(input, &runtime));
    let implementations = body.map(|body| implementations(input, &runtime, &body));
    errors.finish_with(implementations.unwrap_or_default())
}

fn implementations(input: &DeriveInput, runtime: &Runtime, body: &TokenStream) -> TokenStream {
    let Runtime {
        KeyPart,
        KeyWriter,
        Part,
        ..
    } = runtime;
    let name = &input.ident;
    let mut generics = input.generics.clone();
    let bounds = bounds(input);
    if !bounds.is_empty() {
        let predicates = &mut generics.make_where_clause().predicates;
        predicates.extend(
            bounds
                .iter()
                .map(|ty| -> syn::WherePredicate { parse_quote!(#ty: #KeyPart) }),
        );
    }
    let (parameters, arguments, clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #KeyPart for #name #arguments #clause {
            fn write(&self, __key: &mut #KeyWriter<'_>) {
                #body
            }
        }
        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #Part<Self> for #name #arguments #clause {}
    }
}

fn body(input: &DeriveInput, runtime: &Runtime) -> Result<TokenStream> {
    let Runtime { KeyWriter, .. } = runtime;
    match &input.data {
        Data::Struct(data) => {
            let (pattern, writes) = written(&data.fields, runtime);
            Ok(quote! {
                let Self #pattern = self;
                #writes
            })
        }
        // A `match` without arms compiles for an enum without variants, but not for a reference to it.
        Data::Enum(data) if data.variants.is_empty() => Ok(quote!(match *self {})),
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = &variant.ident;
                let text = name.unraw().to_string();
                let (pattern, writes) = written(&variant.fields, runtime);
                quote! {
                    Self::#name #pattern => {
                        #KeyWriter::text(__key, #text);
                        #writes
                    }
                }
            });
            Ok(quote!(match self { #(#variants)* }))
        }
        Data::Union(data) => {
            let message = "a union cannot be a part of a cache key: nothing tells which field is \
                           its value; an enum can";
            Err(Error::custom(message).with_span(&data.union_token))
        }
    }
}

/// Returns the pattern that binds fields, and the statements that write them. A type keeps the tokens
/// of the user, so that an error about it points there.
fn written(fields: &Fields, runtime: &Runtime) -> (TokenStream, TokenStream) {
    let Runtime { KeyPart, .. } = runtime;
    let bindings: Vec<_> = (0..fields.len())
        .map(|number| format_ident!("__field_{number}"))
        .collect();
    let members = fields.members();
    let types = fields.iter().map(|field| &field.ty);
    (
        quote!({ #(#members: #bindings),* }),
        quote!(#(<#types as #KeyPart>::write(#bindings, __key);)*),
    )
}

fn fields(data: &Data) -> Box<dyn Iterator<Item = &Field> + '_> {
    match data {
        Data::Struct(data) => Box::new(data.fields.iter()),
        Data::Enum(data) => Box::new(data.variants.iter().flat_map(|variant| &variant.fields)),
        Data::Union(data) => Box::new(data.fields.named.iter()),
    }
}

fn variant_attributes(data: &Data) -> impl Iterator<Item = &Attribute> {
    let variants = match data {
        Data::Enum(data) => Some(data.variants.iter().flat_map(|variant| &variant.attrs)),
        Data::Struct(_) | Data::Union(_) => None,
    };
    variants.into_iter().flatten()
}

const OPTION: &str = "`crate = path::to::axum_redis_cache`";

/// Returns the path of this crate that `#[key_part(crate = path)]` names.
fn krate(attributes: &[Attribute]) -> Result<Option<Path>> {
    let mut krate = None;
    let mut errors = Error::accumulator();
    let ours = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("key_part"));
    for attribute in ours {
        let parsed = attribute.parse_nested_meta(|option| {
            if !option.path.is_ident("crate") {
                let name = darling::util::path_to_string(&option.path);
                let message = format!("unknown option `{name}`: expected {OPTION}");
                return Err(syn::Error::new_spanned(&option.path, message));
            }
            if krate.is_some() {
                let message = "`crate` occurs twice: remove one";
                return Err(syn::Error::new_spanned(&option.path, message));
            }
            let value = option.value()?;
            let path = Path::parse_mod_style(value);
            let message = "expected a path, without quotes";
            krate = Some(path.map_err(|error| syn::Error::new(error.span(), message))?);
            Ok(())
        });
        errors.handle(parsed.map_err(Error::from));
    }
    errors.finish_with(krate)
}

/// Returns the types that must implement `KeyPart` so that a generic type can: its parameters, and the
/// associated types of its parameters, if they occur in fields.
fn bounds(input: &DeriveInput) -> Vec<TypePath> {
    let mut used = Used {
        parameters: input.generics.type_params().map(|it| &it.ident).collect(),
        types: Vec::new(),
    };
    for field in fields(&input.data) {
        used.visit_type(&field.ty);
    }
    used.types
}

struct Used<'a> {
    parameters: Vec<&'a Ident>,
    types: Vec<TypePath>,
}

impl Used<'_> {
    fn is_of_a_parameter(&self, ty: &TypePath) -> bool {
        if let Some(qualified) = &ty.qself {
            let mut inside = Used {
                parameters: self.parameters.clone(),
                types: Vec::new(),
            };
            inside.visit_type(&qualified.ty);
            return !inside.types.is_empty();
        }
        let first = ty.path.segments.first();
        ty.path.leading_colon.is_none()
            && first.is_some_and(|first| self.parameters.contains(&&first.ident))
    }
}

impl<'ast> Visit<'ast> for Used<'_> {
    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if self.is_of_a_parameter(ty) {
            let text = |ty: &TypePath| ty.to_token_stream().to_string();
            if self.types.iter().all(|other| text(other) != text(ty)) {
                self.types.push(ty.clone());
            }
            return;
        }
        // `PhantomData<T>` contains no value of `T`, so `T` needs no bound.
        let last = ty.path.segments.last();
        if last.is_none_or(|last| last.ident != "PhantomData") {
            syn::visit::visit_type_path(self, ty);
        }
    }
}
