//! The things that librdkafka does and the `rdkafka` crate does not pass on. The only unsafe code of
//! the crate.

#![allow(unsafe_code)]

use rdkafka::ClientContext;
use rdkafka::bindings as rdsys;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How far a record got whose delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Certainly not in the log.
    Not,
    /// It may be in the log.
    Possibly,
}

/// What librdkafka knows about a record in a delivery report. It remembers earlier attempts: a
/// record that was possibly written once stays so whatever the last answer was.
pub(crate) fn persistence(message: &BorrowedMessage<'_>) -> Persistence {
    // SAFETY: the pointer is valid for the life of the message.
    let status = unsafe { rdsys::rd_kafka_message_status(message.ptr()) };
    match status {
        rdsys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persistence::Not,
        _ => Persistence::Possibly,
    }
}

/// The headers of a record, in order, duplicates included, names as bytes. Cheap to clone and to walk
/// through again: librdkafka takes them apart once.
///
/// `rdkafka`'s own accessor panics on a name that is not UTF-8, and a record that kills its
/// consumer whenever it is read must not exist.
#[derive(Clone)]
pub(crate) struct Headers<'m> {
    /// Null for a record without headers.
    list: *mut rdsys::rd_kafka_headers_t,
    next: usize,
    message: PhantomData<&'m [u8]>,
}

impl<'m> Headers<'m> {
    fn of(record: &Record<'m>) -> Self {
        let mut list = ptr::null_mut();
        // SAFETY: the message is valid, and its headers live as long as it does.
        let err = unsafe { rdsys::rd_kafka_message_headers(record.message, &mut list) };
        if err != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            list = ptr::null_mut();
        }
        Headers { list, next: 0, message: PhantomData }
    }
}

impl<'m> Iterator for Headers<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is valid; an index past the end is answered with an error.
        let err = unsafe {
            rdsys::rd_kafka_header_get_all(self.list, self.next, &mut name, &mut value, &mut size)
        };
        if err != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: the name is NUL-terminated, the value has `size` bytes; both belong to the message.
        Some(unsafe {
            let value =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            (CStr::from_ptr(name).to_bytes(), value)
        })
    }
}

/// A record as librdkafka holds it.
#[derive(Clone, Copy)]
pub(crate) struct Record<'m> {
    message: *mut rdsys::rd_kafka_message_t,
    lives: PhantomData<&'m [u8]>,
}

impl<'m> Record<'m> {
    /// The record of a message that `rdkafka` polled.
    pub(crate) fn of(message: &'m BorrowedMessage<'_>) -> Self {
        Record { message: message.ptr(), lives: PhantomData }
    }

    fn fields(&self) -> &'m rdsys::rd_kafka_message_t {
        // SAFETY: the message is valid as long as `'m`, and nothing writes to it meanwhile.
        unsafe { &*self.message }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.fields().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.fields().offset
    }

    pub(crate) fn key(&self) -> Option<&'m [u8]> {
        let fields = self.fields();
        bytes(fields.key, fields.key_len)
    }

    /// The payload; `None` for a tombstone.
    pub(crate) fn value(&self) -> Option<&'m [u8]> {
        let fields = self.fields();
        bytes(fields.payload, fields.len)
    }

    /// The Kafka timestamp in milliseconds since 1970, if the record has one.
    pub(crate) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid.
        let ms = unsafe { rdsys::rd_kafka_message_timestamp(self.message, &mut kind) };
        let known = kind != rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (known && ms != -1).then_some(ms)
    }

    /// Under which leader it was appended; -1 where the broker does not say.
    pub(crate) fn leader_epoch(&self) -> i32 {
        // SAFETY: the message is valid.
        unsafe { rdsys::rd_kafka_message_leader_epoch(self.message) }
    }

    pub(crate) fn headers(&self) -> Headers<'m> {
        Headers::of(self)
    }
}

fn bytes<'m>(start: *mut std::ffi::c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: librdkafka's pairs of pointer and length are null or belong to the message, and the
    // callers bind the result to the message's life.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// A queue of its own for the records of the assigned partitions, read many at a time.
