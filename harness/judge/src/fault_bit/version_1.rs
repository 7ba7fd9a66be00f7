//! What the faults of histories of version 1 had to show: they name the kind of each, and nothing more.
//! The table is closed. Later histories say of each fault what its evidence must show.

use streamlake_history::event::{Demand, FaultLoad};

use Demand::{
    ClientsConnected, FellSilent, Frozen, HeldUncommitted, Killed, LinkCut, ObjectAltered,
    OwnedPartitions, RequestsHit, RestartLogged, SameProcess, StartedAnew, Stopped, StoreFaultSet,
};
use FaultLoad::{Deliveries, Operations};

/// Kind, what must be under way, what the evidence must show.
type Row = (&'static str, Option<FaultLoad>, &'static [Demand]);

#[rustfmt::skip]
static TABLE: &[Row] = &[
    ("broker-restart", Some(Operations), &[FellSilent, StartedAnew, Stopped, ClientsConnected]),
    ("broker-kill", Some(Operations), &[FellSilent, StartedAnew, Killed, ClientsConnected]),
    ("broker-pause", Some(Operations), &[FellSilent, Frozen, SameProcess, ClientsConnected]),
    ("client-partition", Some(Operations), &[FellSilent, LinkCut, SameProcess, ClientsConnected]),
    ("consumer-kill", Some(Deliveries), &[Killed, StartedAnew, OwnedPartitions, HeldUncommitted]),
    ("consumer-restart", Some(Deliveries), &[Stopped, StartedAnew, OwnedPartitions]),
    ("consumer-pause", Some(Deliveries), &[Frozen, SameProcess, OwnedPartitions, HeldUncommitted]),
    ("store-failure", Some(Deliveries), &[StoreFaultSet, RequestsHit]),
    ("connector-restart", Some(Operations), &[RestartLogged]),
    ("connect-kill", Some(Operations), &[FellSilent, StartedAnew, Killed]),
    ("database-restart", Some(Operations), &[FellSilent, StartedAnew, Stopped]),
    ("tampering", None, &[ObjectAltered]),
];

/// What must be under way while a fault of this kind lasts; operations where the kind is not known.
pub(super) fn load(kind: &str) -> Option<FaultLoad> {
    TABLE.iter().find(|row| row.0 == kind).map_or(Some(Operations), |row| row.1)
}

/// What the evidence of a fault of this kind must show; nothing is known of other kinds.
pub(super) fn shows(kind: &str) -> &'static [Demand] {
    TABLE.iter().find(|row| row.0 == kind).map_or(&[], |row| row.2)
}
