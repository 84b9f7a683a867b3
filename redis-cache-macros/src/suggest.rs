//! Suggestions for misspelt names.

/// Returns the most similar name, if one is similar at all.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let names = names.into_iter();
    let rated = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let (_, nearest) = nearest.filter(|(similarity, _)| *similarity > 0.75)?;
    Some(nearest)
}
