//! Group independence: each group gets every record of the log, whatever the others do.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{missing, observed_groups, owed_from, read_lanes};
use crate::index::{GroupLane, Index};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let mut shares = Vec::new();
    for group in observed_groups(index) {
        let (mut due, mut had) = (0, 0);
        for (number, lane) in read_lanes(index, group.promise) {
            let empty = GroupLane::default();
            let known = group.lanes.get(&number).unwrap_or(&empty);
            let known_lane = group.lanes.get(&number);
            let Some(from) = owed_from(lane, group.promise, known_lane) else { continue };
            let logged = lane.logged().from(from);
            let open = logged.minus(&known.done());
            due += logged.len();
            had += logged.len() - open.len();
            let lost = missing(index, group.promise, number, known);
            let name = quoted(&group.promise.group);
            if !lost.is_empty() {
                let text = format!(
                    "group {name} lacks {} of {} that it committed past: {}",
                    count(lost.len(), "record"),
                    index.lane_name(number),
                    spelled(&lost)
                );
                let group = Some(group.promise.group.as_str());
                case.find_at("group-lacks-records", group, number, &lost, text);
            } else if !open.is_empty() {
                let text = count(open.len(), "record");
                case.doubt(format!("group {name} is {text} behind on {}", index.lane_name(number)));
            }
        }
        if due == 0 {
            case.doubt("the log holds no record");
        }
        shares.push(format!("{} {had} of {due}", group.promise.group.escape_debug()));
    }
    match shares.is_empty() {
        true => "no group could be observed".to_owned(),
        false => shares.join(", "),
    }
}
