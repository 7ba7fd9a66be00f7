//! Answers in the versions of their requests: those of the part with another error in them, and such as are
//! made here.
//!
//! A message is touched only if it comes out as it went in when it is decoded and encoded again. Bytes
//! behind an answer that the crate does not read (librdkafka's mock writes some) are kept.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, BrokerId, ConsumerGroupHeartbeatRequest, DescribeClusterRequest,
    FetchRequest, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, RequestHeader, ResponseHeader, SyncGroupRequest,
    fetch_response, list_offsets_response, offset_commit_response, produce_response,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use super::addresses::Addresses;
use super::cutter::SIZE_BYTES;
use super::errors::{self, NONE};

/// Bytes of a request before its client id.
const HEAD_BYTES: usize = 8;
/// Of a coordinator, an offset or a producer that nobody tells.
const NOWHERE: i32 = -1;

/// What is to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) error: i16,
    pub(super) throttle_ms: i32,
    /// Only of this partition.
    pub(super) partition: Option<i32>,
}

impl Told {
    /// It is about this partition.
    fn of(self, partition: i32) -> bool {
        self.partition.is_none_or(|only| only == partition)
    }

    fn names_error(self) -> bool {
        self.error != NONE
    }
}

/// What an answer said, and says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) partition: Option<i32>,
    pub(super) was: i16,
    pub(super) told: i16,
}

/// The changes of one answer.
#[derive(Debug, Default)]
struct Changes(Vec<Change>);

impl Changes {
    /// Sets an error; only where it is told.
    fn set(&mut self, code: &mut i16, told: Told, partition: Option<i32>) -> bool {
        if !told.names_error() {
            self.0.push(Change { partition, was: *code, told: *code });
            return false;
        }
        self.0.push(Change { partition, was: *code, told: told.error });
        *code = told.error;
        true
    }
}

/// A request that was held, with its length.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
    pub(super) client: String,
    frame: Bytes,
}

