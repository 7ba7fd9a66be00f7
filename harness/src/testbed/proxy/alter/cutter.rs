//! One direction of a connection cut into Kafka's frames, of which some are held until they are whole.
//!
//! What is not held passes at once, and every byte comes out once and in its order.

use bytes::{Bytes, BytesMut};

/// No frame is near this: more is another protocol (TLS, HTTP) or a stream that was lost.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The length at the beginning of each frame.
pub(super) const SIZE_BYTES: usize = 4;

/// What a look at some bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The head of a frame is there: [`Cutter::head`]. [`Cutter::keep`] holds the frame.
    Head,
    /// Bytes that pass.
    Pass(Bytes),
    /// The end of a frame that passed; with as much of its beginning as was asked for.
    End(Bytes),
    /// A frame that was held, with its length; none of it has passed.
    Whole(Bytes),
    /// These are no frames. What was held comes with it; from here on everything is to pass.
    Broken(Bytes),
}

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(super) struct Cutter {
    /// Bytes of a head, with the length.
    head_bytes: usize,
    held: BytesMut,
    /// Bytes of the frame that are still to come; none while its head is incomplete.
    left: Option<usize>,
    /// The beginning of this frame was passed before it could be looked at.
    passing: bool,
    keep: bool,
    /// The head is held, and is to be passed on before what follows.
    due: bool,
    /// So many bytes of a passing frame are copied.
    peek: usize,
    size: usize,
}

impl Cutter {
    /// Frames whose heads (without the length) have so many bytes.
    pub(super) fn with_heads_of(bytes: usize) -> Self {
        Self {
            head_bytes: SIZE_BYTES + bytes,
            held: BytesMut::new(),
            left: None,
            passing: false,
            keep: false,
            due: false,
            peek: 0,
            size: 0,
        }
    }

    /// Nothing that was read is held back.
    pub(super) fn holds_nothing(&self) -> bool {
        self.passing || self.held.is_empty() || (self.left.is_some() && !self.keep && !self.due)
    }

    /// Some of a frame has passed, and not yet all.
    pub(super) fn is_inside(&self) -> bool {
        match self.left {
            None => self.passing && !self.held.is_empty(),
            Some(_) => !self.keep && !self.due,
        }
    }

    /// The head, after [`Cut::Head`].
    pub(super) fn head(&self) -> &[u8] {
        self.held.get(SIZE_BYTES..self.head_bytes).unwrap_or_default()
    }

    /// Bytes of the frame whose head was seen last, with its length.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Holds the frame whose head was seen last. False if some of it has passed already.
    pub(super) fn keep(&mut self) -> bool {
        self.keep = !self.passing;
        self.due = false;
        self.keep
    }

    /// Copies the beginning of the frame whose head was seen last while it passes.
    pub(super) fn peek(&mut self, bytes: usize) {
        self.peek = bytes;
    }

    /// What is held, for an end of the stream in the middle of a frame.
    pub(super) fn rest(&mut self) -> Bytes {
        match self.holds_nothing() {
            true => Bytes::new(),
            false => self.held.split().freeze(),
        }
    }

    /// Goes on in `bytes`, and takes off what was looked at. None when all was. A frame that begins while
    /// `hold` is false passes.
    pub(super) fn step(&mut self, bytes: &mut Bytes, hold: bool) -> Option<Cut> {
        let Some(left) = self.left else { return self.beginning(bytes, hold) };
        if self.due {
            self.due = false;
            return Some(Cut::Pass(Bytes::copy_from_slice(&self.held)));
        }
        if left == 0 {
            return Some(self.end());
        }
        if bytes.is_empty() {
            return None;
        }
        let piece = bytes.split_to(left.min(bytes.len()));
        self.left = Some(left - piece.len());
        if self.keep {
            self.held.extend_from_slice(&piece);
            return if self.left == Some(0) { Some(self.end()) } else { None };
        }
        let copied = self.peek.saturating_sub(self.held.len()).min(piece.len());
        self.held.extend_from_slice(&piece[..copied]);
        Some(Cut::Pass(piece))
    }

    fn beginning(&mut self, bytes: &mut Bytes, hold: bool) -> Option<Cut> {
        let missing = self.head_bytes - self.held.len();
        if missing == 0 {
            return Some(self.head_is_there());
        }
        if bytes.is_empty() {
            return None;
        }
        if self.held.is_empty() {
            self.passing = !hold;
        }
        let piece = bytes.split_to(missing.min(bytes.len()));
        self.held.extend_from_slice(&piece);
        if self.passing {
            return Some(Cut::Pass(piece));
        }
        (piece.len() == missing).then(|| self.head_is_there())
    }

    fn head_is_there(&mut self) -> Cut {
        let size = self.held.first_chunk::<SIZE_BYTES>().map(|size| i32::from_be_bytes(*size));
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let head = self.head_bytes - SIZE_BYTES;
        match size.checked_sub(head).filter(|_| size <= FRAME_BYTES_MAX) {
            Some(left) => {
                (self.left, self.size) = (Some(left), size + SIZE_BYTES);
                self.due = !self.passing;
                Cut::Head
            }
            None => Cut::Broken(self.rest()),
        }
    }

    fn end(&mut self) -> Cut {
        let frame = self.held.split().freeze();
        let kept = std::mem::take(&mut self.keep);
        (self.left, self.passing, self.due, self.peek) = (None, false, false, 0);
        if kept { Cut::Whole(frame) } else { Cut::End(frame) }
    }
}
