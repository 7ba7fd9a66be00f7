//! What the records of the log say of themselves, against what their producer promised to say.

use super::case::{Case, count, spelled};
use crate::index::{HeaderFault, Index};

/// Reports promised headers that are absent, that have another value, or an instant of ingestion
/// outside of the invocation.
pub(super) fn judge(index: &Index, case: &mut Case<'_>) {
    report(
        index,
        case,
        &[
            HeaderFault::Missing,
            HeaderFault::Differs,
            HeaderFault::Twice,
            HeaderFault::Implausible,
            HeaderFault::Timestamp,
            HeaderFault::List,
        ],
    );
}

/// Reports some kinds of faults, partition by partition.
pub(super) fn report(index: &Index, case: &mut Case<'_>, kinds: &[HeaderFault]) {
    for (number, _) in index.promised_lanes() {
        let faults = index.headers.logged.iter();
        let own = faults.filter(|((lane, kind, _), _)| *lane == number && kinds.contains(kind));
        for ((_, kind, name), faulty) in own {
            let name = name.escape_debug();
            let (anomaly, what) = match kind {
                HeaderFault::Missing => ("header-missing", format!("without header `{name}`")),
                HeaderFault::Differs => {
                    ("header-differs", format!("with another `{name}` than promised"))
                }
                HeaderFault::Twice => {
                    ("header-twice", format!("with header `{name}` more than once"))
                }
                HeaderFault::Timestamp => (
                    "timestamp-implausible",
                    "with a timestamp outside of their invocation".to_owned(),
                ),
                HeaderFault::Implausible => (
                    "ingested-at-implausible",
                    format!("with an instant in `{name}` outside of their invocation"),
                ),
                HeaderFault::Id => (
                    "ingestion-id-differs",
                    format!("whose header `{name}` is not the ingestion id that was told"),
                ),
                HeaderFault::List => (
                    "headers-told-twice",
                    "whose headers are not those of their fingerprint".to_owned(),
                ),
            };
            let text = format!(
                "{} of {} in the log {what}: {}",
                count(faulty.offsets.len(), "record"),
                index.lane_name(number),
                spelled(&faulty.offsets)
            );
            let finding = case.find_at(anomaly, None, number, &faulty.offsets, text);
            finding.evidence.extend(faulty.examples());
        }
    }
}