impl Asked {
    /// None for what is no request.
    pub(super) fn read(frame: &Bytes) -> Option<Self> {
        let bytes = frame.get(SIZE_BYTES..)?;
        let number = |at: usize| Some(i16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let correlation = i32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        let client = match usize::try_from(number(HEAD_BYTES)?) {
            Ok(length) => bytes.get(HEAD_BYTES + 2..HEAD_BYTES + 2 + length)?,
            Err(_) => &[],
        };
        let client = String::from_utf8_lossy(client).into_owned();
        Some(Self {
            key: number(0)?,
            version: number(2)?,
            correlation,
            client,
            frame: frame.clone(),
        })
    }

    /// Whether it names a partition, and can be answered here at all.
    pub(super) fn concerns(&self, partition: Option<i32>) -> Result<bool, String> {
        let row = row(self.key).ok_or_else(|| format!("API {} is not known here", self.key))?;
        (row.concerns)(self, partition).ok_or_else(|| self.not_understood("request"))
    }

    fn not_understood(&self, what: &str) -> String {
        format!("{what} of {} in version {} is not understood", self.name(), self.version)
    }

    pub(super) fn name(&self) -> String {
        ApiKey::try_from(self.key).map_or_else(|()| self.key.to_string(), |key| format!("{key:?}"))
    }

    /// The answer of the part with the error in it. None where it says so already.
    pub(super) fn altered(
        &self,
        answer: &Bytes,
        told: Told,
    ) -> Result<(Bytes, Vec<Change>), String> {
        let row = row(self.key).ok_or_else(|| self.not_understood("answer"))?;
        let altered = (row.altered)(self, answer, told);
        let (frame, changes) = altered.ok_or_else(|| self.not_understood("answer"))?;
        match frame == *answer {
            true => Err("the broker's own answer said the same".to_owned()),
            false => Ok((frame, changes)),
        }
    }

    /// What the part's answer says, as far as it is understood.
    pub(super) fn said(&self, answer: &Bytes, partition: Option<i32>) -> Vec<Change> {
        let told = Told { error: NONE, throttle_ms: 0, partition };
        let read = row(self.key).and_then(|row| (row.altered)(self, answer, told));
        read.map(|(_, changes)| changes).unwrap_or_default()
    }

    /// An answer without the part.
    pub(super) fn made(&self, told: Told) -> Result<(Bytes, Vec<Change>), String> {
        let make = row(self.key).and_then(|row| row.made);
        let make = make.ok_or_else(|| format!("{} cannot be answered here", self.name()))?;
        make(self, told).ok_or_else(|| self.not_understood("request"))
    }

    /// The answer of the part with the addresses of the proxies in place of the brokers' own. None where it is
    /// not understood.
    pub(super) fn moved(&self, answer: &Bytes, addresses: &Addresses) -> Option<Bytes> {
        let put = |id: BrokerId, host: &mut StrBytes, port: &mut i32| {
            if let Some(address) = addresses.of(id.0) {
                *host = StrBytes::from_string(address.ip().to_string());
                *port = i32::from(address.port());
            }
        };
        match ApiKey::try_from(self.key).ok()? {
            ApiKey::Metadata => rewritten::<MetadataRequest>(self, answer, |response| {
                for broker in &mut response.brokers {
                    put(broker.node_id, &mut broker.host, &mut broker.port);
                }
            }),
            ApiKey::FindCoordinator => {
                rewritten::<FindCoordinatorRequest>(self, answer, |response| {
                    put(response.node_id, &mut response.host, &mut response.port);
                    for found in &mut response.coordinators {
                        put(found.node_id, &mut found.host, &mut found.port);
                    }
                })
            }
            ApiKey::DescribeCluster => {
                rewritten::<DescribeClusterRequest>(self, answer, |response| {
                    for broker in &mut response.brokers {
                        put(broker.broker_id, &mut broker.host, &mut broker.port);
                    }
                })
            }
            _ => None,
        }
    }

    /// The beginning of an answer, for a connection that is cut in the middle of it.
    pub(super) fn begun(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i32(64);
        bytes.put_i32(self.correlation);
        bytes.freeze()
    }

    /// A producer that wants no answer.
    pub(super) fn wants_none(&self) -> bool {
        self.key == ApiKey::Produce as i16
            && self.body::<ProduceRequest>().is_some_and(|request| request.acks == 0)
    }

    fn body<R: Request>(&self) -> Option<R> {
        let versions = <R as Message>::VERSIONS;
        if !(versions.min..=versions.max).contains(&self.version) {
            return None;
        }
        let mut bytes = self.frame.slice(SIZE_BYTES..);
        RequestHeader::decode(&mut bytes, R::header_version(self.version)).ok()?;
        let (request, rest) = decoded(bytes, self.version)?;
        rest.is_empty().then_some(request)
    }
}

/// Whether a producer wants no answer, by the beginning of its request.
pub(super) fn acks_none(beginning: &Bytes) -> Option<bool> {
    let asked = Asked::read(beginning)?;
    let mut bytes = beginning.slice(SIZE_BYTES..);
    RequestHeader::decode(&mut bytes, ProduceRequest::header_version(asked.version)).ok()?;
    // A transactional id is behind a length of one byte in compact versions, and of two before; a
    // transactional producer never goes without acknowledgements.
    let without = match asked.version {
        3..=8 => bytes.split_to_checked(2)? == [0xff, 0xff][..],
        9.. => bytes.split_to_checked(1)? == [0][..],
        _ => return None,
    };
    Some(without && bytes.split_to_checked(2)? == [0, 0][..])
}

trait SplitChecked {
    fn split_to_checked(&mut self, bytes: usize) -> Option<Bytes>;
}

impl SplitChecked for Bytes {
    fn split_to_checked(&mut self, bytes: usize) -> Option<Bytes> {
        (self.len() >= bytes).then(|| self.split_to(bytes))
    }
}

/// A message that comes out as it went in, and what is behind it.
fn decoded<M: Decodable + Encodable>(mut bytes: Bytes, version: i16) -> Option<(M, Bytes)> {
    let whole = bytes.clone();
    let message = M::decode(&mut bytes, version).ok()?;
    let mut again = BytesMut::new();
    message.encode(&mut again, version).ok()?;
    (again == whole.slice(..whole.len() - bytes.len())).then_some((message, bytes))
}

/// An answer with its length.
fn framed(
    header: &ResponseHeader,
    header_version: i16,
    body: &impl Encodable,
    version: i16,
    rest: &Bytes,
) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, header_version).ok()?;
    body.encode(&mut bytes, version).ok()?;
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(bytes.len() + rest.len()).ok()?);
    frame.put(bytes);
    frame.put(rest.clone());
    Some(frame.freeze())
}

/// An API and how its answers are altered and made.
pub(super) struct Row {
    pub(super) key: ApiKey,
    pub(super) names_partitions: bool,
    concerns: fn(&Asked, Option<i32>) -> Option<bool>,
    altered: fn(&Asked, &Bytes, Told) -> Option<(Bytes, Vec<Change>)>,
    pub(super) made: Option<fn(&Asked, Told) -> Option<(Bytes, Vec<Change>)>>,
}

