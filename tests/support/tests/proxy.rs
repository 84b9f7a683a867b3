//! The proxy does to connections what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use test_support::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const SHORT: Duration = Duration::from_millis(100);

/// A proxy in front of a server that sends back what it gets.
async fn before_an_echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Proxy::start(address).await
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Returns the bytes that come back.
async fn echo(stream: &mut TcpStream, text: &str) -> String {
    let _ = stream.write_all(text.as_bytes()).await;
    let mut reply = vec![0; text.len()];
    let mut length = 0;
    while length < reply.len() {
        match stream.read(&mut reply[length..]).await {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
    }
    String::from_utf8(reply[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn replies_are_held_while_it_is_slow() {
    let proxy = before_an_echo().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(echo(&mut stream, "at once").await, "at once");
    proxy.delay(SHORT);
    let started = Instant::now();
    assert_eq!(echo(&mut stream, "late").await, "late");
    assert!(started.elapsed() >= SHORT);
}

#[tokio::test]
async fn replies_that_it_holds_are_forwarded_later() {
    let proxy = before_an_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.hang();
    timeout(SHORT, echo(&mut stream, "kept")).await.unwrap_err();
    proxy.pass();
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"kept");
}

#[tokio::test]
async fn replies_that_it_holds_are_forgotten_when_connections_are_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    let mut stream = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.hang();
    timeout(SHORT, echo(&mut stream, "kept")).await.unwrap_err();
    proxy.cut();
    proxy.pass();
    let mut requests = String::new();
    server.read_to_string(&mut requests).await.unwrap();
    assert_eq!(requests, "");
}

#[tokio::test]
async fn connections_are_closed_and_new_ones_too_while_it_refuses() {
    let proxy = before_an_echo().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(echo(&mut stream, "one").await, "one");
    proxy.refuse();
    assert_eq!(echo(&mut stream, "two").await, "");
    assert_eq!(echo(&mut connect(&proxy).await, "three").await, "");
    proxy.pass();
    assert_eq!(echo(&mut connect(&proxy).await, "four").await, "four");
}

#[tokio::test]
async fn only_present_connections_are_cut() {
    let proxy = before_an_echo().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(echo(&mut stream, "one").await, "one");
    proxy.cut();
    assert_eq!(echo(&mut stream, "two").await, "");
    assert_eq!(echo(&mut connect(&proxy).await, "three").await, "three");
}

#[tokio::test]
async fn one_connection_is_reset_in_the_middle_of_a_reply() {
    let proxy = before_an_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.cut_replies_after(8);
    assert_eq!(echo(&mut stream, "whole").await, "whole");
    assert_eq!(echo(&mut stream, "partly").await, "par");
    assert_eq!(
        echo(&mut connect(&proxy).await, "whole again").await,
        "whole again"
    );
}
