//! One direction of a connection cut into Kafka's frames, whatever way its bytes come in.

/// No frame is near this: more is another protocol (TLS, HTTP) or a stream that was lost.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A frame that is wanted and larger than this is not kept.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The length at the beginning of each frame.
const SIZE_BYTES: usize = 4;

/// What a look at some bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The head of a frame is there: [`Frames::head`]. [`Frames::keep`] asks for the rest.
    Head,
    /// A frame that was asked for is whole; without its length.
    Whole(Vec<u8>),
    /// A frame that was asked for is too large to be kept.
    TooLarge,
    /// These are no frames.
    Broken,
}

/// The state between two pieces of a stream.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of a head, with the length.
    head_bytes: usize,
    held: Vec<u8>,
    /// Bytes of the frame that are still to come; none while its head is incomplete.
    left: Option<usize>,
    keep: bool,
    passed: u64,
}

impl Frames {
    /// Frames whose heads (without the length) have so many bytes.
    pub(super) fn with_heads_of(bytes: usize) -> Self {
        let head_bytes = SIZE_BYTES + bytes;
        Self { head_bytes, held: Vec::new(), left: None, keep: false, passed: 0 }
    }

    /// Bytes of the stream up to where it was looked at.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// The head, after [`Step::Head`].
    pub(super) fn head(&self) -> &[u8] {
        self.held.get(SIZE_BYTES..).unwrap_or_default()
    }

    /// Keeps the rest of the frame whose head was seen last.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// Goes on in `bytes`, and takes off what was looked at. None when all was.
    pub(super) fn step(&mut self, bytes: &mut &[u8]) -> Option<Step> {
        loop {
            let Some(left) = self.left else {
                let missing = self.head_bytes - self.held.len();
                let piece = self.take(bytes, missing);
                self.held.extend_from_slice(piece);
                return if piece.len() < missing { None } else { Some(self.head_is_there()) };
            };
            let piece = self.take(bytes, left);
            let kept = self.keep && self.held.len() + left <= KEPT_BYTES_MAX;
            if kept {
                self.held.extend_from_slice(piece);
            }
            self.left = Some(left - piece.len());
            if piece.len() < left {
                return None;
            }
            self.left = None;
            let frame = std::mem::take(&mut self.held);
            if std::mem::take(&mut self.keep) {
                return Some(match kept {
                    true => Step::Whole(frame[SIZE_BYTES..].to_vec()),
                    false => Step::TooLarge,
                });
            }
        }
    }

    fn take<'a>(&mut self, bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
        let (piece, rest) = bytes.split_at(most.min(bytes.len()));
        *bytes = rest;
        self.passed += piece.len() as u64;
        piece
    }

    fn head_is_there(&mut self) -> Step {
        let size = self.held.first_chunk::<SIZE_BYTES>().map(|size| i32::from_be_bytes(*size));
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let head = self.head_bytes - SIZE_BYTES;
        match size.checked_sub(head).filter(|_| size <= FRAME_BYTES_MAX) {
            Some(left) => {
                self.left = Some(left);
                Step::Head
            }
            None => Step::Broken,
        }
    }
}
