//! As much of PostgreSQL's protocol as a testbed needs: connect without a password, run statements
//! with the simple query protocol, read rows as text.
//!
//! On purpose: no TLS, no passwords, no prepared statements. The database is the testbed's own,
//! reachable from this machine alone.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Role, password and database of the testbed.
pub(super) const NAME: &str = "streamlake";
/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 196_608;
/// No message that a testbed asks for is longer.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Where clients find the database, and as whom.
#[must_use]
pub fn database_url(address: SocketAddr) -> String {
    format!("postgresql://{NAME}@{address}/{NAME}")
}

/// Rows of a result, columns as text, `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// A connection to the source database.
#[derive(Debug)]
pub struct DatabaseConnection {
    stream: TcpStream,
    within: Duration,
    version: String,
}

impl DatabaseConnection {
    /// Connects as the testbed's own role. Every answer, this one too, is awaited for `within`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(address: SocketAddr, within: Duration) -> Result<Self, String> {
        in_time(within, async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let mut connection = Self { stream, within, version: String::new() };
            connection.send(&startup()).await?;
            connection.until_ready().await?;
            Ok(connection)
        })
        .await
    }

    /// Version that the server reports of itself.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs one statement, or several with a semicolon between them (then in one transaction
    /// unless they say otherwise), and returns the rows of all of them.
    ///
    /// # Errors
    /// The server's message, or why it did not answer: then the statement was carried out or not.
    pub async fn run(&mut self, statements: &str) -> Result<Rows, String> {
        let within = self.within;
        in_time(within, async {
            let mut body = BytesMut::new();
            put_text(&mut body, statements);
            self.send(&message(b'Q', &body)).await?;
            self.until_ready().await
        })
        .await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| error.to_string())
    }

    /// Reads up to the message that the server is ready for another query.
    async fn until_ready(&mut self) -> Result<Rows, String> {
        let mut rows = Rows::new();
        let mut failure = None;
        loop {
            let (kind, mut body) = match self.receive().await {
                Ok(received) => received,
                // A server that refuses or shuts down says why, then closes.
                Err(error) => return Err(failure.unwrap_or(error)),
            };
            match kind {
                b'R' if body.remaining() >= 4 && body.get_i32() != 0 => {
                    return Err("the server asks for a password".to_owned());
                }
                b'S' => self.note_parameter(&body),
                b'D' => rows.push(columns(body).ok_or("a row that ends early")?),
                b'E' => failure = Some(error_text(&body)),
                b'Z' => return failure.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    async fn receive(&mut self) -> Result<(u8, Bytes), String> {
        let kind = self.stream.read_u8().await.map_err(|error| error.to_string())?;
        let length = self.stream.read_i32().await.map_err(|error| error.to_string())?;
        let length = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
        let length = length.filter(|length| *length <= MESSAGE_BYTES_MAX);
        let mut body = vec![0; length.ok_or("a message of impossible length")?];
        self.stream.read_exact(&mut body).await.map_err(|error| error.to_string())?;
        Ok((kind, body.into()))
    }

    fn note_parameter(&mut self, body: &Bytes) {
        let mut fields = body.split(|byte| *byte == 0);
        if let (Some(b"server_version"), Some(value)) = (fields.next(), fields.next()) {
            self.version = String::from_utf8_lossy(value).into_owned();
        }
    }
}

async fn in_time<T>(
    within: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(within, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
}

fn put_text(buffer: &mut BytesMut, text: &str) {
    buffer.put_slice(text.as_bytes());
    buffer.put_u8(0);
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = BytesMut::new();
    message.put_u8(kind);
    message.put_i32(i32::try_from(body.len() + 4).unwrap_or(i32::MAX));
    message.put_slice(body);
    message.to_vec()
}

fn startup() -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i32(PROTOCOL);
    for text in ["user", NAME, "database", NAME, "application_name", "streamlake-harness"] {
        put_text(&mut body, text);
    }
    body.put_u8(0);
    // The only message without a kind.
    message(0, &body).split_off(1)
}

fn columns(mut body: Bytes) -> Option<Vec<Option<String>>> {
    let count = (body.remaining() >= 2).then(|| body.get_u16())?;
    (0..count)
        .map(|_| {
            let length = (body.remaining() >= 4).then(|| body.get_i32())?;
            let Ok(length) = usize::try_from(length) else { return Some(None) };
            (body.remaining() >= length)
                .then(|| Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()))
        })
        .collect()
}

/// Severity, code and message of an error, without the fields that name the server's source.
fn error_text(body: &Bytes) -> String {
    let field = |wanted: u8| {
        body.split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&wanted))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    };
    format!("{} {}: {}", field(b'S'), field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_message_names_role_and_database() {
        let first = startup();
        assert_eq!(
            usize::try_from(i32::from_be_bytes(first[..4].try_into().unwrap())),
            Ok(first.len())
        );
        assert_eq!(&first[4..8], [0, 3, 0, 0]);
        assert!(first.ends_with(b"streamlake-harness\0\0"));
    }

    #[test]
    fn rows_are_read_with_nulls_and_refused_when_cut() {
        let row = Bytes::from_static(b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff");
        assert_eq!(columns(row.clone()), Some(vec![Some("hi".to_owned()), None]));
        assert_eq!(columns(row.slice(..row.len() - 1)), None);
    }

    #[test]
    fn errors_carry_code_and_message() {
        let body = Bytes::from_static(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(error_text(&body), "FATAL 57P03: the database system is starting up");
    }
}
