//! The database as handlers see it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::items::Scope;

/// A pool of connections.
#[derive(Clone)]
pub(crate) struct Database {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<BufReader<TcpStream>>>>,
}

impl Database {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Arc::default(),
        }
    }

    /// The body of the response to a read.
    pub(crate) async fn read(&self, item: u32) -> String {
        self.body(format!("read {item}"), Scope::Item(item).length())
            .await
    }

    /// The body of the response to a write.
    pub(crate) async fn write(&self, scope: Scope) -> String {
        self.body(format!("write {scope}"), scope.length()).await
    }

    /// Counts a run for a cold key, which takes long enough for others to arrive meanwhile.
    pub(crate) async fn cold(&self, key: u64) -> String {
        let body = self.body(format!("cold {key}"), 0).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        body
    }

    /// Takes up to 20 ms, before and after the command itself. The command is one step: a handler
    /// that is dropped when its client is gone has either changed something or will not. The answer
    /// is at both ends of the body.
    async fn body(&self, command: String, length: usize) -> String {
        think().await;
        let answer = tokio::task::block_in_place(|| self.ask(&command));
        think().await;
        format!("{answer} {} {answer}", ".".repeat(length))
    }

    fn ask(&self, command: &str) -> u64 {
        let idle = self.idle().pop();
        let mut connection = idle.unwrap_or_else(|| {
            let stream = TcpStream::connect(self.address).expect("the database");
            stream.set_nodelay(true).unwrap();
            BufReader::new(stream)
        });
        let line = format!("{command}\n");
        connection.get_mut().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_line(&mut answer).unwrap();
        self.idle().push(connection);
        answer.trim().parse().expect("a version")
    }

    fn idle(&self) -> MutexGuard<'_, Vec<BufReader<TcpStream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn think() {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..10_000))).await;
}