///
/// `rdkafka` polls one event at a time, which costs more than all that is done with a small record
/// afterwards. What is no record (rebalances, commits, errors of the client) stays in the client's own
/// queue, for `rdkafka`'s poll.
pub(crate) struct RecordQueue<C: ConsumerContext> {
    queue: *mut rdsys::rd_kafka_queue_t,
    /// The queue is destroyed before its client.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ConsumerContext> Send for RecordQueue<C> {}

impl<C: ConsumerContext> RecordQueue<C> {
    /// An empty queue that no partition leads to.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client outlives the queue, which holds on to it.
        let queue = unsafe { rdsys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        RecordQueue { queue, consumer }
    }

    /// Leads a partition's records into this queue. Before its assignment, or those that were fetched
    /// until then lie in the client's own queue. The end of an assignment ends it; said twice it does
    /// no harm.
    pub(crate) fn lead_here(&self, topic: &str, partition: i32) -> KafkaResult<()> {
        let topic = CString::new(topic)?;
        let client = self.consumer.client().native_ptr();
        // SAFETY: both queues are valid; forwarding counts its own reference.
        unsafe {
            let source = rdsys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if source.is_null() {
                let unknown = rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
                return Err(KafkaError::MessageConsumption(unknown.into()));
            }
            rdsys::rd_kafka_queue_forward(source, self.queue);
            rdsys::rd_kafka_queue_destroy(source);
        }
        Ok(())
    }

    /// Adds the records that are there, as many as `into` has spare room for, or the first one that comes
    /// within `wait`. (Asking for many with a wait would wait until there are as many.)
    pub(crate) fn read(&self, wait: Duration, into: &mut Vec<Message>) {
        let before = into.len();
        let mut read = |wait_ms: i32, most: usize| {
            let room = into.spare_capacity_mut();
            let most = most.min(room.len());
            // SAFETY: a `Message` is a pointer and nothing else; the room holds `most` of them, and as
            // many as are told were written to it.
            unsafe {
                let room = room.as_mut_ptr().cast::<*mut rdsys::rd_kafka_message_t>();
                let found = rdsys::rd_kafka_consume_batch_queue(self.queue, wait_ms, room, most);
                into.set_len(into.len() + usize::try_from(found).unwrap_or(0));
            }
            into.len() == before
        };
        if read(0, usize::MAX) && !wait.is_zero() {
            read(wait.as_millis().clamp(1, 1_000) as i32, 1);
        }
    }
}

impl<C: ConsumerContext> Drop for RecordQueue<C> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once; the client still lives.
        unsafe { rdsys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// One message of a [`RecordQueue`]: a record, or an error of its partition. Not to be kept beyond the
/// queue's client.
#[repr(transparent)]
pub(crate) struct Message(*mut rdsys::rd_kafka_message_t);

// SAFETY: whoever owns a message may use and destroy it, on any thread.
unsafe impl Send for Message {}

impl Message {
    pub(crate) fn record(&self) -> KafkaResult<Record<'_>> {
        let record = Record { message: self.0, lives: PhantomData };
        match record.fields().err {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(record),
            err => Err(KafkaError::MessageConsumption(err.into())),
        }
    }

    /// The partition that an error is about, and where its reading stood.
    pub(crate) fn place(&self) -> (i32, i64) {
        let record = Record { message: self.0, lives: PhantomData };
        (record.partition(), record.offset())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: this is the message's only owner.
        unsafe { rdsys::rd_kafka_message_destroy(self.0) };
    }
}

/// A property of a running client, by the client itself: what librdkafka made of the settings, not
/// what it was given. `max.in.flight.requests.per.connection` is 1 000 000 in a configuration and 5
/// in an idempotent producer.
pub(crate) fn property<C: ClientContext>(client: &Client<C>, name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    let mut size = 0;
    // SAFETY: the client outlives the call, and its configuration lives as long as it does. Without
    // a buffer the size is told; the second call gets a buffer of that size.
    let (known, text) = unsafe {
        let conf = rdsys::rd_kafka_conf(client.native_ptr());
        rdsys::rd_kafka_conf_get(conf, name.as_ptr(), ptr::null_mut(), &mut size);
        let mut text = vec![0u8; size];
        let known =
            rdsys::rd_kafka_conf_get(conf, name.as_ptr(), text.as_mut_ptr().cast(), &mut size);
        (known, text)
    };
    if known != rdsys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
        return None;
    }
    Some(CStr::from_bytes_until_nul(&text).ok()?.to_string_lossy().into_owned())
}

