//! The model of the object store: names that are created if absent, by requests that may be lost, and
//! may land late.

use super::{Checked, broken};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The records of a part: its bytes.
pub(super) type Content = Rc<[u32]>;

/// Objects by day and number.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<(usize, u64), Content>,
    /// The object of each part.
    homes: BTreeMap<u64, (usize, u64)>,
}

impl Store {
    /// Creates an object, or says that there is one. `replace` is for the writer that knows no condition.
    pub(super) fn put(
        &mut self,
        name: (usize, u64),
        content: &Content,
        part: u64,
        replace: bool,
    ) -> Checked<bool> {
        if let Some(object) = self.objects.get(&name) {
            if !replace {
                return Ok(false);
            }
            if object != content {
                return broken(
                    "nothing is replaced",
                    format!("object {name:?} holds {object:?} and gets {content:?}"),
                );
            }
        }
        if let Some(home) = self.homes.insert(part, name)
            && home != name
        {
            return broken(
                "a part has one name",
                format!("the part {content:?} lies at {home:?} and at {name:?}"),
            );
        }
        self.objects.insert(name, Rc::clone(content));
        Ok(true)
    }

    pub(super) fn holds(&self, name: (usize, u64), content: &Content) -> bool {
        self.objects.get(&name).is_some_and(|object| object == content)
    }

    pub(super) fn highest(&self, day: usize) -> u64 {
        let range = self.objects.range((day, 0)..(day + 1, 0));
        range.last().map_or(0, |((_, number), _)| *number)
    }
}
