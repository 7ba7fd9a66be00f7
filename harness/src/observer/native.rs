//! The headers of a record as librdkafka keeps them. `rdkafka`'s own accessor panics on a name that is
//! not UTF-8, and one record must not end the reading of a log.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::{ptr, slice};

use rdkafka::bindings as native;
use rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as DONE;
use rdkafka::message::BorrowedMessage;

/// Names and values in their order, repeated ones too; a value may be null.
pub(crate) type RawHeaders<'m> = Vec<(&'m [u8], Option<&'m [u8]>)>;

/// The headers of a record.
pub(crate) fn headers<'m>(message: &'m BorrowedMessage<'_>) -> RawHeaders<'m> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is valid; its headers belong to it and live as long.
    if unsafe { native::rd_kafka_message_headers(message.ptr(), &mut list) } != DONE {
        return Vec::new();
    }
    let mut found = RawHeaders::new();
    loop {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is valid; an index behind its end is answered with an error.
        let answer = unsafe {
            native::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut length)
        };
        if answer != DONE {
            return found;
        }
        // SAFETY: a name ends with NUL, a value that is not null has this length, and both belong to
        // the message.
        found.push(unsafe {
            let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast(), length));
            (CStr::from_ptr(name).to_bytes(), value)
        });
    }
}