/// The state of a group of either protocol, as the brokers list it; `None` if none of them knows it.
pub(crate) fn group_state<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    within: Duration,
) -> KafkaResult<Option<String>> {
    let wanted = CString::new(group)?;
    let wait_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; queue, options and event are made and destroyed here, and
    // what is read of the event is copied before that.
    unsafe {
        let rk = client.native_ptr();
        let queue = rdsys::rd_kafka_queue_new(rk);
        let kind = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
        let options = rdsys::rd_kafka_AdminOptions_new(rk, kind);
        let set =
            rdsys::rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, ptr::null_mut(), 0);
        debug_assert_eq!(set, rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        rdsys::rd_kafka_ListConsumerGroups(rk, options, queue);
        // The request ends by itself; a moment more than it takes is waited.
        let event = rdsys::rd_kafka_queue_poll(queue, wait_ms.saturating_add(1_000));
        let outcome = state_in(event, &wanted);
        if !event.is_null() {
            rdsys::rd_kafka_event_destroy(event);
        }
        rdsys::rd_kafka_AdminOptions_destroy(options);
        rdsys::rd_kafka_queue_destroy(queue);
        outcome
    }
}

/// A group's state in an answer.
///
/// # Safety
/// The event is null or valid.
unsafe fn state_in(
    event: *mut rdsys::rd_kafka_event_t,
    group: &CStr,
) -> KafkaResult<Option<String>> {
    let failed = |err: rdsys::rd_kafka_resp_err_t| Err(KafkaError::AdminOp(err.into()));
    if event.is_null() {
        return failed(rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    // SAFETY: the event is valid, and so is all that it holds while it lives.
    unsafe {
        let err = rdsys::rd_kafka_event_error(event);
        if err != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return failed(err);
        }
        let result = rdsys::rd_kafka_event_ListConsumerGroups_result(event);
        if result.is_null() {
            return failed(rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FAIL);
        }
        let mut count = 0;
        let listed = rdsys::rd_kafka_ListConsumerGroups_result_valid(result, &mut count);
        for number in 0..count {
            let listing = *listed.add(number);
            let id = rdsys::rd_kafka_ConsumerGroupListing_group_id(listing);
            if CStr::from_ptr(id) == group {
                let state = rdsys::rd_kafka_ConsumerGroupListing_state(listing);
                let name = rdsys::rd_kafka_consumer_group_state_name(state);
                return Ok(Some(CStr::from_ptr(name).to_string_lossy().into_owned()));
            }
        }
        // A broker that did not answer may be the one that knows the group.
        let errors = rdsys::rd_kafka_ListConsumerGroups_result_errors(result, &mut count);
        if count > 0 {
            return failed(rdsys::rd_kafka_error_code(*errors));
        }
    }
    Ok(None)
}

/// Whether the group's coordinator is at hand, waiting so long for it. Asks nobody else: librdkafka answers a
/// question about no partition itself, as soon as it has a coordinator.
pub(crate) fn has_coordinator<C: ClientContext>(client: &Client<C>, within: Duration) -> bool {
    let wait_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; the list is made and destroyed here.
    let err = unsafe {
        let nothing = rdsys::rd_kafka_topic_partition_list_new(0);
        let err = rdsys::rd_kafka_committed(client.native_ptr(), nothing, wait_ms);
        rdsys::rd_kafka_topic_partition_list_destroy(nothing);
        err
    };
    err == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Some broker's id; waits for its answer. Of no topic is anything asked, which might make it.
pub(crate) fn any_broker<C: ClientContext>(
    client: &Client<C>,
    within: Duration,
) -> KafkaResult<Option<i32>> {
    let wait_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    let mut metadata: *const rdsys::rd_kafka_metadata = ptr::null();
    // SAFETY: the client outlives the call. What is told is librdkafka's memory, of which one number is copied
    // before it is given back.
    unsafe {
        let nothing = ptr::null_mut();
        let err =
            rdsys::rd_kafka_metadata(client.native_ptr(), 0, nothing, &raw mut metadata, wait_ms);
        if err != rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::MetadataFetch(err.into()));
        }
        let found = (*metadata).broker_cnt > 0;
        let id = found.then(|| (*(*metadata).brokers).id);
        rdsys::rd_kafka_metadata_destroy(metadata);
        Ok(id)
    }
}

