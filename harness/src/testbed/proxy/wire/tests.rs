//! What is seen of messages in every version, encoded by another implementation (`vectors.txt`: name,
//! version, request and answer in hexadecimal, each with its length before it; the correlation id is 41
//! more than the version).
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::{Link, Proxy, Watched, alter};
use super::*;

const VECTORS: &str = include_str!("vectors.txt");

#[derive(Debug, Clone)]
struct Vector {
    name: &'static str,
    version: i16,
    request: Vec<u8>,
    answer: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    };
    let vector = |line: &'static str| {
        let fields: Vec<&'static str> = line.split(' ').collect();
        let [name, version, request, answer] = fields[..] else { panic!("{line}") };
        let version = version.parse().unwrap();
        Vector { name, version, request: bytes(request), answer: bytes(answer) }
    };
    VECTORS.lines().map(vector).collect()
}

fn vector(name: &str, version: i16) -> Vector {
    vectors().into_iter().find(|v| v.name == name && v.version == version).unwrap()
}

/// A connection, and what is told of it.
struct Connection {
    follow: Option<Follow>,
    seen: UnboundedReceiver<Seen>,
}

impl Connection {
    fn new() -> Self {
        let (tap, seen) = Tap::new();
        Self { follow: Some(Follow::new("broker-1".into(), tap)), seen }
    }

    fn ask(&mut self, bytes: &[u8]) {
        let follow = self.follow.as_mut().unwrap();
        follow.read_from_client(bytes, Instant::now());
        follow.passed_to_part(bytes.len());
    }

    fn answer(&mut self, bytes: &[u8]) {
        let follow = self.follow.as_mut().unwrap();
        follow.read_from_part(bytes, Instant::now());
        follow.passed_to_client(bytes.len());
    }

    /// What was told so far: who, of which group, what.
    fn told(&mut self) -> Vec<(String, String, What)> {
        std::iter::from_fn(|| self.seen.try_recv().ok())
            .map(|seen| (seen.client, seen.group, seen.what))
            .collect()
    }

    fn close(mut self) -> Vec<(String, String, What)> {
        self.follow = None;
        self.told()
    }
}

fn place(partition: u32) -> Place {
    ("orders".to_owned(), partition)
}

/// What each vector says, whatever its version.
fn expected(vector: &Vector) -> Vec<What> {
    let (id, generation) = ("member-1".to_owned(), 7);
    let commit = |place, offset, outcome| {
        let (id, offsets) = ("member-1".to_owned(), vec![(place, offset)]);
        What::Commits { id, generation, offsets, outcome }
    };
    match vector.name {
        "OffsetCommit" => {
            vec![commit(place(0), 5, Outcome::Taken), commit(place(2), 9, Outcome::Refused(22))]
        }
        "OffsetFetch" => vec![What::Positions(vec![(place(0), Some(5)), (place(2), None)])],
        "JoinGroup" => {
            // Members have static names from version 5 on.
            let second = if vector.version >= 5 { "static-2" } else { "member-2" };
            let members = Some(vec![id.clone(), second.to_owned()]);
            vec![What::Joined { id, generation, members }]
        }
        "SyncGroup" => vec![What::Owns { id, generation, places: vec![place(0), place(2)] }],
        "Heartbeat" => vec![What::Refused { request: "Heartbeat", id, error: 25 }],
        "LeaveGroup" => vec![What::Left { ids: vec![id] }],
        "Metadata" => Vec::new(),
        "ConsumerGroupHeartbeat" => vec![
            What::Joined { id: id.clone(), generation, members: None },
            What::Owns { id, generation, places: vec![place(0), place(2)] },
        ],
        other => panic!("{other}"),
    }
}

fn whats(told: Vec<(String, String, What)>) -> Vec<What> {
    for (client, group, _) in &told {
        assert_eq!((client.as_str(), group.as_str()), ("consumer-1", "billing"));
    }
    told.into_iter().map(|(_, _, what)| what).collect()
}

/// A connection that knows the names of topics already.
fn named() -> Connection {
    let mut connection = Connection::new();
    let metadata = vector("Metadata", 12);
    connection.ask(&metadata.request);
    connection.answer(&metadata.answer);
    connection
}

#[test]
fn every_version_is_understood() {
    let names = [
        ("OffsetCommit", 2..=9),
        ("OffsetFetch", 1..=9),
        ("JoinGroup", 0..=9),
        ("SyncGroup", 0..=5),
        ("Heartbeat", 0..=4),
        ("LeaveGroup", 0..=5),
        ("Metadata", 10..=13),
        ("ConsumerGroupHeartbeat", 0..=1),
    ];
    for (name, versions) in names {
        for version in versions {
            let vector = vector(name, version);
            let mut connection = named();
            connection.ask(&vector.request);
            connection.answer(&vector.answer);
            assert_eq!(whats(connection.told()), expected(&vector), "{name} {version}");
        }
    }
}

