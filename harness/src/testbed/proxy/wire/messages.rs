//! The requests of group members and their answers, as far as anything here needs them.
//!
//! Written by hand like the probe: a client library decodes what it sent itself, and a general one
//! reserves whatever a message claims. What is left over at the end of a message means that it was
//! not understood, so a version that is not known can never be taken for one that is.

use super::fields::Fields;

/// A partition of a topic.
pub type Place = (String, u32);

/// An API whose requests are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    key: i16,
    /// As Kafka calls it.
    pub(super) name: &'static str,
    /// From this version on, heads and bodies are flexible.
    flexible_from: i16,
    /// The highest version that is known.
    versions_max: i16,
}

const METADATA: i16 = 3;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
const LEAVE_GROUP: i16 = 13;
const SYNC_GROUP: i16 = 14;
const TXN_OFFSET_COMMIT: i16 = 28;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

/// Metadata tells the ids of topics from this version on; nothing else of it is of interest.
const METADATA_WITH_IDS: i16 = 10;
/// From these on, topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;

const fn api(key: i16, name: &'static str, flexible_from: i16, versions_max: i16) -> Api {
    Api { key, name, flexible_from, versions_max }
}

const APIS: [Api; 9] = [
    api(METADATA, "Metadata", 9, 13),
    api(OFFSET_COMMIT, "OffsetCommit", 8, 10),
    api(OFFSET_FETCH, "OffsetFetch", 6, 10),
    api(JOIN_GROUP, "JoinGroup", 6, 9),
    api(HEARTBEAT, "Heartbeat", 4, 4),
    api(LEAVE_GROUP, "LeaveGroup", 4, 5),
    api(SYNC_GROUP, "SyncGroup", 4, 5),
    // Commits inside a transaction take effect with it, which is not followed.
    api(TXN_OFFSET_COMMIT, "TxnOffsetCommit", 3, -1),
    api(CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat", 0, 1),
];

/// Highest API key and version that a head may bear; what is beyond is no Kafka.
const KEY_MAX: i16 = 127;
const VERSION_MAX: i16 = 31;

/// The first fields of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
}

/// Bytes of [`Head`].
pub(super) const HEAD_BYTES: usize = 8;
/// Bytes of an answer's head: the correlation id.
pub(super) const ANSWER_HEAD_BYTES: usize = 4;

impl Head {
    /// None for what is no request of Kafka's.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let (key, version, correlation) = (fields.i16()?, fields.i16()?, fields.i32()?);
        let plausible = (0..=KEY_MAX).contains(&key) && (0..=VERSION_MAX).contains(&version);
        plausible.then_some(Self { key, version, correlation })
    }

    /// The API, if its requests are looked at.
    pub(super) fn api(self) -> Option<Api> {
        let api = APIS.into_iter().find(|api| api.key == self.key)?;
        (api.key != METADATA || self.version >= METADATA_WITH_IDS).then_some(api)
    }
}

/// A topic as a message names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Name(String),
    Id([u8; 16]),
}

/// Something said of a partition.
type Of<T> = (Topic, u32, T);

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Metadata,
    Commit {
        group: String,
        generation: i32,
        id: String,
        offsets: Vec<Of<i64>>,
    },
    Fetch {
        groups: Vec<String>,
    },
    Join {
        group: String,
    },
    Heartbeat {
        group: String,
        id: String,
        generation: i32,
    },
    Leave {
        group: String,
        ids: Vec<String>,
    },
    Sync {
        group: String,
        id: String,
        generation: i32,
    },
    /// Membership by the newer protocol, in which the heartbeat is everything.
    Epoch {
        group: String,
        id: String,
        epoch: i32,
    },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Topics(Vec<([u8; 16], String)>),
    Commit(Vec<Of<i16>>),
    Fetch(Vec<FetchedGroup>),
    Join { error: i16, generation: i32, leader: String, id: String, members: Vec<String> },
    Heartbeat { error: i16 },
    Leave { error: i16 },
    Sync { error: i16, owns: Vec<Of<()>> },
    Epoch { error: i16, id: Option<String>, epoch: i32, owns: Option<Vec<Of<()>>> },
}