/// An offset to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) partition: i32,
    /// The next offset to read.
    pub(crate) offset: i64,
    /// That of the last record in front of it; -1 for none. A broker tells by it whether that record was
    /// cut off since.
    pub(crate) leader_epoch: i32,
}

/// Asks the broker to commit these offsets, each with a note for whoever reads it, and returns at once; the
/// answer comes as a call of the context's `commit_callback` from a later poll.
///
/// `rdkafka`'s own asynchronous commit never tells how it ended: librdkafka answers into a queue only
/// if it was given one, and `Consumer::commit` gives none.
pub(crate) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    offsets: &[Commit],
    note: Option<&str>,
) -> KafkaResult<()> {
    let topic = CString::new(topic)?;
    let client = consumer.client().native_ptr();
    // SAFETY: the client outlives the call; list and queue handle are made and destroyed here, and
    // librdkafka copies what it keeps of them. A note is memory of librdkafka's own, which it frees with
    // its element.
    let outcome = unsafe {
        let list = rdsys::rd_kafka_topic_partition_list_new(offsets.len() as i32);
        for commit in offsets {
            let element =
                rdsys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), commit.partition);
            (*element).offset = commit.offset;
            rdsys::rd_kafka_topic_partition_set_leader_epoch(element, commit.leader_epoch);
            if let Some(note) = note {
                let copy = rdsys::rd_kafka_mem_malloc(client, note.len());
                ptr::copy_nonoverlapping(note.as_ptr(), copy.cast::<u8>(), note.len());
                ((*element).metadata, (*element).metadata_size) = (copy, note.len());
            }
        }
        let queue = rdsys::rd_kafka_queue_get_consumer(client);
        let outcome = rdsys::rd_kafka_commit_queue(client, list, queue, None, ptr::null_mut());
        rdsys::rd_kafka_queue_destroy(queue);
        rdsys::rd_kafka_topic_partition_list_destroy(list);
        outcome
    };
    match outcome {
        rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        err => Err(KafkaError::ConsumerCommit(err.into())),
    }
}

/// Questions to the brokers whose answers come later, so that nobody waits for them. `rdkafka` has neither of
/// them, and offers none for the client of a consumer.
pub(crate) struct Inquiry<C: ConsumerContext> {
    queue: *mut rdsys::rd_kafka_queue_t,
    /// What the group committed is asked for by a thread, which waits for its answer; none if no question
    /// is open.
    notes: Option<JoinHandle<KafkaResult<Vec<(i32, String)>>>>,
    /// The queue is destroyed before its client.
    consumer: Arc<BaseConsumer<C>>,
}

/// An answer to an [`Inquiry`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The topic's id; `None` where brokers have none, or do not say.
    TopicId(Option<u128>),
    /// There is no such topic.
    NoTopic,
    /// The notes of a group's commits, where there are any. Without an answer there are none.
    Notes(KafkaResult<Vec<(i32, String)>>),
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ConsumerContext> Send for Inquiry<C> {}

impl<C: ConsumerContext + 'static> Inquiry<C> {
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client outlives the queue, which holds on to it.
        let queue = unsafe { rdsys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Inquiry { queue, notes: None, consumer }
    }

    /// Asks for the id of a topic.
    pub(crate) fn topic_id(&self, topic: &str, within: Duration) -> KafkaResult<()> {
        let topic = CString::new(topic)?;
        let client = self.consumer.client().native_ptr();
        let operation = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: client and queue are valid; what is made here is destroyed here, and librdkafka copies
        // what it keeps of it.
        unsafe {
            let options = options(client, operation, within);
            let topics = rdsys::rd_kafka_TopicCollection_of_topic_names(&mut topic.as_ptr(), 1);
            rdsys::rd_kafka_DescribeTopics(client, topics, options, self.queue);
            rdsys::rd_kafka_TopicCollection_destroy(topics);
            rdsys::rd_kafka_AdminOptions_destroy(options);
        }
        Ok(())
    }

    /// Asks for what the consumer's group has committed to some partitions of a topic. One question at a
    /// time.
    ///
    /// Not by the admin API: librdkafka aborts the process when a connection to the group's coordinator
    /// breaks in the middle of such a request (its issue 4605, and 5397 for the cause).
    pub(crate) fn notes(
        &mut self,
        topic: &str,
        partitions: &[i32],
        within: Duration,
    ) -> Result<(), Box<dyn std::error::Error>> {
        debug_assert!(self.notes.is_none(), "one question at a time");
        let topic = CString::new(topic)?;
        let partitions = partitions.to_vec();
        let consumer = Arc::clone(&self.consumer);
        let ask = move || committed_notes(consumer.client(), &topic, &partitions, within);
        self.notes = Some(std::thread::Builder::new().name("streamlake-notes".into()).spawn(ask)?);
        Ok(())
    }

    /// The next answer that has come.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        if let Some(asked) = self.notes.take_if(|asked| asked.is_finished()) {
            let panicked = rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FAIL;
            let notes = asked.join().unwrap_or(Err(KafkaError::OffsetFetch(panicked.into())));
            return Some(Answer::Notes(notes));
        }
        // SAFETY: the queue is valid. The event is this function's own until it is destroyed, and nothing
        // of it is kept beyond that.
        unsafe {
            let event = rdsys::rd_kafka_queue_poll(self.queue, 0);
            if event.is_null() {
                return None;
            }
            let describes =
                rdsys::rd_kafka_event_type(event) == rdsys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT;
            let answer = describes.then(|| described(event));
            rdsys::rd_kafka_event_destroy(event);
            answer
        }
    }
}