#[test]
fn topics_named_by_id_are_told_by_name_once_anybody_was_told_it() {
    let vector = vector("ConsumerGroupHeartbeat", 1);
    let mut connection = Connection::new();
    connection.ask(&vector.request);
    connection.answer(&vector.answer);
    let unread = What::Unread { request: "ConsumerGroupHeartbeat", version: 1 };
    assert_eq!(whats(connection.told()), [unread]);
    for version in 10..=13 {
        let metadata = self::vector("Metadata", version);
        let mut connection = Connection::new();
        connection.ask(&metadata.request);
        connection.answer(&metadata.answer);
        connection.ask(&vector.request);
        connection.answer(&vector.answer);
        assert_eq!(whats(connection.told()), expected(&vector), "Metadata {version}");
    }
}

/// A request of an API that is not looked at, with its answer; full of what could mislead.
fn other(key: i16, correlation: i32, bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let frame = |head: &[u8]| {
        let body = [head, &vec![0xff; bytes]].concat();
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    };
    let correlation = correlation.to_be_bytes();
    let head = [&key.to_be_bytes()[..], &11_i16.to_be_bytes(), &correlation].concat();
    (frame(&head), frame(&correlation))
}

proptest! {
    /// Pipelined, among others, cut anywhere: what is told is the same.
    #[test]
    fn it_does_not_matter_how_the_bytes_come(
        picks in prop::collection::vec((0usize..50, prop::option::of(0usize..200_000)), 1..12),
        cuts in prop::collection::vec(1usize..5000, 1..40),
    ) {
        let all = vectors();
        let (mut requests, mut answers, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (pick, between)) in (1000..).zip(picks) {
            if let Some(bytes) = between {
                let (request, answer) = other(if pick % 2 == 0 { 0 } else { 1 }, -number, bytes);
                requests.extend(request);
                answers.extend(answer);
            }
            let mut vector = all[pick % all.len()].clone();
            vector.request[8..12].copy_from_slice(&number.to_be_bytes());
            vector.answer[4..8].copy_from_slice(&number.to_be_bytes());
            requests.extend(&vector.request);
            answers.extend(&vector.answer);
            due.extend(expected(&vector));
        }
        let mut connection = named();
        let mut cuts = cuts.into_iter().cycle();
        while !requests.is_empty() {
            let piece = requests.len().min(cuts.next().unwrap());
            connection.ask(&requests.drain(..piece).collect::<Vec<_>>());
        }
        while !answers.is_empty() {
            let piece = answers.len().min(cuts.next().unwrap());
            connection.answer(&answers.drain(..piece).collect::<Vec<_>>());
        }
        // Commits are told when the answer is read, all else once it has passed: each in its order.
        let (commits, others): (Vec<_>, Vec<_>) =
            whats(connection.told()).into_iter().partition(is_commit);
        let (due_commits, due_others): (Vec<_>, Vec<_>) = due.into_iter().partition(is_commit);
        prop_assert_eq!(commits, due_commits);
        prop_assert_eq!(others, due_others);
    }

    /// Nothing that a client or a broker sends can do more than be told as not understood.
    #[test]
    fn damaged_messages_do_no_harm(
        pick in 0usize..50,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = vectors();
        let mut vector = all[pick % all.len()].clone();
        for (at, byte) in damage {
            // The lengths of the frames stay, or little of this would be read at all.
            let (request, answer) = (vector.request.len(), vector.answer.len());
            vector.request[4 + at.index(request - 4)] = byte;
            vector.answer[8 + at.index(answer - 8)] = byte;
        }
        let mut connection = named();
        connection.ask(&vector.request);
        connection.answer(&vector.answer[..cut.index(vector.answer.len())]);
        connection.close();
    }
}

fn is_commit(what: &What) -> bool {
    matches!(what, What::Commits { .. })
}

#[test]
fn a_message_that_is_longer_or_shorter_than_its_version_is_not_taken_for_it() {
    for vector in vectors() {
        if vector.name == "Metadata" {
            continue;
        }
        let unread = What::Unread { request: vector.name, version: vector.version };
        let longer = |frame: &[u8]| {
            let body = [&frame[4..], &[0]].concat();
            [&(body.len() as u32).to_be_bytes()[..], &body].concat()
        };
        let mut connection = named();
        connection.ask(&longer(&vector.request));
        assert_eq!(bare(connection.told()), std::slice::from_ref(&unread), "{vector:?}");
        let mut connection = named();
        connection.ask(&vector.request);
        connection.answer(&longer(&vector.answer));
        assert_eq!(bare(connection.told()), [unread], "{vector:?}");
    }
}

