//! What the user may have meant.

/// The name most like the one that was written, if it is like it at all.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let names = names.into_iter();
    let rated = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let (_, nearest) = nearest.filter(|(similarity, _)| *similarity > 0.75)?;
    Some(nearest)
}