/// The row of an API.
pub(super) fn row(key: i16) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key as i16 == key)
}

/// Every API whose answers can be altered.
pub(super) static TABLE: [Row; 14] = [
    row_of::<ProduceRequest>(ApiKey::Produce, true, true),
    row_of::<FetchRequest>(ApiKey::Fetch, true, true),
    row_of::<ListOffsetsRequest>(ApiKey::ListOffsets, true, true),
    // Without the part nobody knows which brokers there are.
    row_of::<MetadataRequest>(ApiKey::Metadata, true, false),
    row_of::<OffsetCommitRequest>(ApiKey::OffsetCommit, true, true),
    row_of::<OffsetFetchRequest>(ApiKey::OffsetFetch, true, true),
    row_of::<FindCoordinatorRequest>(ApiKey::FindCoordinator, false, true),
    row_of::<JoinGroupRequest>(ApiKey::JoinGroup, false, true),
    row_of::<HeartbeatRequest>(ApiKey::Heartbeat, false, true),
    row_of::<LeaveGroupRequest>(ApiKey::LeaveGroup, false, true),
    row_of::<SyncGroupRequest>(ApiKey::SyncGroup, false, true),
    row_of::<ApiVersionsRequest>(ApiKey::ApiVersions, false, true),
    row_of::<InitProducerIdRequest>(ApiKey::InitProducerId, false, true),
    row_of::<ConsumerGroupHeartbeatRequest>(ApiKey::ConsumerGroupHeartbeat, false, true),
];

const fn row_of<R: Answered>(key: ApiKey, names_partitions: bool, made: bool) -> Row {
    let made: Option<fn(&Asked, Told) -> Option<(Bytes, Vec<Change>)>> =
        if made { Some(make::<R>) } else { None };
    Row { key, names_partitions, concerns: concerns::<R>, altered: alter::<R>, made }
}

fn concerns<R: Answered>(asked: &Asked, partition: Option<i32>) -> Option<bool> {
    let request: R = asked.body()?;
    Some(partition.is_none_or(|partition| request.names(partition)))
}

fn alter<R: Answered>(asked: &Asked, answer: &Bytes, told: Told) -> Option<(Bytes, Vec<Change>)> {
    let mut changes = Changes::default();
    let tell = |response: &mut R::Response| R::tell(response, told, asked.version, &mut changes);
    let frame = rewritten::<R>(asked, answer, tell)?;
    Some((frame, changes.0))
}

/// An answer of which something was made otherwise.
fn rewritten<R: Request>(
    asked: &Asked,
    answer: &Bytes,
    rewrite: impl FnOnce(&mut R::Response),
) -> Option<Bytes> {
    let version = asked.version;
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    let mut bytes = answer.slice(SIZE_BYTES..);
    let header = ResponseHeader::decode(&mut bytes, header_version).ok()?;
    let (mut response, rest) = decoded::<R::Response>(bytes, version)?;
    rewrite(&mut response);
    framed(&header, header_version, &response, version, &rest)
}

fn make<R: Answered>(asked: &Asked, told: Told) -> Option<(Bytes, Vec<Change>)> {
    let version = asked.version;
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    let request: R = asked.body()?;
    let mut response = request.granted(version)?;
    let mut changes = Changes::default();
    R::tell(&mut response, told, version, &mut changes);
    let header = ResponseHeader::default().with_correlation_id(asked.correlation);
    let frame = framed(&header, header_version, &response, version, &Bytes::new())?;
    Some((frame, changes.0))
}

/// A request, and what can be told of it.
trait Answered: Request {
    /// It is about this partition of some topic.
    fn names(&self, _partition: i32) -> bool {
        true
    }

    /// An answer without any error, for [`Answered::tell`] to set one in.
    fn granted(&self, version: i16) -> Option<Self::Response>;

    /// Sets the error wherever it belongs, and takes out what no answer with it would hold.
    fn tell(response: &mut Self::Response, told: Told, version: i16, changes: &mut Changes);
}

impl Answered for ProduceRequest {
    fn names(&self, partition: i32) -> bool {
        self.topic_data.iter().any(|of| of.partition_data.iter().any(|p| p.index == partition))
    }

