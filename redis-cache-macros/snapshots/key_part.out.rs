#[automatically_derived]
#[allow(deprecated)]
impl<'a, T: Named, const N: usize> ::axum_redis_cache::KeyPart for Owner<'a, T, N>
where
    T::Id: Copy,
    T::Id: ::axum_redis_cache::KeyPart,
    T: ::axum_redis_cache::KeyPart,
{
    fn write(&self, __key: &mut ::axum_redis_cache::KeyWriter<'_>) {
        match self {
            Self::Nobody {} => {
                ::axum_redis_cache::KeyWriter::text(__key, "Nobody");
            }
            Self::User { 0: __field_0, 1: __field_1 } => {
                ::axum_redis_cache::KeyWriter::text(__key, "User");
                <u64 as ::axum_redis_cache::KeyPart>::write(__field_0, __key);
                <Option<T::Id> as ::axum_redis_cache::KeyPart>::write(__field_1, __key);
            }
            Self::Team { name: __field_0, r#in: __field_1, of: __field_2 } => {
                ::axum_redis_cache::KeyWriter::text(__key, "Team");
                <&'a str as ::axum_redis_cache::KeyPart>::write(__field_0, __key);
                <[T; N] as ::axum_redis_cache::KeyPart>::write(__field_1, __key);
                <PhantomData<
                    Team,
                > as ::axum_redis_cache::KeyPart>::write(__field_2, __key);
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<'a, T: Named, const N: usize> ::axum_redis_cache::__private::Part<Self>
for Owner<'a, T, N>
where
    T::Id: Copy,
    T::Id: ::axum_redis_cache::KeyPart,
    T: ::axum_redis_cache::KeyPart,
{}
