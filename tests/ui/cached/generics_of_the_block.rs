use std::marker::PhantomData;

use axum::extract::State;
use axum_redis_cache::cached;

trait Repo: Clone + Send + Sync + 'static {
    fn name(&self) -> String;
}

struct Api<R>(PhantomData<R>);

impl<R: Repo> Api<R> {
    #[cached(ttl = 300, no_companion)]
    async fn handler(State(repo): State<R>) -> String {
        repo.name()
    }
}

fn main() {}