    fn granted(&self, _: i16) -> Option<Self::Response> {
        let topic = |topic: &kafka_protocol::messages::produce_request::TopicProduceData| {
            let partitions = topic.partition_data.iter();
            let partitions = partitions.map(|partition| {
                produce_response::PartitionProduceResponse::default().with_index(partition.index)
            });
            produce_response::TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        };
        Some(Self::Response::default().with_responses(self.topic_data.iter().map(topic).collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        let partitions = response.responses.iter_mut().flat_map(|t| &mut t.partition_responses);
        for partition in partitions.filter(|partition| told.of(partition.index)) {
            if changes.set(&mut partition.error_code, told, Some(partition.index)) {
                partition.base_offset = i64::from(NOWHERE);
                partition.log_append_time_ms = i64::from(NOWHERE);
            }
        }
    }
}

impl Answered for FetchRequest {
    fn names(&self, partition: i32) -> bool {
        self.topics.iter().any(|of| of.partitions.iter().any(|p| p.partition == partition))
    }

    fn granted(&self, _: i16) -> Option<Self::Response> {
        let topic = |topic: &kafka_protocol::messages::fetch_request::FetchTopic| {
            let partitions = topic.partitions.iter().map(|partition| {
                fetch_response::PartitionData::default()
                    .with_partition_index(partition.partition)
                    .with_high_watermark(i64::from(NOWHERE))
                    .with_records(Some(Bytes::new()))
            });
            fetch_response::FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        };
        Some(Self::Response::default().with_responses(self.topics.iter().map(topic).collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        let partitions = response.responses.iter_mut().flat_map(|t| &mut t.partitions);
        for partition in partitions.filter(|partition| told.of(partition.partition_index)) {
            if changes.set(&mut partition.error_code, told, Some(partition.partition_index)) {
                partition.records = Some(Bytes::new());
            }
        }
    }
}

impl Answered for ListOffsetsRequest {
    fn names(&self, partition: i32) -> bool {
        self.topics.iter().any(|of| of.partitions.iter().any(|p| p.partition_index == partition))
    }

    fn granted(&self, _: i16) -> Option<Self::Response> {
        let topic = |topic: &kafka_protocol::messages::list_offsets_request::ListOffsetsTopic| {
            let partitions = topic.partitions.iter().map(|partition| {
                list_offsets_response::ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
            });
            list_offsets_response::ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        };
        Some(Self::Response::default().with_topics(self.topics.iter().map(topic).collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|partition| told.of(partition.partition_index)) {
            if changes.set(&mut partition.error_code, told, Some(partition.partition_index)) {
                partition.timestamp = i64::from(NOWHERE);
                partition.offset = i64::from(NOWHERE);
            }
        }
    }
}

impl Answered for MetadataRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        None
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        for topic in &mut response.topics {
            if told.partition.is_none() {
                if changes.set(&mut topic.error_code, told, None) {
                    topic.partitions.clear();
                }
                continue;
            }
            let partitions = topic.partitions.iter_mut();
            for partition in partitions.filter(|partition| told.of(partition.partition_index)) {
                if changes.set(&mut partition.error_code, told, Some(partition.partition_index)) {
                    partition.leader_id = BrokerId(NOWHERE);
                }
            }
        }
    }
}

impl Answered for OffsetCommitRequest {
    fn names(&self, partition: i32) -> bool {
        self.topics.iter().any(|of| of.partitions.iter().any(|p| p.partition_index == partition))
    }

    fn granted(&self, _: i16) -> Option<Self::Response> {
        let topic =
            |topic: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    offset_commit_response::OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                });
                offset_commit_response::OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(partitions.collect())
            };
        Some(Self::Response::default().with_topics(self.topics.iter().map(topic).collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|partition| told.of(partition.partition_index)) {
            changes.set(&mut partition.error_code, told, Some(partition.partition_index));
        }
    }
}

/// From this version on groups are asked for, each with an error of its own.
const OFFSET_FETCH_OF_GROUPS: i16 = 8;
/// From this version on there is an error for the whole answer.
const OFFSET_FETCH_WITH_ERROR: i16 = 2;

impl Answered for OffsetFetchRequest {
    fn names(&self, partition: i32) -> bool {
        let of_group = self.topics.iter().flatten().map(|topic| &topic.partition_indexes);
        let of_groups = self.groups.iter().flat_map(|group| group.topics.iter().flatten());
        let of_groups = of_groups.map(|topic| &topic.partition_indexes);
        of_group.chain(of_groups).any(|partitions| partitions.contains(&partition))
    }

