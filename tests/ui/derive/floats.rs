use axum_redis_cache::KeyPart;

#[derive(KeyPart)]
struct Place {
    name: String,
    latitude: f64,
    longitude: f64,
}

#[derive(KeyPart)]
enum Shape {
    Circle(f32),
    Line(Vec<(u8, f64)>),
}

fn main() {}
