//! The fields of a Kafka message, read in their order.
//!
//! Every length is checked against what is left before anything is kept: a message that claims two
//! billion elements costs no memory.

/// What is left of a message. `flexible` messages have compact lengths and tagged fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, flexible: false }
    }

    /// From here on the message is flexible, or not.
    pub(super) fn flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        self.take().map(|[byte]: [u8; 1]| byte != 0)
    }

    pub(super) fn i8(&mut self) -> Option<i8> {
        self.take().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Option<[u8; 16]> {
        self.take()
    }

    /// A number in groups of seven bits, the lowest first.
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// A length: none for an absent value. Of a compact one, one more than the length is told.
    fn length(&mut self, told: impl FnOnce(&mut Self) -> Option<i64>) -> Option<Option<usize>> {
        let length = if self.flexible { i64::from(self.varint()?) - 1 } else { told(self)? };
        match length {
            -1 => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    pub(super) fn nullable_string(&mut self) -> Option<Option<&'a str>> {
        match self.length(|fields| fields.i16().map(i64::from))? {
            None => Some(None),
            Some(length) => std::str::from_utf8(self.slice(length)?).ok().map(Some),
        }
    }

    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.nullable_string()?
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length(|fields| fields.i32().map(i64::from))??;
        self.slice(length)
    }

    /// An array; an absent one is empty.
    pub(super) fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let length = self.length(|fields| fields.i32().map(i64::from))?.unwrap_or(0);
        let mut elements = Vec::new();
        for _ in 0..length {
            // No element takes no byte: the end of the message ends this, whatever was claimed.
            let before = self.rest.len();
            elements.push(element(self)?);
            if self.rest.len() == before {
                return None;
            }
        }
        Some(elements)
    }

    /// Tagged fields, which nothing here needs; a message that is not flexible has none.
    pub(super) fn tags(&mut self) -> Option<()> {
        if self.flexible {
            for _ in 0..self.varint()? {
                let _tag = self.varint()?;
                let length = usize::try_from(self.varint()?).ok()?;
                self.slice(length)?;
            }
        }
        Some(())
    }
}