    /// Where the error stands for the whole, brokers tell nothing of the partitions.
    fn granted(&self, version: i16) -> Option<Self::Response> {
        let response = Self::Response::default();
        if version >= OFFSET_FETCH_OF_GROUPS {
            let groups = self.groups.iter();
            let groups = groups.map(|group| {
                OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone())
            });
            return Some(response.with_groups(groups.collect()));
        }
        if version >= OFFSET_FETCH_WITH_ERROR {
            return Some(response);
        }
        let topics = self.topics.iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|partition| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(i64::from(NOWHERE))
            });
            OffsetFetchResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        Some(response.with_topics(topics.collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, version: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        let whole = told.partition.is_none();
        if whole && version >= OFFSET_FETCH_OF_GROUPS {
            for group in &mut response.groups {
                if changes.set(&mut group.error_code, told, None) {
                    group.topics.clear();
                }
            }
            return;
        }
        if whole && version >= OFFSET_FETCH_WITH_ERROR {
            if changes.set(&mut response.error_code, told, None) {
                response.topics.clear();
            }
            return;
        }
        let nowhere = i64::from(NOWHERE);
        for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let index = partition.partition_index;
            if told.of(index) && changes.set(&mut partition.error_code, told, Some(index)) {
                partition.committed_offset = nowhere;
            }
        }
        let topics = response.groups.iter_mut().flat_map(|group| &mut group.topics);
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            let index = partition.partition_index;
            if told.of(index) && changes.set(&mut partition.error_code, told, Some(index)) {
                partition.committed_offset = nowhere;
            }
        }
    }
}

/// From this version on several coordinators can be looked for at once.
const FIND_SEVERAL_COORDINATORS: i16 = 4;

impl Answered for FindCoordinatorRequest {
    fn granted(&self, version: i16) -> Option<Self::Response> {
        let response = Self::Response::default();
        if version < FIND_SEVERAL_COORDINATORS {
            return Some(response.with_node_id(BrokerId(NOWHERE)).with_port(NOWHERE));
        }
        let coordinators = self.coordinator_keys.iter().map(|key| {
            let nowhere = Coordinator::default().with_node_id(BrokerId(NOWHERE));
            nowhere.with_port(NOWHERE).with_key(key.clone())
        });
        Some(response.with_coordinators(coordinators.collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, version: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if version < FIND_SEVERAL_COORDINATORS {
            if changes.set(&mut response.error_code, told, None) {
                response.node_id = BrokerId(NOWHERE);
                (response.host, response.port) = (StrBytes::default(), NOWHERE);
            }
            return;
        }
        for of in &mut response.coordinators {
            if changes.set(&mut of.error_code, told, None) {
                of.node_id = BrokerId(NOWHERE);
                (of.host, of.port) = (StrBytes::default(), NOWHERE);
            }
        }
    }
}

impl Answered for JoinGroupRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        let response = Self::Response::default().with_member_id(self.member_id.clone());
        Some(response.with_generation_id(NOWHERE).with_protocol_name(Some(StrBytes::default())))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if changes.set(&mut response.error_code, told, None) {
            response.generation_id = NOWHERE;
            response.leader = StrBytes::default();
            response.members.clear();
        }
    }
}

impl Answered for SyncGroupRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        Some(Self::Response::default())
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if changes.set(&mut response.error_code, told, None) {
            response.assignment = Bytes::new();
        }
    }
}

impl Answered for HeartbeatRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        Some(Self::Response::default())
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        changes.set(&mut response.error_code, told, None);
    }
}

impl Answered for LeaveGroupRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        let members = self.members.iter().map(|member| {
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
        });
        Some(Self::Response::default().with_members(members.collect()))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        changes.set(&mut response.error_code, told, None);
    }
}

impl Answered for ApiVersionsRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        Some(Self::Response::default())
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if changes.set(&mut response.error_code, told, None) {
            response.api_keys.clear();
        }
    }
}

impl Answered for InitProducerIdRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        Some(Self::Response::default())
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if changes.set(&mut response.error_code, told, None) {
            response.producer_id = i64::from(NOWHERE).into();
            response.producer_epoch = -1;
        }
    }
}

impl Answered for ConsumerGroupHeartbeatRequest {
    fn granted(&self, _: i16) -> Option<Self::Response> {
        Some(Self::Response::default().with_member_id(Some(self.member_id.clone())))
    }

    fn tell(response: &mut Self::Response, told: Told, _: i16, changes: &mut Changes) {
        response.throttle_time_ms = response.throttle_time_ms.max(told.throttle_ms);
        if changes.set(&mut response.error_code, told, None) {
            response.error_message = Some(errors::in_words(told.error).into());
            response.assignment = None;
            response.member_epoch = 0;
        }
    }
}
