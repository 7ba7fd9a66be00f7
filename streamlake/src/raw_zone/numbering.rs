//! Which number a part gets and when it is stored, as a machine without any input or output: answers of
//! the store come in, what to ask next comes out.
//!
//! The rule that keeps a part from being written twice and from replacing another: a number is held
//! on to until the store has answered for certain. After a time-out or a 503 the object may or may
//! not be there; the same bytes are sent to the same name again, and "exists already" is then
//! settled by reading the object back. Equal bytes are this very part, whoever's request brought
//! them; other bytes are another writer's, and ours can never land there any more.

/// The decisions, as a seam for those that are to be seen going wrong. The defaults are right.
pub(crate) trait Naming: Default {
    /// The next number.
    fn next(&mut self, right: u64) -> u64 {
        right
    }

    /// The first number, if the folder is not to be listed for it.
    fn first_unlisted(&mut self) -> Option<u64> {
        None
    }

    /// Whether a name that is taken counts as the part's own without a look at the object.
    fn trusts_taken(&mut self) -> bool {
        false
    }

    /// The number that a part goes on with after the store gave no certain answer: the one that it has.
    /// `next` is what the next part gets.
    fn unanswered(&mut self, number: u64, next: &mut Option<u64>) -> u64 {
        let _ = next;
        number
    }
}

/// All is done right.
#[cfg(any(test, not(feature = "planted-bugs")))]
#[derive(Debug, Default)]
pub(crate) struct SoundNaming;

#[cfg(any(test, not(feature = "planted-bugs")))]
impl Naming for SoundNaming {}

/// The numbers of one folder, of one process.
#[derive(Debug, Default)]
pub(crate) struct Numbers<N> {
    naming: N,
    /// Unknown until the folder was listed.
    next: Option<u64>,
}

impl<N: Naming> Numbers<N> {
    /// The next number; none before the folder is listed.
    pub(crate) fn take(&mut self) -> Option<u64> {
        let number = match self.next {
            Some(next) => self.naming.next(next),
            None => self.naming.first_unlisted()?,
        };
        self.next = Some(number + 1);
        Some(number)
    }

    /// The folder was listed, and this is the highest number in it.
    pub(crate) fn listed(&mut self, highest: u64) {
        self.next = self.next.max(Some(highest + 1));
    }
}

/// What the store said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The object was created.
    Created,
    /// An object of that name exists.
    Exists,
    /// It holds the part's bytes.
    Same,
    /// It holds other bytes.
    Different,
    /// Nothing certain: an error, or no answer.
    Nothing,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Create the object, if there is none.
    Put,
    /// Read it back and compare.
    Compare,
    /// List the folder, then call [`Placing::elsewhere`].
    List,
    /// The part is durable.
    Placed,
}

/// One part on its way to a name.
#[derive(Debug)]
pub(crate) struct Placing {
    /// The number that it is to have.
    pub(crate) number: u64,
    /// How many names were taken by others.
    pub(crate) collisions: u32,
}

impl Placing {
    /// A part that is to have this number. `Put` comes first.
    pub(crate) fn new(number: u64) -> Self {
        Placing { number, collisions: 0 }
    }

    /// The store answered.
    pub(crate) fn heard<N: Naming>(&mut self, heard: Heard, numbers: &mut Numbers<N>) -> Next {
        match heard {
            Heard::Created | Heard::Same => Next::Placed,
            Heard::Exists if numbers.naming.trusts_taken() => Next::Placed,
            Heard::Exists => Next::Compare,
            Heard::Different => {
                self.collisions += 1;
                Next::List
            }
            Heard::Nothing => {
                self.number = numbers.naming.unanswered(self.number, &mut numbers.next);
                Next::Put
            }
        }
    }

    /// Another number after this one turned out to be another writer's. The first time, a look at
    /// the folder and a small leap; the more often, the longer the leap: writers that go on from
    /// different places meet rarely, so a part is fought over a bounded number of times.
    pub(crate) fn elsewhere<N: Naming>(
        &mut self,
        numbers: &mut Numbers<N>,
        highest: u64,
        random_below: impl FnOnce(u64) -> u64,
    ) -> Next {
        let leap = 1 + random_below(8 << (2 * self.collisions.min(8)));
        let number = (highest.max(self.number) + leap).max(numbers.next.unwrap_or(0));
        numbers.next = Some(number + 1);
        self.number = number;
        Next::Put
    }
}
