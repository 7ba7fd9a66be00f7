//! Real sockets on the loopback: an echoing part, the proxy, and a client.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SOON: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_millis(150);

/// Answers every byte with itself, and closes its side when the client has closed.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    address
}

async fn proxied() -> (Proxy, TcpStream) {
    let proxy = Proxy::bind("echo", echo().await).await.unwrap();
    let mut client = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut client, b"hello").await.unwrap(), b"hello");
    (proxy, client)
}

async fn ask(client: &mut TcpStream, what: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(what).await?;
    let mut answer = vec![0; what.len()];
    tokio::time::timeout(SOON, client.read_exact(&mut answer)).await??;
    Ok(answer)
}

async fn ends_by_reset(client: &mut TcpStream) {
    let ended = tokio::time::timeout(SOON, client.read(&mut [0; 16])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

async fn stays_silent(client: &mut TcpStream) {
    assert!(tokio::time::timeout(A_WHILE, client.read(&mut [0; 16])).await.is_err());
}

/// Waits for a figure that another task counts.
async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap();
}

#[tokio::test]
async fn passes_much_in_both_directions_and_keeps_half_closed_connections() {
    let (proxy, mut client) = proxied().await;
    proxy.set_link(Link::Pass);
    let sent: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = client.split();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let read = async { reader.read_to_end(&mut received).await.unwrap() };
    tokio::join!(write, read);
    assert!(received == sent, "bytes were changed or lost");
    until(|| proxy.open() == 0).await;
    let counters = proxy.counters();
    assert_eq!((counters.bytes_to_part, counters.bytes_to_clients), (20_000_000, 20_000_000));
    assert_eq!((counters.open_at_change, counters.reset), (1, 0));
}

#[tokio::test]
async fn a_refusing_link_resets_open_connections_and_new_ones_at_once() {
    let (proxy, mut client) = proxied().await;
    proxy.set_link(Link::Refuse);
    ends_by_reset(&mut client).await;
    let mut second = TcpStream::connect(proxy.local_addr()).await.unwrap();
    ends_by_reset(&mut second).await;
    until(|| proxy.counters().reset == 1 && proxy.counters().refused == 1).await;
    let during = proxy.set_link(Link::Pass);
    assert_eq!((during.open_at_change, during.refused, during.connected), (1, 1, 0));
    let mut third = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut third, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_reset_is_noticed_even_if_the_link_passes_again_at_once() {
    let (proxy, mut client) = proxied().await;
    proxy.set_link(Link::Refuse);
    proxy.set_link(Link::Pass);
    ends_by_reset(&mut client).await;
    let mut second = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut second, b"x").await.unwrap(), b"x");
    proxy.set_link(Link::ResetOnce);
    ends_by_reset(&mut second).await;
    let mut third = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut third, b"y").await.unwrap(), b"y");
}

#[tokio::test]
async fn a_black_hole_stalls_without_closing_and_loses_nothing() {
    let (proxy, mut client) = proxied().await;
    proxy.set_link(Link::BlackHole);
    client.write_all(b"into the hole").await.unwrap();
    stays_silent(&mut client).await;
    let mut second = TcpStream::connect(proxy.local_addr()).await.unwrap();
    second.write_all(b"so too").await.unwrap();
    stays_silent(&mut second).await;
    let during = proxy.set_link(Link::Pass);
    assert_eq!((during.stalled, during.held, during.open_at_change), (1, 1, 1));
    assert_eq!((during.bytes_to_part, during.bytes_to_clients), (0, 0));
    let mut answer = [0; 13];
    tokio::time::timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"into the hole");
    let mut answer = [0; 6];
    tokio::time::timeout(SOON, second.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"so too");
}

#[tokio::test]
async fn swallowed_answers_are_counted_and_their_connections_reset_afterwards() {
    let (proxy, mut client) = proxied().await;
    let mut idle = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut idle, b"idle").await.unwrap(), b"idle");
    proxy.set_link(Link::SwallowAnswers);
    client.write_all(b"asked").await.unwrap();
    stays_silent(&mut client).await;
    until(|| proxy.counters().bytes_swallowed == 5).await;
    assert_eq!(proxy.counters().bytes_to_part, 5);
    proxy.set_link(Link::Pass);
    ends_by_reset(&mut client).await;
    assert_eq!(ask(&mut idle, b"kept").await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_delay_is_added_to_each_direction_and_does_not_throttle() {
    let (proxy, mut client) = proxied().await;
    proxy.set_link(Link::Delay(Duration::from_millis(60)));
    let start = Instant::now();
    let much = vec![7; 2_000_000];
    let (mut reader, mut writer) = client.split();
    let mut answer = vec![0; much.len()];
    let (wrote, read) = tokio::join!(writer.write_all(&much), reader.read_exact(&mut answer));
    wrote.unwrap();
    read.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(3), "throttled: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_part_that_is_away_refuses_through_the_proxy_and_is_found_on_its_new_port() {
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxy = Proxy::bind("away", address).await.unwrap();
    let mut client = TcpStream::connect(proxy.local_addr()).await.unwrap();
    ends_by_reset(&mut client).await;
    assert_eq!(proxy.counters().refused_by_part, 1);
    proxy.set_upstream(echo().await);
    let mut client = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(ask(&mut client, b"back").await.unwrap(), b"back");
}

#[tokio::test]
async fn closing_resets_everything_and_frees_the_port() {
    let (proxy, mut client) = proxied().await;
    let address = proxy.local_addr();
    proxy.close().await;
    ends_by_reset(&mut client).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
