//! The four things that librdkafka does and the `rdkafka` crate does not pass on. The only unsafe
//! code of the crate.

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
    pub(crate) fn of(message: &'m BorrowedMessage<'_>) -> Self {
        let mut list = ptr::null_mut();
        // SAFETY: the message is valid, and its headers live as long as it does.
        let err = unsafe { rdsys::rd_kafka_message_headers(message.ptr(), &mut list) };
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

/// Asks the broker to commit these offsets (partition, next offset to read) and returns at once; the
/// answer comes as a call of the context's `commit_callback` from a later poll.
///
/// `rdkafka`'s own asynchronous commit never tells how it ended: librdkafka answers into a queue only
/// if it was given one, and `Consumer::commit` gives none.
pub(crate) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    offsets: &[(i32, i64)],
) -> KafkaResult<()> {
    let topic = CString::new(topic)?;
    let client = consumer.client().native_ptr();
    // SAFETY: the client outlives the call; list and queue handle are made and destroyed here, and
    // librdkafka copies what it keeps of them.
    let outcome = unsafe {
        let list = rdsys::rd_kafka_topic_partition_list_new(offsets.len() as i32);
        for (partition, offset) in offsets {
            let element =
                rdsys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), *partition);
            (*element).offset = *offset;
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
