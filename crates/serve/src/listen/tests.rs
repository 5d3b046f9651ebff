//! Connections over streams in memory. The clock is paused: it jumps to the next timer whenever nothing else can be
//! done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::door::Door;
use super::{Limits, backlog};

const ASK: &[u8] = b"GET /name HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &[u8] = b"GET /name HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const HOLD: &[u8] = b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n";

/// A door before a few routes, and the handlers' state.
struct House {
    door: Door,
    /// Lets the handler of `/hold` answer.
    go_on: Arc<Notify>,
    /// Handlers of `/hold` that have begun, and that were dropped.
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn house(limits: Limits) -> House {
    let go_on = Arc::new(Notify::new());
    let [begun, dropped] = [(), ()].map(|()| Arc::new(AtomicUsize::new(0)));
    let state = (Arc::clone(&go_on), Arc::clone(&begun), Arc::clone(&dropped));
    let hold = async move || {
        let (go_on, begun, dropped) = state;
        let _dropped = CountDrop(dropped);
        begun.fetch_add(1, Ordering::SeqCst);
        go_on.notified().await;
        "held"
    };
    let router = Router::new()
        .route("/name", get("classify"))
        .route("/long", get(Bytes::from(vec![b'x'; 1 << 20])))
        .route("/size", post(async |body: Bytes| body.len().to_string()))
        .route("/no", post(async |_: Request<Body>| StatusCode::FORBIDDEN))
        .route("/hold", get(hold));
    House {
        door: Door::new(router, limits),
        go_on,
        begun,
        dropped,
    }
}

impl House {
    fn enter(&mut self) -> DuplexStream {
        let (client, server) = duplex(1024);
        self.door.admit(server);
        client
    }
}

/// Everything until the server closes the stream.
async fn rest(client: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    // A connection that was cut off has sent something before.
    let _ = client.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// One answer of a connection that stays open.
async fn answer(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    while !text.ends_with("classify") && !text.ends_with("held") {
        let byte = client.read_u8().await.unwrap();
        text.push(byte.into());
    }
    text
}

fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn requests_follow_each_other_on_a_connection() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    client.write_all(ASK).await.unwrap();
    assert_eq!(status(&answer(&mut client).await), "HTTP/1.1 200 OK");
    // Three at once.
    client.write_all(&[ASK, ASK, LAST].concat()).await.unwrap();
    let answers = rest(&mut client).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(answers.matches("classify").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn http_1_0_is_answered_once() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    let ask = b"GET /name HTTP/1.0\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let answers = rest(&mut client).await;
    assert_eq!(status(&answers), "HTTP/1.0 200 OK");
    assert!(answers.ends_with("classify"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    let start = Instant::now();
    for byte in b"GET /na" {
        sleep(Duration::from_secs(1)).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    let answer = rest(&mut client).await;
    assert_eq!(status(&answer), "HTTP/1.1 408 Request Timeout");
    // The first byte came after a second.
    let expected = Duration::from_secs(1) + Limits::default().head_timeout;
    assert_eq!(start.elapsed().as_secs(), expected.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_refused_and_a_whole_one_is_not() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    let start = Instant::now();
    let head = b"POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(client);
    let trickle = tokio::spawn(async move {
        while writes.write_all(b"a").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let mut answer = Vec::new();
    reads.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(status(&answer), "HTTP/1.1 408 Request Timeout");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 30);
    // The rest is read for a while, so that the client can read the answer.
    trickle.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 35);

    let mut client = house.enter();
    let ask =
        b"POST /size HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc";
    client.write_all(ask).await.unwrap();
    assert!(rest(&mut client).await.ends_with('3'));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_ends_the_connection() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    let start = Instant::now();
    let ask = b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(ask).await.unwrap();
    house.door.reap().await;
    assert_eq!(start.elapsed(), Limits::default().answer_timeout);
    assert!(rest(&mut client).await.len() <= 1024);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let limits = Limits::default();
    let mut house = house(limits.clone());
    let mut silent = house.enter();
    let mut client = house.enter();
    client.write_all(ASK).await.unwrap();
    answer(&mut client).await;
    let start = Instant::now();
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(start.elapsed(), limits.head_timeout);
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(start.elapsed(), limits.idle_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_cancels_its_request() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    client.write_all(HOLD).await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(house.begun.load(Ordering::SeqCst), 1);
    assert_eq!(house.dropped.load(Ordering::SeqCst), 0);
    drop(client);
    house.door.reap().await;
    assert_eq!(house.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_reaches_a_client_that_sends_on() {
    let mut house = house(Limits::default());
    let mut client = house.enter();
    let head = b"POST /no HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n";
    client.write_all(head).await.unwrap();
    // The client reads only after it has sent everything.
    client.write_all(&vec![0; 1_000_000]).await.unwrap();
    let answer = rest(&mut client).await;
    assert_eq!(status(&answer), "HTTP/1.1 403 Forbidden");
}

#[tokio::test(start_paused = true)]
async fn heads_have_a_largest_size() {
    let mut house = house(Limits::default());
    for (bytes, expected) in [(20_000, "200"), (40_000, "431"), (1_000_000, "431")] {
        let mut client = house.enter();
        let long = "a".repeat(bytes);
        let ask = format!("GET /name HTTP/1.1\r\nx: {long}\r\nconnection: close\r\n\r\n");
        client.write_all(ask.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert_eq!(status(&answer).split(' ').nth(1), Some(expected), "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_http_is_refused() {
    let mut house = house(Limits::default());
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..],
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
    ] {
        let mut client = house.enter();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(status(&rest(&mut client).await), "HTTP/1.1 400 Bad Request");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_house_closes_the_longest_idle_connection() {
    let mut house = house(Limits {
        connections: 3,
        ..Limits::default()
    });
    let mut never = std::pin::pin!(std::future::pending());
    let mut busy = house.enter();
    busy.write_all(HOLD).await.unwrap();
    let [mut first, mut second] = [house.enter(), house.enter()];
    for client in [&mut first, &mut second] {
        client.write_all(ASK).await.unwrap();
        answer(client).await;
        sleep(Duration::from_secs(1)).await;
    }
    house.door.make_room(never.as_mut()).await;
    let mut silent = house.enter();
    assert_eq!(rest(&mut first).await, "");
    // A connection that asks nothing gives way to all others.
    sleep(Duration::from_secs(2)).await;
    house.door.make_room(never.as_mut()).await;
    let mut third = house.enter();
    assert_eq!(rest(&mut silent).await, "");
    for client in [&mut second, &mut third] {
        client.write_all(ASK).await.unwrap();
        answer(client).await;
    }
    house.go_on.notify_one();
    assert!(answer(&mut busy).await.ends_with("held"));
}

#[tokio::test(start_paused = true)]
async fn a_full_and_busy_house_lets_others_wait() {
    let mut house = house(Limits {
        connections: 1,
        ..Limits::default()
    });
    let mut never = std::pin::pin!(std::future::pending());
    let mut busy = house.enter();
    busy.write_all(HOLD).await.unwrap();
    let (go_on, start) = (Arc::clone(&house.go_on), Instant::now());
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    tokio::spawn(async move {
        sleep(Duration::from_secs(7)).await;
        done.store(true, Ordering::SeqCst);
        go_on.notify_one();
    });
    assert!(!house.door.make_room(never.as_mut()).await);
    assert!(is_done.load(Ordering::SeqCst));
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(rest(&mut busy).await.ends_with("held"));
    // The end does not wait for room.
    let mut second = house.enter();
    second.write_all(HOLD).await.unwrap();
    let over = std::pin::pin!(sleep(Duration::from_secs(1)));
    assert!(house.door.make_room(over).await);
}

#[tokio::test(start_paused = true)]
async fn the_end_answers_begun_requests_and_closes_idle_connections() {
    let mut house = house(Limits::default());
    let [mut busy, mut idle, mut late] = [house.enter(), house.enter(), house.enter()];
    busy.write_all(HOLD).await.unwrap();
    for client in [&mut idle, &mut late] {
        client.write_all(ASK).await.unwrap();
        answer(client).await;
    }
    let (go_on, start) = (Arc::clone(&house.go_on), Instant::now());
    house.door.close();
    let ended = tokio::spawn(house.door.ended());
    // A request that was on its way.
    late.write_all(ASK).await.unwrap();
    let answer = rest(&mut late).await;
    assert!(answer.contains("connection: close") && answer.ends_with("classify"));
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    sleep(Duration::from_secs(9)).await;
    go_on.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("held"));
    assert_eq!(ended.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_even_if_a_request_takes_too_long() {
    let mut house = house(Limits::default());
    let mut clients = [house.enter(), house.enter(), house.enter()];
    for client in &mut clients[..2] {
        client.write_all(HOLD).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    house.door.close();
    assert_eq!(house.door.ended().await, 2);
    assert_eq!(start.elapsed(), Limits::default().end_timeout);
    assert_eq!(house.dropped.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_backlog_is_complete() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(backlog(listener).len(), clients.len());
    assert!(TcpStream::connect(address).await.is_err());
}