/// The committed offsets of a group: each with its error; −1 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FetchedGroup {
    /// Of versions that ask for one group only, none: it is the one of the request.
    pub(super) group: Option<String>,
    pub(super) error: i16,
    pub(super) offsets: Vec<Of<(i64, i16)>>,
}

/// A whole request: who sent it, and what it asks; none for one that is not understood.
pub(super) fn request(frame: &[u8], head: Head, api: Api) -> (Option<String>, Option<Request>) {
    let mut fields = Fields::new(frame.get(HEAD_BYTES..).unwrap_or_default());
    let Some(client) = fields.nullable_string() else { return (None, None) };
    let client = client.map(str::to_owned);
    if head.version > api.versions_max {
        return (client, None);
    }
    fields.flexible(head.version >= api.flexible_from);
    let read = fields.tags().and_then(|()| body(&mut fields, api.key, head.version));
    (client, read.filter(|_| fields.at_end() || api.key == METADATA))
}

fn body(fields: &mut Fields<'_>, key: i16, version: i16) -> Option<Request> {
    Some(match key {
        METADATA => Request::Metadata,
        OFFSET_COMMIT => commit(fields, version)?,
        OFFSET_FETCH => fetch(fields, version)?,
        JOIN_GROUP => join(fields, version)?,
        HEARTBEAT => {
            let (group, generation, id) = membership(fields)?;
            if version >= 3 {
                fields.nullable_string()?;
            }
            fields.tags()?;
            Request::Heartbeat { group, id, generation }
        }
        LEAVE_GROUP => leave(fields, version)?,
        SYNC_GROUP => sync(fields, version)?,
        CONSUMER_GROUP_HEARTBEAT => epoch(fields, version)?,
        _ => return None,
    })
}

fn owned(fields: &mut Fields<'_>) -> Option<String> {
    fields.string().map(str::to_owned)
}

fn membership(fields: &mut Fields<'_>) -> Option<(String, i32, String)> {
    Some((owned(fields)?, fields.i32()?, owned(fields)?))
}

fn topic(fields: &mut Fields<'_>, by_id: bool) -> Option<Topic> {
    if by_id { fields.uuid().map(Topic::Id) } else { owned(fields).map(Topic::Name) }
}