fn bare(told: Vec<(String, String, What)>) -> Vec<What> {
    told.into_iter().map(|(_, _, what)| what).collect()
}

#[test]
fn answers_are_matched_whatever_their_order() {
    let (commit, fetch) = (vector("OffsetCommit", 9), vector("OffsetFetch", 7));
    let mut connection = Connection::new();
    connection.ask(&[commit.request.clone(), fetch.request.clone()].concat());
    connection.answer(&[fetch.answer.clone(), commit.answer.clone()].concat());
    let told = whats(connection.told());
    assert_eq!(told.len(), 3);
    assert!(expected(&fetch).iter().chain(&expected(&commit)).all(|due| told.contains(due)));
}

#[test]
fn a_swallowed_answer_tells_the_client_nothing_but_the_coordinator_holds_the_commit() {
    let (commit, fetch) = (vector("OffsetCommit", 8), vector("OffsetFetch", 6));
    let mut connection = Connection::new();
    connection.ask(&[commit.request.clone(), fetch.request].concat());
    let follow = connection.follow.as_mut().unwrap();
    follow.read_from_part(&[commit.answer.clone(), fetch.answer].concat(), Instant::now());
    follow.swallowed();
    assert_eq!(whats(connection.told()), expected(&commit));
    assert!(connection.close().is_empty());
}