impl<C: ConsumerContext> Drop for Inquiry<C> {
    fn drop(&mut self) {
        // Whoever drops the client last closes it, and that is not to be the thread that asks.
        if let Some(asked) = self.notes.take() {
            let _ = asked.join();
        }
        // SAFETY: made in `new`, destroyed once; the client still lives.
        unsafe { rdsys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// The notes of what a consumer's group has committed; waits for the answer.
///
/// `rdkafka`'s own accessor panics on a note that is not UTF-8, and whoever may commit can write one.
fn committed_notes<C: ClientContext>(
    client: &Client<C>,
    topic: &CStr,
    partitions: &[i32],
    within: Duration,
) -> KafkaResult<Vec<(i32, String)>> {
    let wait_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call; the list is made and destroyed here, and what is kept of it is
    // copied before that.
    unsafe {
        let list = rdsys::rd_kafka_topic_partition_list_new(partitions.len() as i32);
        for partition in partitions {
            rdsys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *partition);
        }
        let err = rdsys::rd_kafka_committed(client.native_ptr(), list, wait_ms);
        let length = usize::try_from((*list).cnt).unwrap_or(0);
        let elements = (0..length).map(|index| &*(*list).elems.add(index));
        let noted = elements.filter(|element| !element.metadata.is_null());
        let text = |element: &rdsys::rd_kafka_topic_partition_t| {
            let note =
                std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
            (element.partition, String::from_utf8_lossy(note).into_owned())
        };
        let notes = noted.map(text).collect();
        rdsys::rd_kafka_topic_partition_list_destroy(list);
        match err {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(notes),
            err => Err(KafkaError::OffsetFetch(err.into())),
        }
    }
}

/// # Safety
/// The client is valid.
unsafe fn options(
    client: *mut rdsys::rd_kafka_t,
    operation: rdsys::rd_kafka_admin_op_t,
    within: Duration,
) -> *mut rdsys::rd_kafka_AdminOptions_t {
    let within = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the options are new; without a buffer for its words an error is told by its code alone.
    unsafe {
        let options = rdsys::rd_kafka_AdminOptions_new(client, operation);
        rdsys::rd_kafka_AdminOptions_set_request_timeout(options, within, ptr::null_mut(), 0);
        options
    }
}

/// # Safety
/// The event is valid and a description of topics.
unsafe fn described(event: *mut rdsys::rd_kafka_event_t) -> Answer {
    // SAFETY: what is looked at belongs to the event.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Answer::TopicId(None);
        }
        let mut count = 0;
        let topics = rdsys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Answer::TopicId(None);
        }
        let topic = *topics;
        let error = rdsys::rd_kafka_TopicDescription_error(topic);
        match rdsys::rd_kafka_error_code(error) {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => {
                return Answer::NoTopic;
            }
            _ => return Answer::TopicId(None),
        }
        let id = rdsys::rd_kafka_TopicDescription_topic_id(topic);
        let high = rdsys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = rdsys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        let id = (u128::from(high) << 64) | u128::from(low);
        Answer::TopicId(Some(id).filter(|id| *id != 0))
    }
}