/// Topics with their partitions, and something said of each.
fn places<T>(
    fields: &mut Fields<'_>,
    by_id: bool,
    mut said: impl FnMut(&mut Fields<'_>) -> Option<T>,
) -> Option<Vec<Of<T>>> {
    let topics = fields.array(|fields| {
        let topic = topic(fields, by_id)?;
        let partitions = fields.array(|fields| {
            let partition = u32::try_from(fields.i32()?).ok()?;
            Some((topic.clone(), partition, said(fields)?))
        })?;
        fields.tags()?;
        Some(partitions)
    })?;
    Some(topics.into_iter().flatten().collect())
}

/// Topics with bare numbers of partitions.
fn bare_places(fields: &mut Fields<'_>, by_id: bool) -> Option<Vec<Of<()>>> {
    places(fields, by_id, |_| Some(()))
}

fn commit(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let group = owned(fields)?;
    let (mut generation, mut id) = (-1, String::new());
    if version >= 1 {
        (generation, id) = (fields.i32()?, owned(fields)?);
    }
    if version >= 7 {
        fields.nullable_string()?;
    }
    if (2..=4).contains(&version) {
        fields.i64()?;
    }
    let offsets = places(fields, version >= TOPIC_IDS_FROM, |fields| {
        let offset = fields.i64()?;
        if version >= 6 {
            fields.i32()?;
        }
        if version == 1 {
            fields.i64()?;
        }
        fields.nullable_string()?;
        fields.tags()?;
        Some(offset)
    })?;
    fields.tags()?;
    Some(Request::Commit { group, generation, id, offsets })
}

fn fetch(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let groups = if version < 8 {
        let group = owned(fields)?;
        bare_places(fields, false)?;
        vec![group]
    } else {
        fields.array(|fields| {
            let group = owned(fields)?;
            if version >= 9 {
                fields.nullable_string()?;
                fields.i32()?;
            }
            bare_places(fields, version >= TOPIC_IDS_FROM)?;
            fields.tags()?;
            Some(group)
        })?
    };
    if version >= 7 {
        fields.bool()?;
    }
    fields.tags()?;
    Some(Request::Fetch { groups })
}

fn join(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let group = owned(fields)?;
    fields.i32()?;
    if version >= 1 {
        fields.i32()?;
    }
    fields.string()?;
    if version >= 5 {
        fields.nullable_string()?;
    }
    fields.string()?;
    fields.array(|fields| {
        fields.string()?;
        fields.bytes()?;
        fields.tags()
    })?;
    if version >= 8 {
        fields.nullable_string()?;
    }
    fields.tags()?;
    Some(Request::Join { group })
}

fn leave(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let group = owned(fields)?;
    let ids = if version < 3 {
        vec![owned(fields)?]
    } else {
        fields.array(|fields| {
            let id = owned(fields)?;
            fields.nullable_string()?;
            if version >= 5 {
                fields.nullable_string()?;
            }
            fields.tags()?;
            Some(id)
        })?
    };
    fields.tags()?;
    Some(Request::Leave { group, ids })
}

fn sync(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let (group, generation, id) = membership(fields)?;
    if version >= 3 {
        fields.nullable_string()?;
    }
    if version >= 5 {
        fields.nullable_string()?;
        fields.nullable_string()?;
    }
    fields.array(|fields| {
        fields.string()?;
        fields.bytes()?;
        fields.tags()
    })?;
    fields.tags()?;
    Some(Request::Sync { group, id, generation })
}

fn epoch(fields: &mut Fields<'_>, version: i16) -> Option<Request> {
    let (group, id, epoch) = (owned(fields)?, owned(fields)?, fields.i32()?);
    let _instance = fields.nullable_string()?;
    let _rack = fields.nullable_string()?;
    let _rebalance_timeout = fields.i32()?;
    fields.array(|fields| fields.string().map(drop))?;
    if version >= 1 {
        let _pattern = fields.nullable_string()?;
    }
    let _assignor = fields.nullable_string()?;
    bare_places(fields, true)?;
    fields.tags()?;
    Some(Request::Epoch { group, id, epoch })
}

/// A whole answer. None for one that is not understood.
pub(super) fn answer(frame: &[u8], api: Api, version: i16) -> Option<Answer> {
    let mut fields = Fields::new(frame.get(ANSWER_HEAD_BYTES..)?);
    fields.flexible(version >= api.flexible_from);
    fields.tags()?;
    let fields = &mut fields;
    let answer = match api.key {
        // What follows the topics is not needed, and librdkafka's mock writes more of it than others.
        METADATA => return topics(fields),
        OFFSET_COMMIT => {
            throttle(fields, version >= 3)?;
            let of = |fields: &mut Fields<'_>| {
                let error = fields.i16()?;
                fields.tags()?;
                Some(error)
            };
            Answer::Commit(places(fields, version >= TOPIC_IDS_FROM, of)?)
        }
        OFFSET_FETCH => Answer::Fetch(fetched(fields, version)?),
        JOIN_GROUP => joined(fields, version)?,
        HEARTBEAT => {
            throttle(fields, version >= 1)?;
            Answer::Heartbeat { error: fields.i16()? }
        }
        LEAVE_GROUP => left(fields, version)?,
        SYNC_GROUP => synced(fields, version)?,
        CONSUMER_GROUP_HEARTBEAT => epoch_answer(fields)?,
        _ => return None,
    };
    fields.tags()?;
    fields.at_end().then_some(answer)
}

fn throttle(fields: &mut Fields<'_>, told: bool) -> Option<()> {
    if told { fields.i32().map(drop) } else { Some(()) }
}

fn fetched(fields: &mut Fields<'_>, version: i16) -> Option<Vec<FetchedGroup>> {
    throttle(fields, version >= 3)?;
    let offset = |fields: &mut Fields<'_>| {
        let offset = fields.i64()?;
        if version >= 5 {
            fields.i32()?;
        }
        fields.nullable_string()?;
        let error = fields.i16()?;
        fields.tags()?;
        Some((offset, error))
    };
    if version < 8 {
        let offsets = places(fields, false, offset)?;
        let error = if version >= 2 { fields.i16()? } else { 0 };
        return Some(vec![FetchedGroup { group: None, error, offsets }]);
    }
    fields.array(|fields| {
        let group = Some(owned(fields)?);
        let offsets = places(fields, version >= TOPIC_IDS_FROM, offset)?;
        let error = fields.i16()?;
        fields.tags()?;
        Some(FetchedGroup { group, error, offsets })
    })
}

