use axum_redis_cache::cached;

struct Api;

impl Api {
    const GREETING: &str = "hello";

    #[cached(ttl = 300, no_companion)]
    async fn handler() -> String {
        struct Own;

        impl Own {
            fn greeting(&self) -> &'static str {
                let _: &Self = self;
                Api::GREETING
            }
        }

        format!("{}{}", Own.greeting(), Self::GREETING)
    }
}

fn main() {}
