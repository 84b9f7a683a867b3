//! Servers are reached in every way that is promised, and none outlives who started it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod processes;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use processes::{is_running, until};
use test_support::RedisServer;

fn ping(url: &str) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd("PING").query(&mut connection)
}

#[test]
fn a_server_listens_on_its_port_and_a_unix_socket() {
    let server = RedisServer::start();
    assert_eq!(ping(&server.url()).unwrap(), "PONG");
    let socket = server.unix_socket().display();
    assert_eq!(ping(&format!("redis+unix://{socket}")).unwrap(), "PONG");
}

#[test]
fn a_user_is_let_in_and_nobody_else() {
    let server = RedisServer::start_with_user("somebody", "secret");
    let url = |login: &str| format!("redis://{login}{}", server.address());
    assert_eq!(ping(&url("somebody:secret@")).unwrap(), "PONG");
    assert!(ping(&url("somebody:other@")).is_err());
    assert_eq!(ping(&url("")).unwrap_err().code(), Some("NOAUTH"));
    assert!(!server.command_counts().is_empty());
}

#[test]
fn a_killed_server_starts_again_on_its_port_and_empty() {
    let mut server = RedisServer::start_with(&["--requirepass", "secret"]);
    let set = redis::cmd("SET").arg("key").arg("value").to_owned();
    let () = set.query(&mut server.connection()).unwrap();
    let (process, address) = (server.process(), server.address());
    server.kill();
    assert!(!is_running(process));
    server.start_again();
    assert_eq!(server.address(), address);
    let size = redis::cmd("DBSIZE").query::<u64>(&mut server.connection());
    assert_eq!(size.unwrap(), 0);
}

#[test]
#[should_panic(expected = "no-such-option")]
fn a_server_that_does_not_start_says_why() {
    RedisServer::start_with(&["--no-such-option", "yes"]);
}

#[test]
fn nothing_is_left_of_a_server_that_is_dropped_even_if_it_was_stopped() {
    let server = RedisServer::start();
    let process = server.process();
    let directory = server.unix_socket().parent().unwrap().to_owned();
    server.signal("STOP", process);
    assert!(is_running(process) && directory.exists());
    drop(server);
    assert!(!is_running(process) && !directory.exists());
}

/// This test runs itself in another process, to kill that.
#[test]
fn nothing_is_left_of_a_stopped_server_whose_process_was_killed() {
    const NAME: &str = "nothing_is_left_of_a_stopped_server_whose_process_was_killed";
    const IS_OTHER: &str = "TEST_SUPPORT_IS_OTHER_PROCESS";
    if std::env::var_os(IS_OTHER).is_some() {
        let server = RedisServer::shared();
        server.signal("STOP", server.process());
        let socket = server.unix_socket().display();
        println!("\nserver {} {socket}", server.process());
        // The time in which the other process is killed.
        sleep(Duration::from_secs(60));
        return;
    }
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(IS_OTHER, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(other.stdout.take().unwrap());
    let line = output
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("server "));
    let line = line.unwrap();
    let (process, socket) = line["server ".len()..].split_once(' ').unwrap();
    let process = process.parse().unwrap();
    let directory = std::path::Path::new(socket).parent().unwrap();
    assert!(is_running(process) && directory.exists());
    other.kill().unwrap();
    other.wait().unwrap();
    until("nothing is left", || {
        !is_running(process) && !directory.exists()
    });
}
