use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guardian::Guardian;

/// An empty directory, removed when this is dropped or the process ends.
pub struct TempDir {
    path: PathBuf,
    _guardian: Guardian,
}

/// A server that is being killed at the same time may still write to it.
const REMOVE: &str = r#"for try in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 1; done"#;

impl TempDir {
    /// Makes one.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-support-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A process with the same id may have been killed together with its guardians.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory for temporary files");
        Self {
            _guardian: Guardian::start("", REMOVE, [&path]),
            path,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}
