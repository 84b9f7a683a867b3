#[cache_evict(get_repo(repo.owner, name), group = "repos")]
#[cache_put(repos::list)]
async fn rename(Path(name): Path<String>, Json(repo): Json<Repo>) -> Json<Repo> {
    Json(repo.renamed(name))
}