#[test]
fn a_commit_without_an_answer_is_told_unless_it_never_left() {
    let commit = vector("OffsetCommit", 8);
    let mut connection = Connection::new();
    connection.ask(&commit.request);
    // A part of the answer is no answer.
    connection.answer(&commit.answer[..9]);
    assert!(connection.told().is_empty());
    let told = whats(connection.close());
    let [What::Commits { offsets, outcome: Outcome::Unanswered, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(offsets, &[(place(0), 5), (place(2), 9)]);

    let mut held_back = Connection::new();
    let follow = held_back.follow.as_mut().unwrap();
    follow.read_from_client(&commit.request, Instant::now());
    follow.passed_to_part(commit.request.len() - 1);
    assert!(held_back.close().is_empty());
}

#[test]
fn a_position_is_told_when_the_last_byte_has_passed() {
    let fetch = vector("OffsetFetch", 9);
    let mut connection = Connection::new();
    connection.ask(&fetch.request);
    let follow = connection.follow.as_mut().unwrap();
    follow.read_from_part(&fetch.answer, Instant::now());
    follow.passed_to_client(fetch.answer.len() - 1);
    assert!(connection.told().is_empty());
    connection.follow.as_mut().unwrap().passed_to_client(1);
    assert_eq!(whats(connection.told()), expected(&fetch));
}

#[test]
fn what_is_no_kafka_is_told_once_and_left_alone() {
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x7a];
    for bytes in [&hello[..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 10, 0, 117, 0, 115, 0, 0, 0, 0]]
    {
        let mut connection = Connection::new();
        connection.ask(bytes);
        connection.ask(bytes);
        let told = connection.told();
        assert!(matches!(&told[..], [(_, _, What::Lost { .. })]), "{told:?}");
        assert!(connection.close().is_empty());
    }
}

#[test]
fn the_harness_own_clients_are_left_out() {
    let fetch = vector("OffsetFetch", 6);
    let at = fetch.request.windows(10).position(|w| w == b"consumer-1").unwrap();
    let own = b"streamlake-harness";
    let mut body = fetch.request[4..at - 2].to_vec();
    body.extend((own.len() as u16).to_be_bytes());
    body.extend(own);
    body.extend(&fetch.request[at + 10..]);
    let request = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    let mut connection = Connection::new();
    connection.ask(&request);
    connection.answer(&fetch.answer);
    assert!(connection.close().is_empty());
}

#[test]
fn commits_inside_transactions_and_newer_versions_are_told_as_not_understood() {
    let mut newer = vector("OffsetFetch", 9);
    newer.request[6..8].copy_from_slice(&11_i16.to_be_bytes());
    let mut transactional = vector("OffsetCommit", 9);
    transactional.request[4..6].copy_from_slice(&28_i16.to_be_bytes());
    for (vector, request, version) in
        [(newer, "OffsetFetch", 11), (transactional, "TxnOffsetCommit", 9)]
    {
        let mut connection = Connection::new();
        connection.ask(&vector.request);
        let told = connection.told();
        let [(client, _, what)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((client.as_str(), what), ("consumer-1", &What::Unread { request, version }));
    }
}

/// A coordinator that takes one connection after the other and answers so many of the requests of
/// each, in order, with what is to be answered.
async fn coordinator(answers: Vec<Vec<u8>>, of_each: usize) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut answers = answers.clone().into_iter().take(of_each);
            tokio::spawn(async move {
                loop {
                    let Ok(size) = stream.read_u32().await else { return };
                    let mut request = vec![0; size as usize];
                    stream.read_exact(&mut request).await.unwrap();
                    if let Some(answer) = answers.next() {
                        stream.write_all(&answer).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

struct Proxied {
    proxy: Proxy,
    client: TcpStream,
    seen: UnboundedReceiver<Seen>,
}

async fn proxied(answers: Vec<Vec<u8>>, of_each: usize) -> Proxied {
    let (tap, seen) = Tap::new();
    let upstream = coordinator(answers, of_each).await;
    let watched = Watched { tap, rules: alter::Rules::default() };
    let proxy = Proxy::bind_watched("broker-1", upstream, Some(watched)).await.unwrap();
    let client = TcpStream::connect(proxy.local_addr()).await.unwrap();
    Proxied { proxy, client, seen }
}

async fn next(seen: &mut UnboundedReceiver<Seen>) -> What {
    let next = tokio::time::timeout(std::time::Duration::from_secs(5), seen.recv()).await;
    next.expect("nothing was told within five seconds").unwrap().what
}

#[tokio::test]
async fn what_passes_a_proxy_is_told_and_passes_unchanged() {
    let (commit, fetch) = (vector("OffsetCommit", 8), vector("OffsetFetch", 9));
    let answers = vec![commit.answer.clone(), fetch.answer.clone()];
    let mut there = proxied(answers, 2).await;
    // In pieces that cut both requests.
    let requests = [commit.request.clone(), fetch.request.clone()].concat();
    for piece in requests.chunks(7) {
        there.client.write_all(piece).await.unwrap();
    }
    let mut answered = vec![0; commit.answer.len() + fetch.answer.len()];
    there.client.read_exact(&mut answered).await.unwrap();
    assert_eq!(answered, [commit.answer.clone(), fetch.answer.clone()].concat());
    for due in expected(&commit).into_iter().chain(expected(&fetch)) {
        assert_eq!(next(&mut there.seen).await, due);
    }
}

#[tokio::test]
async fn a_link_that_swallows_answers_hides_positions_and_no_commits() {
    let (commit, fetch) = (vector("OffsetCommit", 8), vector("OffsetFetch", 9));
    // The second connection asks for the position again, and is answered.
    let answers = vec![fetch.answer.clone(), commit.answer.clone()];
    let mut there = proxied(answers, 2).await;
    there.proxy.set_link(Link::SwallowAnswers);
    let requests = [fetch.request.clone(), commit.request.clone()].concat();
    there.client.write_all(&requests).await.unwrap();
    for due in expected(&commit) {
        assert_eq!(next(&mut there.seen).await, due);
    }
    there.proxy.set_link(Link::Pass);
    let mut again = TcpStream::connect(there.proxy.local_addr()).await.unwrap();
    again.write_all(&fetch.request).await.unwrap();
    assert_eq!(next(&mut there.seen).await, expected(&fetch)[0]);
    assert!(there.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_connection_reset_before_the_answer_leaves_the_commit_unanswered() {
    let commit = vector("OffsetCommit", 9);
    let mut there = proxied(Vec::new(), 0).await;
    there.client.write_all(&commit.request).await.unwrap();
    let passed = async {
        while there.proxy.counters().bytes_to_part < commit.request.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), passed).await.unwrap();
    there.proxy.set_link(Link::ResetOnce);
    let told = next(&mut there.seen).await;
    assert!(matches!(told, What::Commits { outcome: Outcome::Unanswered, .. }), "{told:?}");
}

#[tokio::test]
async fn a_commit_that_a_black_hole_kept_is_not_told() {
    let commit = vector("OffsetCommit", 9);
    let mut there = proxied(vec![commit.answer.clone()], 1).await;
    there.proxy.set_link(Link::BlackHole);
    there.client.write_all(&commit.request).await.unwrap();
    there.proxy.close().await;
    drop(there.proxy);
    let told = tokio::time::timeout(std::time::Duration::from_secs(5), there.seen.recv()).await;
    assert_eq!(told.unwrap(), None, "the tap ends with its proxy and has told nothing");
}
