//! The compile time of a cached handler, beside the same handler without the attribute.
//!
//! ```sh
//! cargo bench -p benches --bench compile_time
//! ```
//!
//! Programs with many handlers are built in turn, several times each, without incremental state and
//! with dependencies that are built already. The time of a handler is the difference to a program that
//! has none, divided by the number of handlers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

#[path = "common/median.rs"]
mod median;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use median::median;

const HANDLERS: usize = 100;
const ROUNDS: usize = 7;

/// The attributes of the handlers in each program; `None`: the program has no handlers.
const PROGRAMS: [(&str, Option<&str>); 3] = [
    ("none", None),
    ("bare", Some("")),
    ("cached", Some("#[cached(ttl = 300, group = \"products\")]")),
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = root.join("target/compile_time");
    let programs = PROGRAMS.map(|(name, attribute)| {
        let program = Program {
            path: directory.join(name),
        };
        program.write(&root, attribute);
        // The first build compiles the dependencies.
        program.build();
        program
    });
    let mut seconds = [[0.0; ROUNDS]; PROGRAMS.len()];
    for round in 0..ROUNDS {
        for (program, seconds) in programs.iter().zip(&mut seconds) {
            program.touch();
            let started = Instant::now();
            program.build();
            seconds[round] = started.elapsed().as_secs_f64();
        }
    }
    let medians = seconds.map(median);
    let per_handler = |median: f64| (median - medians[0]) * 1000.0 / HANDLERS as f64;
    println!("\nCompile time, debug build, medians of {ROUNDS} rounds");
    println!("{:<8} {:>10} {:>16}", "", "program", "per handler");
    for ((name, _), median) in PROGRAMS.iter().zip(medians) {
        let per_handler = per_handler(median);
        println!("{name:<8} {median:>8.2} s {per_handler:>13.1} ms");
    }
    let added = per_handler(medians[2]) - per_handler(medians[1]);
    println!("The attribute adds {added:.1} ms to a handler.");
}

struct Program {
    path: PathBuf,
}

impl Program {
    fn write(&self, root: &Path, attribute: Option<&str>) {
        fs::create_dir_all(self.path.join("src")).unwrap();
        let name = self.path.file_name().unwrap().to_str().unwrap();
        let manifest = format!(
            "[package]\nname = \"compile-time-{name}\"\nedition = \"2024\"\n\n\
             [workspace]\n\n\
             [dependencies]\n\
             axum = {{ version = \"0.8\", features = [\"macros\"] }}\n\
             axum-redis-cache = {{ path = \"../../..\" }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n",
        );
        fs::write(self.path.join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), self.path.join("Cargo.lock")).unwrap();
        fs::write(self.source(), source(attribute)).unwrap();
    }

    fn source(&self) -> PathBuf {
        self.path.join("src/main.rs")
    }

    /// Lets the next build compile the program, but not its dependencies.
    fn touch(&self) {
        let text = fs::read_to_string(self.source()).unwrap();
        fs::write(self.source(), text).unwrap();
    }

    fn build(&self) {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--target-dir", "../target"])
            .current_dir(&self.path)
            .env("CARGO_INCREMENTAL", "0")
            .status()
            .expect("cargo starts");
        assert!(status.success(), "{} does not build", self.path.display());
    }
}

/// Returns a program with handlers that have an attribute.
fn source(attribute: Option<&str>) -> String {
    let mut handlers = String::new();
    let mut routes = String::new();
    for number in 0..attribute.map_or(0, |_| HANDLERS) {
        let attribute = attribute.unwrap_or_default();
        write!(
            handlers,
            "{attribute}\n\
             async fn product_{number}(Path(id): Path<u64>, State(db): State<Db>) -> Json<Product> {{\n    \
                 Json(Product {{ id, name: db.0.clone() }})\n\
             }}\n\n"
        )
        .unwrap();
        writeln!(
            routes,
            "        .route(\"/products/{number}/{{id}}\", get(product_{number}))"
        )
        .unwrap();
    }
    format!(
        "#![allow(unused_imports)]\n\n\
         use axum::extract::{{FromRef, Path, State}};\n\
         use axum::routing::get;\n\
         use axum::{{Json, Router}};\n\
         use axum_redis_cache::{{Cache, cached}};\n\n\
         #[derive(Clone)]\nstruct Db(String);\n\n\
         #[derive(Clone, FromRef)]\nstruct AppState {{\n    cache: Cache,\n    db: Db,\n}}\n\n\
         #[derive(serde::Serialize)]\nstruct Product {{\n    id: u64,\n    name: String,\n}}\n\n\
         {handlers}\
         fn main() {{\n    \
             let state = AppState {{ cache: Cache::in_memory(), db: Db(String::new()) }};\n    \
             let router: Router = Router::new()\n{routes}        .with_state(state);\n    \
             drop(router);\n\
         }}\n"
    )
}