fn joined(fields: &mut Fields<'_>, version: i16) -> Option<Answer> {
    throttle(fields, version >= 2)?;
    let (error, generation) = (fields.i16()?, fields.i32()?);
    if version >= 7 {
        fields.nullable_string()?;
    }
    let _protocol = fields.nullable_string()?;
    let leader = owned(fields)?;
    if version >= 9 {
        fields.bool()?;
    }
    let id = owned(fields)?;
    let members = fields.array(|fields| {
        let id = owned(fields)?;
        let instance = if version >= 5 { fields.nullable_string()? } else { None };
        fields.bytes()?;
        fields.tags()?;
        // As the broker's own record names members.
        Some(instance.map_or(id, str::to_owned))
    })?;
    Some(Answer::Join { error, generation, leader, id, members })
}

fn left(fields: &mut Fields<'_>, version: i16) -> Option<Answer> {
    throttle(fields, version >= 1)?;
    let mut error = fields.i16()?;
    if version >= 3 {
        let members = fields.array(|fields| {
            fields.string()?;
            fields.nullable_string()?;
            let error = fields.i16()?;
            fields.tags()?;
            Some(error)
        })?;
        if error == 0 {
            error = members.into_iter().find(|error| *error != 0).unwrap_or(0);
        }
    }
    Some(Answer::Leave { error })
}

fn synced(fields: &mut Fields<'_>, version: i16) -> Option<Answer> {
    throttle(fields, version >= 1)?;
    let error = fields.i16()?;
    if version >= 5 {
        fields.nullable_string()?;
        fields.nullable_string()?;
    }
    let assignment = fields.bytes()?;
    // A refused member, and one that got no partition, may be told nothing at all.
    let owns = if assignment.is_empty() { Vec::new() } else { assigned(assignment)? };
    Some(Answer::Sync { error, owns })
}

/// What the leader assigned to a member, in the consumers' own encoding.
fn assigned(bytes: &[u8]) -> Option<Vec<Of<()>>> {
    let mut fields = Fields::new(bytes);
    let _version = fields.i16()?;
    bare_places(&mut fields, false)
}

fn epoch_answer(fields: &mut Fields<'_>) -> Option<Answer> {
    throttle(fields, true)?;
    let error = fields.i16()?;
    let _message = fields.nullable_string()?;
    let id = fields.nullable_string()?.map(str::to_owned);
    let epoch = fields.i32()?;
    let _interval = fields.i32()?;
    let owns = match fields.i8()? {
        -1 => None,
        _ => {
            let owns = bare_places(fields, true)?;
            fields.tags()?;
            Some(owns)
        }
    };
    Some(Answer::Epoch { error, id, epoch, owns })
}

/// The names of topics by their ids.
fn topics(fields: &mut Fields<'_>) -> Option<Answer> {
    throttle(fields, true)?;
    fields.array(|fields| {
        let (_node, _host, _port) = (fields.i32()?, fields.string()?, fields.i32()?);
        let _rack = fields.nullable_string()?;
        fields.tags()
    })?;
    let _cluster = fields.nullable_string()?;
    let _controller = fields.i32()?;
    let named = fields.array(|fields| {
        let _error = fields.i16()?;
        let name = fields.nullable_string()?.map(str::to_owned);
        let id = fields.uuid()?;
        let _internal = fields.bool()?;
        fields.array(partition)?;
        let _operations = fields.i32()?;
        fields.tags()?;
        Some((id, name))
    })?;
    let named = named.into_iter().filter_map(|(id, name)| Some((id, name?)));
    Some(Answer::Topics(named.collect()))
}

fn partition(fields: &mut Fields<'_>) -> Option<()> {
    let (_error, _index) = (fields.i16()?, fields.i32()?);
    let (_leader, _epoch) = (fields.i32()?, fields.i32()?);
    for _ in 0..3 {
        fields.array(|fields| fields.i32().map(drop))?;
    }
    fields.tags()
}
