//! From what a line says to the place of its record in the log.

use std::collections::BTreeMap;

use super::mapping::Said;
use crate::observer::known::{Known, Place};
use streamlake_history::event::Print;

/// A record that a line names by something that several records of the log share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Op(u64),
    Value(u64),
}

/// Finds records. Where the log holds a record twice, as a producer that is not idempotent may leave
/// it, the first line that names it is of the first copy, the next of the second, and so on.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    known: &'a Known,
    named: BTreeMap<Name, usize>,
}

/// Where a record stands, or why nobody can say.
pub(super) type Found = Result<(String, u32, u64), String>;

impl<'a> Resolver<'a> {
    pub(super) fn new(known: &'a Known) -> Self {
        Self { known, named: BTreeMap::new() }
    }

    /// The place that a line means; `value` is the fingerprint of its value.
    pub(super) fn find(&mut self, said: &Said, value: Option<Print>) -> Found {
        let (name, places) = match said {
            Said::Place(topic, partition, offset) => {
                let topic = topic.clone().unwrap_or_else(|| self.known.topic().to_owned());
                return Ok((topic, *partition, *offset));
            }
            Said::Op(op) => (Name::Op(*op), self.known.of_op(*op)),
            Said::Value => {
                let value = value.ok_or("it says neither where its record stands nor its value")?;
                (Name::Value(value.0), self.known.of_value(value))
            }
        };
        if places.is_empty() {
            return Err(match name {
                Name::Op(op) => format!("the log holds no record of operation {op}"),
                Name::Value(_) => "the log holds no record with its value".to_owned(),
            });
        }
        let times = self.named.entry(name).or_insert(0);
        let (partition, offset) = places[*times % places.len()];
        *times += 1;
        Ok((self.known.topic().to_owned(), partition, offset))
    }

    /// The copies of a record, beyond those that were named, of which a consumer that tells records by
    /// their names owes nothing more.
    pub(super) fn unnamed_copies(&self) -> impl Iterator<Item = (&Name, &[Place])> {
        self.named.iter().filter_map(|(name, times)| {
            let places = match name {
                Name::Op(op) => self.known.of_op(*op),
                Name::Value(value) => self.known.of_value(Print(*value)),
            };
            places.get(*times..).filter(|rest| !rest.is_empty()).map(|rest| (name, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let mut known = Known::new("t", true);
        known.take(0, 5, Some(1), Some(b"one"));
        known.take(1, 6, Some(2), Some(b"two"));
        known.take(1, 7, Some(2), Some(b"two"));
        known
    }

    #[test]
    fn records_are_found_by_place_by_operation_and_by_value() {
        let known = known();
        let mut resolver = Resolver::new(&known);
        let place = |partition, offset| Ok(("t".to_owned(), partition, offset));
        assert_eq!(resolver.find(&Said::Place(None, 9, 9), None), place(9, 9));
        let other = Said::Place(Some("other".to_owned()), 0, 1);
        assert_eq!(resolver.find(&other, None), Ok(("other".to_owned(), 0, 1)));
        assert_eq!(resolver.find(&Said::Op(1), None), place(0, 5));
        let value = Print::of_value(Some(b"one"));
        assert_eq!(resolver.find(&Said::Value, Some(value)), place(0, 5));
        assert!(resolver.find(&Said::Op(3), None).is_err());
        assert!(resolver.find(&Said::Value, Some(Print(1))).is_err());
        assert!(resolver.find(&Said::Value, None).is_err());
    }

    #[test]
    fn copies_in_the_log_are_given_out_in_turn_and_those_that_nobody_names_are_told() {
        let known = known();
        let mut resolver = Resolver::new(&known);
        let offset = |found: Found| found.map(|(_, _, offset)| offset);
        assert_eq!(offset(resolver.find(&Said::Op(2), None)), Ok(6));
        let rest: Vec<_> = resolver.unnamed_copies().collect();
        assert_eq!(rest, [(&Name::Op(2), &[(1, 7)][..])]);
        assert_eq!(offset(resolver.find(&Said::Op(2), None)), Ok(7));
        assert_eq!(resolver.unnamed_copies().count(), 0);
        assert_eq!(offset(resolver.find(&Said::Op(2), None)), Ok(6));
        assert_eq!(resolver.unnamed_copies().count(), 0);
    }
}
