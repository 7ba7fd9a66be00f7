//! Frames that are altered, held against another implementation's bytes (`wire/vectors.txt`), and frames that
//! are not, which must come out as they went in, however the stream is split.
#![allow(clippy::unwrap_used)]

use bytes::{BufMut as _, Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answers::{Asked, Told};
use super::errors::code;
use super::*;
use crate::testbed::proxy::{Proxy, Watched, wire};

const VECTORS: &str = include_str!("../wire/vectors.txt");

struct Vector {
    name: &'static str,
    version: i16,
    request: Bytes,
    answer: Bytes,
}

fn bytes(hex: &str) -> Bytes {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn vectors() -> impl Iterator<Item = Vector> {
    VECTORS.lines().map(|line| {
        let fields: Vec<&'static str> = line.split(' ').collect();
        let [name, version, request, answer] = fields[..] else { panic!("{line}") };
        let version = version.parse().unwrap();
        Vector { name, version, request: bytes(request), answer: bytes(answer) }
    })
}

fn vector(name: &str, version: i16) -> Vector {
    vectors().find(|v| v.name == name && v.version == version).unwrap()
}

fn told(error: &str) -> Told {
    Told { error: code(error).unwrap(), throttle_ms: 0, partition: None }
}

/// What an answer says, read by the harness's own reader of groups' messages.
fn read_back(vector: &Vector, answer: &Bytes) -> Vec<wire::What> {
    let (tap, mut seen) = wire::Tap::new();
    let mut follow = wire::Follow::new("broker-1".into(), tap);
    let at = std::time::Instant::now();
    let names = vectors().find(|v| v.name == "Metadata" && v.version == 12).unwrap();
    for (request, answer) in [(&names.request, &names.answer), (&vector.request, answer)] {
        follow.read_from_client(request, at);
        follow.passed_to_part(request.len());
        follow.read_from_part(answer, at);
        follow.passed_to_client(answer.len());
    }
    std::iter::from_fn(move || seen.try_recv().ok()).map(|seen| seen.what).collect()
}

#[test]
fn an_altered_answer_says_the_error_and_nothing_else_in_every_version() {
    let error = code("NOT_COORDINATOR").unwrap();
    let mut tried = 0;
    for vector in vectors().filter(|v| v.name != "Metadata") {
        let asked = Asked::read(&vector.request).unwrap();
        assert_eq!((asked.version, asked.client.as_str()), (vector.version, "consumer-1"));
        let (altered, changes) = asked.altered(&vector.answer, told("NOT_COORDINATOR")).unwrap();
        assert!(changes.iter().all(|change| change.told == error), "{changes:?}");
        let said = read_back(&vector, &altered);
        let refused = said.iter().all(|what| match what {
            wire::What::Refused { error: said, .. } => *said == error,
            wire::What::Commits { outcome, .. } => *outcome == wire::Outcome::Refused(error),
            _ => false,
        });
        assert!(refused && !said.is_empty(), "{} {}: {said:?}", vector.name, vector.version);
        tried += 1;
    }
    assert!(tried > 40);
}

#[test]
fn brokers_are_told_to_be_at_their_proxies_in_every_version() {
    let addresses = Addresses::default();
    let mut tried = 0;
    for vector in vectors() {
        let asked = Asked::read(&vector.request).unwrap();
        addresses.set(BTreeMap::new());
        assert!(!addresses.are_told_by(asked.key));
        addresses.set((-1..10).map(|id| (id, ([127, 9, 9, 9], 5_999).into())).collect());
        if !addresses.are_told_by(asked.key) {
            assert_eq!(asked.moved(&vector.answer, &addresses), None);
            continue;
        }
        let moved = asked.moved(&vector.answer, &addresses).unwrap();
        let text = String::from_utf8_lossy(&moved).into_owned();
        assert!(text.contains("127.9.9.9"), "{} {}: {text}", vector.name, vector.version);
        assert_ne!(moved, vector.answer);
        assert_eq!(moved[4..8], vector.answer[4..8], "the correlation id");
        assert_eq!(asked.moved(&moved, &addresses), Some(moved));
        tried += 1;
    }
    assert!(tried > 3, "{tried}");
    assert_eq!(addresses.untouched(), 0);
}

/// On a connection, too: what tells addresses is held and told otherwise, and all else passes as it is.
#[test]
fn a_connection_tells_of_proxies_and_passes_all_else() {
    let rules = Rules::default();
    rules.addresses.set((0..10).map(|id| (id, ([127, 9, 9, 9], 5_999).into())).collect());
    let mut connection = Altering::new("broker-1".into(), rules.clone());
    for vector in vectors() {
        let asked = Asked::read(&vector.request).unwrap();
        let passed: Vec<u8> = connection.pass_request(vector.request.clone()).concat();
        assert_eq!(passed, vector.request);
        // However it is split.
        let (first, second) = (vector.answer.slice(..9), vector.answer.slice(9..));
        let mut pieces = connection.pass_answer(first);
        pieces.extend(connection.pass_answer(second));
        let told: Vec<u8> = pieces.iter().flat_map(|piece| piece.pass.to_vec()).collect();
        let right = asked.moved(&vector.answer, &rules.addresses).unwrap_or(vector.answer);
        assert_eq!(told, right, "{} {}", vector.name, vector.version);
    }
    assert_eq!(rules.addresses.untouched(), 0);
}

#[test]
fn a_made_answer_says_the_error_in_every_version() {
    let error = code("COORDINATOR_NOT_AVAILABLE").unwrap();
    for vector in vectors().filter(|v| v.name != "Metadata") {
        let asked = Asked::read(&vector.request).unwrap();
        let (made, _) = asked.made(told("COORDINATOR_NOT_AVAILABLE")).unwrap();
        assert_eq!(made[4..8], vector.answer[4..8], "the correlation id");
        let said = read_back(&vector, &made);
        let refused = said.iter().all(|what| match what {
            wire::What::Refused { error: said, .. } => *said == error,
            wire::What::Commits { outcome, .. } => *outcome == wire::Outcome::Refused(error),
            _ => false,
        });
        assert!(refused && !said.is_empty(), "{} {}: {said:?}", vector.name, vector.version);
    }
}

#[test]
fn a_commit_can_be_granted_and_one_partition_of_it_refused() {
    for vector in vectors().filter(|v| v.name == "OffsetCommit") {
        let asked = Asked::read(&vector.request).unwrap();
        let (granted, _) = asked.made(told("NONE")).unwrap();
        let taken = |what: &wire::What| matches!(what, wire::What::Commits { outcome: wire::Outcome::Taken, offsets, .. } if offsets.len() == 2);
        assert!(read_back(&vector, &granted).iter().all(taken));
        let only = Told { partition: Some(0), ..told("UNKNOWN_MEMBER_ID") };
        let (altered, changes) = asked.altered(&vector.answer, only).unwrap();
        assert_eq!(changes.len(), 1);
        let refused = wire::Outcome::Refused(code("UNKNOWN_MEMBER_ID").unwrap());
        let said = read_back(&vector, &altered);
        // Partition 2 was refused by the coordinator itself, with another error.
        let outcomes: Vec<_> = said
            .iter()
            .map(|what| match what {
                wire::What::Commits { outcome, offsets, .. } => (*outcome, offsets[0].0.1),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(outcomes, [(refused, 0), (wire::Outcome::Refused(22), 2)]);
        assert_eq!(asked.concerns(Some(2)), Ok(true));
        assert_eq!(asked.concerns(Some(1)), Ok(false));
    }
}

#[test]
fn what_the_broker_says_itself_and_what_is_not_understood_is_not_touched() {
    let heartbeat = vector("Heartbeat", 4);
    let asked = Asked::read(&heartbeat.request).unwrap();
    let same = asked.altered(&heartbeat.answer, told("UNKNOWN_MEMBER_ID"));
    assert!(same.unwrap_err().contains("said the same"));
    let mut later = BytesMut::from(&heartbeat.request[..]);
    later[7] = 31;
    let later = Asked::read(&later.freeze()).unwrap();
    assert!(later.concerns(None).unwrap_err().contains("version 31"));
    let cut = heartbeat.answer.slice(..heartbeat.answer.len() - 1);
    assert!(asked.altered(&cut, told("NOT_COORDINATOR")).is_err());
}

/// A request of Produce in version 3: no transaction, these acknowledgements, one partition of `t`.
fn produce(correlation: i32, acks: i16) -> Bytes {
    let mut body = BytesMut::new();
    for number in [0, 3] {
        body.put_i16(number);
    }
    body.put_i32(correlation);
    body.put_slice(b"\x00\x0aproducer-1");
    for number in [-1, acks] {
        body.put_i16(number);
    }
    body.put_i32(30_000);
    body.put_i32(1);
    body.put_slice(b"\x00\x01t");
    for number in [1, 2, 3] {
        body.put_i32(number);
    }
    body.put_slice(b"abc");
    framed(body)
}

/// Its answer: offset 7.
fn produced(correlation: i32) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i32(correlation);
    body.put_i32(1);
    body.put_slice(b"\x00\x01t");
    body.put_i32(1);
    body.put_i32(2);
    body.put_i16(0);
    body.put_i64(7);
    body.put_i64(-1);
    body.put_i32(0);
    framed(body)
}

fn framed(body: BytesMut) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(body.len()).unwrap());
    frame.put(body);
    frame.freeze()
}

fn rule(api: &str, reply: Reply, applied: bool) -> Rule {
    let (api, client) = (Api::named(api).unwrap(), Client::Any);
    Rule { api, client, partition: None, nth: 1, times: 1, reply, applied }
}

fn error(name: &str) -> Reply {
    Reply::Error { error: code(name).unwrap(), throttle_ms: 0 }
}

struct Connection {
    altering: Altering,
    rules: Rules,
}

impl Connection {
    fn new() -> Self {
        let rules = Rules::default();
        Self { altering: Altering::new("broker-1".into(), rules.clone()), rules }
    }

    fn ask(&mut self, bytes: &Bytes) -> Bytes {
        self.altering.pass_request(bytes.clone()).concat().into()
    }

    fn answer(&mut self, bytes: &Bytes) -> Bytes {
        let pieces = self.altering.pass_answer(bytes.clone()).into_iter();
        pieces.map(|piece| piece.pass).collect::<Vec<_>>().concat().into()
    }

    fn ready(&mut self) -> Bytes {
        let pieces = self.altering.ready().into_iter();
        pieces.map(|piece| piece.pass).collect::<Vec<_>>().concat().into()
    }
}

/// The error of a version-3 answer of Produce.
fn error_of(answer: &[u8]) -> i16 {
    i16::from_be_bytes([answer[23], answer[24]])
}

#[test]
fn a_request_that_the_broker_had_done_is_told_to_have_failed() {
    let mut connection = Connection::new();
    let id = connection.rules.arm(rule("Produce", error("REQUEST_TIMED_OUT"), true));
    assert_eq!(connection.ask(&produce(5, -1)), produce(5, -1));
    let told = connection.answer(&produced(5));
    assert_eq!((error_of(&told), told.len()), (7, produced(5).len()));
    // Once; what comes after it passes.
    connection.ask(&produce(6, -1));
    assert_eq!(connection.answer(&produced(6)), produced(6));
    let tally = connection.rules.disarm(id);
    assert_eq!((tally.met, tally.altered), (2, 1));
    let [answer] = &tally.answers[..] else { panic!("{tally:?}") };
    assert_eq!((answer.was, answer.told, answer.partition), (Some(0), Some(7), Some(2)));
    assert_eq!((answer.api.as_str(), answer.version, answer.count), ("Produce", 3, 1));
    assert_eq!((answer.client.as_str(), answer.link.as_str()), ("producer-1", "broker-1"));
}

#[test]
fn a_made_answer_waits_for_those_that_are_owed_before_it() {
    let mut connection = Connection::new();
    // Sent before the rule was there.
    connection.ask(&produce(1, -1));
    let id = connection
        .rules
        .arm(Rule { nth: 2, ..rule("Produce", error("KAFKA_STORAGE_ERROR"), false) });
    connection.ask(&produce(2, -1));
    assert!(connection.ask(&produce(3, -1)).is_empty(), "the broker sees it");
    connection.ask(&produce(4, -1));
    assert!(connection.ready().is_empty(), "it came before the answers of 1 and 2");
    assert_eq!(connection.answer(&produced(1)), produced(1));
    let told = connection.answer(&produced(2));
    assert_eq!(told[..produced(2).len()], produced(2)[..]);
    let made = &told[produced(2).len()..];
    assert_eq!((made[4..8].to_vec(), error_of(made)), (vec![0, 0, 0, 3], 56));
    assert_eq!(connection.answer(&produced(4)), produced(4));
    assert_eq!(connection.rules.disarm(id).answers[0].was, None);
}

#[test]
fn who_wants_no_answer_gets_none_and_keeps_nobody_waiting() {
    let mut connection = Connection::new();
    let before = produce(1, 0);
    assert_eq!(connection.ask(&before), before);
    let id = connection.rules.arm(rule("Produce", error("KAFKA_STORAGE_ERROR"), false));
    assert_eq!(connection.ask(&produce(2, 0)), produce(2, 0));
    assert!(connection.ready().is_empty());
    connection.ask(&produce(3, -1));
    assert_eq!(error_of(&connection.ready()), 56);
    let tally = connection.rules.disarm(id);
    assert_eq!((tally.altered, tally.spared.len()), (1, 1));
}

#[test]
fn silence_lasts_until_the_rule_is_taken_back() {
    for applied in [true, false] {
        let mut connection = Connection::new();
        let id = connection.rules.arm(rule("Produce", Reply::Nothing, applied));
        assert_eq!(connection.ask(&produce(1, -1)).is_empty(), !applied);
        connection.ask(&produce(2, -1));
        let answers =
            if applied { [produced(1), produced(2)].concat() } else { produced(2).to_vec() };
        assert!(connection.ready().is_empty());
        assert!(connection.answer(&answers.into()).is_empty(), "answers come in order");
        assert!(!connection.altering.is_stranded());
        assert_eq!(connection.rules.tally(id).altered, 1);
        connection.rules.disarm(id);
        assert!(connection.altering.is_stranded());
    }
}

#[test]
fn a_cut_leaves_half_an_answer() {
    let mut connection = Connection::new();
    let _ = connection.rules.arm(rule("Produce", Reply::Half, true));
    connection.ask(&produce(1, -1));
    let told = connection.answer(&[produced(1), produced(9)].concat().into());
    assert_eq!(told, produced(1).slice(..produced(1).len() / 2));
    assert!(connection.altering.is_cut());
}

#[test]
fn a_commit_that_was_not_answered_is_seen_to_hold() {
    let vector = vector("OffsetCommit", 7);
    let mut connection = Connection::new();
    let _ = connection.rules.arm(rule("OffsetCommit", Reply::Nothing, true));
    connection.ask(&vector.request);
    let pieces = connection.altering.pass_answer(vector.answer.clone());
    let [piece] = &pieces[..] else { panic!("{pieces:?}") };
    assert_eq!((piece.pass.len(), piece.seen.as_ref()), (0, Some(&vector.answer)));
}

#[test]
fn a_rule_is_for_its_client_and_never_for_the_harness() {
    let mut connection = Connection::new();
    let named = |name: &str| Client::Named(name.to_owned());
    let reply = error("KAFKA_STORAGE_ERROR");
    let _ =
        connection.rules.arm(Rule { client: named("consumer-1"), ..rule("Produce", reply, false) });
    assert_eq!(connection.ask(&produce(1, -1)), produce(1, -1));
    let _ =
        connection.rules.arm(Rule { client: named("producer-1"), ..rule("Produce", reply, false) });
    assert!(connection.ask(&produce(2, -1)).is_empty());
    assert!(!Client::Any.is(wire::OWN_CLIENTS));
}

/// A stream that is none of Kafka's is let alone.
#[test]
fn another_protocol_passes() {
    let mut connection = Connection::new();
    let _ = connection.rules.arm(rule("Produce", Reply::Nothing, false));
    let stream = Bytes::from_static(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(connection.ask(&stream), stream);
    assert_eq!(connection.ask(&stream), stream);
}

/// Pieces of a stream, cut at these places.
fn pieces(stream: &[u8], mut cuts: Vec<usize>) -> Vec<Bytes> {
    cuts.iter_mut().for_each(|cut| *cut %= stream.len() + 1);
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| Bytes::copy_from_slice(&stream[pair[0]..pair[1]])).collect()
}

proptest! {
    /// Rules are armed, and choose none of these: every byte passes in its order, at any split.
    #[test]
    fn frames_that_are_not_chosen_pass_unchanged(
        order in prop::collection::vec(0..60_usize, 1..12),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
        armed in any::<bool>(),
    ) {
        let all: Vec<Vector> = vectors().collect();
        let chosen = || order.iter().map(|number| &all[number % all.len()]);
        let requests: Vec<u8> = chosen().flat_map(|v| v.request.to_vec()).collect();
        let answers: Vec<u8> = chosen().flat_map(|v| v.answer.to_vec()).collect();
        let mut connection = Connection::new();
        if armed {
            for api in Api::all() {
                let client = Client::Named("somebody-else".to_owned());
                let _ = connection.rules.arm(Rule { client, ..rule(&api.name(), Reply::Nothing, true) });
            }
        }
        let passed: Vec<u8> = pieces(&requests, cuts.clone()).iter()
            .flat_map(|piece| connection.ask(piece)).collect();
        prop_assert_eq!(passed, requests);
        let passed: Vec<u8> = pieces(&answers, cuts).iter()
            .flat_map(|piece| connection.answer(piece)).collect();
        prop_assert_eq!(passed, answers);
    }

    /// One is chosen among others: it alone is altered, and all others pass in their order, at any split.
    #[test]
    fn only_what_is_chosen_is_altered(
        before in 0..4_i32,
        after in 0..4_i32,
        applied in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut connection = Connection::new();
        let nth = u64::try_from(before).unwrap() + 1;
        let _ = connection.rules.arm(Rule { nth, ..rule("Produce", error("REQUEST_TIMED_OUT"), applied) });
        let all = before + 1 + after;
        let sent: Vec<u8> = (0..all).flat_map(|id| produce(id, -1)).collect();
        let expected: Vec<u8> = (0..all).filter(|id| applied || *id != before)
            .flat_map(|id| produce(id, -1)).collect();
        let passed: Vec<u8> = pieces(&sent, cuts.clone()).iter()
            .flat_map(|piece| connection.ask(piece)).collect();
        prop_assert_eq!(passed, expected);
        let mut told: Vec<u8> = connection.ready().to_vec();
        let answers: Vec<u8> = (0..all).filter(|id| applied || *id != before)
            .flat_map(produced).collect();
        told.extend(pieces(&answers, cuts).iter().flat_map(|piece| connection.answer(piece)));
        let length = produced(0).len();
        prop_assert_eq!(told.len(), length * usize::try_from(all).unwrap());
        for (id, answer) in (0..all).zip(told.chunks(length)) {
            prop_assert_eq!(&answer[4..8], &id.to_be_bytes()[..]);
            prop_assert_eq!(error_of(answer), if id == before { 7 } else { 0 });
        }
    }
}

/// A part that answers each request of Produce.
async fn broker() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(size) = stream.read_u32().await {
                    let mut request = vec![0; size as usize];
                    stream.read_exact(&mut request).await.unwrap();
                    let correlation = i32::from_be_bytes(*request[4..].first_chunk().unwrap());
                    if stream.write_all(&produced(correlation)).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn ask(client: &mut TcpStream, correlation: i32) -> std::io::Result<Vec<u8>> {
    client.write_all(&produce(correlation, -1)).await?;
    let mut answer = vec![0; produced(0).len()];
    client.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_proxy_makes_alters_withholds_and_cuts() {
    let rules = Rules::default();
    let watched = Watched { tap: wire::Tap::new().0, rules: rules.clone() };
    let proxy = Proxy::bind_watched("broker-1", broker().await, Some(watched)).await.unwrap();
    let connect = || async { TcpStream::connect(proxy.local_addr()).await.unwrap() };
    let mut client = connect().await;
    assert_eq!(ask(&mut client, 1).await.unwrap(), produced(1));
    for applied in [true, false] {
        let id = rules.arm(rule("Produce", error("REQUEST_TIMED_OUT"), applied));
        assert_eq!(error_of(&ask(&mut client, 2).await.unwrap()), 7);
        rules.altered(id).await;
        rules.disarm(id);
        assert_eq!(ask(&mut client, 3).await.unwrap(), produced(3));
    }
    let id = rules.arm(rule("Produce", Reply::Nothing, true));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), ask(&mut client, 4));
    assert!(waited.await.is_err());
    rules.disarm(id);
    assert!(client.read_u8().await.is_err(), "it was not reset");
    let mut client = connect().await;
    let _ = rules.arm(rule("Produce", Reply::Half, false));
    client.write_all(&produce(5, -1)).await.unwrap();
    let mut left = Vec::new();
    client.read_to_end(&mut left).await.unwrap();
    assert_eq!(left, [0, 0, 0, 64, 0, 0, 0, 5]);
}
