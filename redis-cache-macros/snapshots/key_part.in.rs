#[derive(KeyPart)]
enum Owner<'a, T: Named, const N: usize>
where
    T::Id: Copy,
{
    Nobody,
    User(u64, Option<T::Id>),
    Team {
        name: &'a str,
        r#in: [T; N],
        of: PhantomData<Team>,
    },
}
