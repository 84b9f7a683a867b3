//! "The database": the version of every item, behind a line protocol on a loopback port.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::items::{ITEMS, Scope};

#[derive(Clone)]
pub(crate) struct Database {
    tables: Arc<Mutex<Tables>>,
    address: SocketAddr,
}

struct Tables {
    /// Of each item, the number of the write that changed it last.
    versions: Vec<u64>,
    writes: u64,
    /// How often the handler of a cold key ran.
    cold_runs: HashMap<u64, u64>,
}

impl Database {
    /// Threads serve it, so that it answers while the load keeps the runtime busy.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tables = Tables {
            versions: vec![0; ITEMS as usize],
            writes: 0,
            cold_runs: HashMap::new(),
        };
        let database = Self {
            tables: Arc::new(Mutex::new(tables)),
            address,
        };
        let served = database.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let database = served.clone();
                thread::spawn(move || database.serve(stream));
            }
        });
        database
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn version(&self, item: u32) -> u64 {
        self.tables().versions[item as usize]
    }

    pub(crate) fn cold_runs(&self, key: u64) -> u64 {
        self.tables().cold_runs.get(&key).copied().unwrap_or(0)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut replies = stream.try_clone().ok()?;
        for line in BufReader::new(stream).lines() {
            let answer = self.execute(&line.ok()?)?;
            replies.write_all(format!("{answer}\n").as_bytes()).ok()?;
        }
        None
    }

    fn execute(&self, command: &str) -> Option<u64> {
        let mut tables = self.tables();
        let (verb, rest) = command.split_once(' ')?;
        match verb {
            "read" => tables.versions.get(rest.parse::<usize>().ok()?).copied(),
            "write" => Some(tables.write(Scope::parse(rest)?)),
            "cold" => {
                *tables.cold_runs.entry(rest.parse().ok()?).or_default() += 1;
                Some(0)
            }
            _ => None,
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Changes all of the scope at once, and returns their new version.
    fn write(&mut self, scope: Scope) -> u64 {
        self.writes += 1;
        for item in (0..ITEMS).filter(|item| scope.contains(*item)) {
            self.versions[item as usize] = self.writes;
        }
        self.writes
    }
}
