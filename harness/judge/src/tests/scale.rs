//! The history that speed is measured with is one that the judge passes, and fails when it should.

use streamlake_history::synthetic::{facts, header};

use super::*;
use crate::index::Index;

#[test]
fn a_synthetic_history_passes_and_shows_an_anomaly() {
    for spoiled in [false, true] {
        let mut index = Index::packed(&header(25_000));
        facts(25_000, |event| match &event.fact {
            Fact::Stored(fact) if spoiled && fact.op == Some(12_345) => {
                let other = Stored { offset: fact.offset, value: Print(1), ..fact.clone() };
                index.observe(&Event { fact: Fact::Stored(other), ..event.clone() });
            }
            _ => index.observe(event),
        });
        let verdict = crate::verdict(&index.settle());
        let expected = if spoiled { Status::Fail } else { Status::Pass };
        assert_eq!(verdict.status, expected, "{:#?}", verdict.checks);
    }
}
