#[cached(ttl = TTL, key = "repo:{owner}/{name}", group = ["repos", "owner:{owner}"], vary_by(user.id))]
async fn get_repo(
    Path((owner, mut name)): Path<(String, String)>,
    user: User,
) -> String {
    name.push_str(&owner);
    name
}
