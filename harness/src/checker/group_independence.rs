//! Group independence: each group gets every record of the log, whatever the others do.

use super::case::{Case, count, quoted, spelled};
use super::evidence::{logs_read, missing, observed_groups};
use crate::history::index::{GroupLane, Index};

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    if index.header.promises.groups.len() < 2 {
        return case.not_applicable("fewer than two groups are under test");
    }
    if !logs_read(index, case) {
        return "the log cannot be read".to_owned();
    }
    let mut shares = Vec::new();
    for group in observed_groups(index, case) {
        let (mut due, mut had) = (0, 0);
        for (number, lane) in index.promised_lanes() {
            let empty = GroupLane::default();
            let known = group.lanes.get(&number).unwrap_or(&empty);
            let logged = lane.logged().from(lane.low());
            let open = logged.minus(&known.done());
            due += logged.len();
            had += logged.len() - open.len();
            let lost = missing(index, number, known);
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
