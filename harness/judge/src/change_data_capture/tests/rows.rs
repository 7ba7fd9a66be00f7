//! What events say of rows, tombstones, instants, and rows that come from reading the whole table.

use super::*;

/// The event of a change at its first coming.
fn event(sample: &mut Sample, change: u64) -> &mut ChangeEvent {
    let all = events(sample);
    all.into_iter().find(|event| event.lsn == Some(lsn(change))).unwrap()
}

fn first(wanted: RowOperation) -> u64 {
    (10..60).find(|change| operation(*change) == wanted).unwrap()
}

fn text(text: &str) -> Option<Column> {
    Some(Column::of(text.to_owned()))
}

fn set(row: Option<&mut RowImage>, column: &str, value: Option<Column>) {
    row.unwrap().insert(column.to_owned(), value);
}

/// Each makes one event wrong in one place; the words are those that show the difference.
type Plant = (fn(&mut Sample), &'static str);

const WRONG: [Plant; 12] = [
    (
        |s| set(event(s, 12).after.as_mut(), "amount", text("1.5")),
        "`amount` after: `1.5`, the database logged `84.5`",
    ),
    (
        |s| set(event(s, 12).before.as_mut(), "remark", text("other")),
        "`remark` before: `other`, the database logged `remark 7`",
    ),
    (|s| set(event(s, 13).after.as_mut(), "remark", None), "NULL, the database logged `remark 13`"),
    (|s| set(event(s, 12).after.as_mut(), "remark", text("")), "``, the database logged NULL"),
    (|s| set(event(s, 12).after.as_mut(), "extra", text("1")), "logged no such column"),
    (|s| drop(event(s, 12).after.as_mut().unwrap().remove("amount")), "no such column"),
    (|s| event(s, 12).after = None, "no row after the change"),
    (|s| event(s, 12).before = None, "no row before the change"),
    (|s| event(s, 12).committed_us = Some(committed_us(12) + 5000), "instant of the commit"),
    (
        |s| {
            let long = Column::of("x ".repeat(400));
            set(event(s, 12).after.as_mut(), "description", Some(long));
        },
        "(800 bytes, XXH3",
    ),
    (
        |s| set(event(s, 12).after.as_mut(), "amount", Some(Column::UNAVAILABLE)),
        "a value that was left out, the database logged `84.5`",
    ),
    (
        |s| {
            let row = row(1);
            event(s, first(RowOperation::Delete)).after = row;
        },
        "a row after it was deleted",
    ),
];

#[test]
fn each_wrong_column_is_found_and_shown_with_both_values() {
    for (plant, words) in WRONG {
        let mut sample = killed().sample();
        plant(&mut sample);
        let check = check(&sample);
        let finding = check.findings.iter().find(|f| f.anomaly == "event-differs-from-change");
        let finding = finding.unwrap_or_else(|| panic!("{words}: {check:#?}"));
        assert_eq!((check.findings.len(), finding.evidence.len()), (1, 1), "{check:#?}");
        assert!(finding.evidence[0].contains(words), "{finding:#?}");
    }
}

#[test]
fn a_value_that_the_log_leaves_out_may_be_left_out() {
    let change = |sample: &mut Sample| {
        let facts = sample.facts.iter_mut().map(|(_, _, fact)| fact);
        let changes = facts.filter_map(|fact| match fact {
            Fact::SourceChange(change) => Some(change),
            _ => None,
        });
        let mut changes = changes.filter(|change| change.change == 12);
        let change = changes.next().unwrap();
        change.unchanged.push("description".to_owned());
    };
    let mut sample = killed().sample();
    change(&mut sample);
    assert_eq!(check(&sample).status, Status::Pass);
    set(event(&mut sample, 12).after.as_mut(), "description", Some(Column::UNAVAILABLE));
    assert_eq!(check(&sample).status, Status::Pass);
    set(event(&mut sample, 12).before.as_mut(), "description", Some(Column::UNAVAILABLE));
    found(&sample, "event-differs-from-change");
}

#[test]
fn a_table_that_logs_its_keys_alone_promises_no_more() {
    let mut sample = killed().sample();
    sample.header.promises.source.as_mut().unwrap().before_images = false;
    let key = |row: &mut RowImage| row.retain(|name, _| name == "id");
    for (_, _, fact) in &mut sample.facts {
        match fact {
            Fact::SourceChange(change) if change.operation == RowOperation::Delete => {
                change.before.as_mut().map(key).unwrap();
            }
            Fact::SourceChange(change) => change.before = None,
            // Debezium writes null, or what it has of the type.
            Fact::ChangeEvent(event) if event.operation == RowOperation::Delete => {
                set(event.before.as_mut(), "amount", None);
            }
            Fact::ChangeEvent(event) => event.before = None,
            _ => {}
        }
    }
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    let delete = first(RowOperation::Delete);
    set(event(&mut sample, delete).before.as_mut(), "id", text("77"));
    found(&sample, "event-differs-from-change");
}

#[test]
fn rows_that_cannot_be_compared_are_a_doubt() {
    let mut sample = killed().sample();
    event(&mut sample, 12).untyped = true;
    assert_eq!(check(&sample).status, Status::Pass, "the values agree all the same");
    set(event(&mut sample, 12).after.as_mut(), "amount", text("AJiWfw=="));
    undecided(&sample, "without a schema");
    let mut sample = killed().sample();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::SourceChange(change) = fact {
            (change.before, change.after) = (None, None);
        }
    }
    undecided(&sample, "does not tell the row");
    let mut old = killed().sample();
    let promise = old.header.promises.source.as_mut().unwrap();
    (promise.columns, promise.before_images) = (Vec::new(), false);
    for (_, _, fact) in &mut old.facts {
        match fact {
            Fact::SourceChange(change) => (change.before, change.after) = (None, None),
            Fact::ChangeEvent(event) => (event.before, event.after) = (None, None),
            _ => {}
        }
    }
    assert_eq!(check(&old).status, Status::Pass, "nothing more was promised");
}

fn tombstones(sample: &mut Sample) -> Vec<(u32, u64)> {
    let all = events(sample);
    let all = all.iter().filter(|event| event.operation == RowOperation::Tombstone);
    all.map(|event| (event.partition, event.offset)).collect()
}

fn drop_at(sample: &mut Sample, at: (u32, u64)) {
    drop_facts(sample, |f| matches!(f, Fact::ChangeEvent(e) if (e.partition, e.offset) == at));
}

#[test]
fn a_delete_has_its_tombstone_and_nothing_else_has_one() {
    let mut sample = killed().sample();
    let first = tombstones(&mut sample)[0];
    drop_at(&mut sample, first);
    found(&sample, "tombstone-missing");

    // The tombstone of another row is none.
    let mut sample = killed().sample();
    let wrong = events(&mut sample).into_iter().find(|e| e.operation == RowOperation::Tombstone);
    wrong.unwrap().key = "{\"id\":99}".to_owned();
    found(&sample, "tombstone-missing");
    found(&sample, "tombstone-without-delete");

    // A row that lives.
    let mut sample = killed().sample();
    let living = event(&mut sample, 59).clone();
    assert_eq!(living.operation, RowOperation::Delete, "{living:?}");
    let living = event(&mut sample, 49).clone();
    let at = events(&mut sample).iter().filter(|e| e.partition == living.partition).count() as u64;
    sample.tell(END_US, "log-reader", Fact::ChangeEvent(tombstone(&living, at + 10)));
    found(&sample, "tombstone-without-delete");

    let mut sample = killed().sample();
    sample.header.promises.source.as_mut().unwrap().no_tombstones = true;
    drop_facts(
        &mut sample,
        |f| matches!(f, Fact::ChangeEvent(e) if e.operation == RowOperation::Tombstone),
    );
    assert_eq!(check(&sample).status, Status::Pass, "none were promised");
}

#[test]
fn a_delete_that_came_again_may_have_been_cut_off_from_its_tombstone() {
    let delete = first(RowOperation::Delete);
    // Killed right after the delete: it comes again, since it was not flushed.
    let run = Run { killed_after: Some(delete + 1), changes: 60, partitions: 1 };
    assert_ne!((delete + 1) % FLUSH_EVERY, 0);
    let mut sample = run.sample();
    let first = tombstones(&mut sample)[0];
    drop_at(&mut sample, first);
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    let second = tombstones(&mut sample)[0];
    drop_at(&mut sample, second);
    found(&sample, "tombstone-missing");
}

#[test]
fn a_last_tombstone_may_be_on_its_way_until_a_later_offset_is_flushed() {
    let run = Run { changes: 20, partitions: 1, killed_after: None };
    assert_eq!(operation(19), RowOperation::Delete);
    let mut sample = run.sample();
    let last = *tombstones(&mut sample).last().unwrap();
    drop_at(&mut sample, last);
    undecided(&sample, "still have been on its way");
    let flush = OffsetFlush {
        connector: CONNECTOR.to_owned(),
        offset: 90,
        at_us: END_US,
        lsn: Some(lsn(20)),
        snapshot: false,
    };
    sample.tell(END_US, "log-reader", Fact::OffsetFlush(flush));
    found(&sample, "tombstone-missing");
}

#[test]
fn an_event_before_its_commit_is_found_as_far_as_the_clocks_tell() {
    let early = |sample: &mut Sample, by: u64| {
        for (_, _, fact) in &mut sample.facts {
            if let Fact::ChangeEvent(event) = fact
                && event.lsn == Some(lsn(40))
            {
                event.at_us = committed_us(40) - by;
            }
        }
    };
    let mut sample = killed().sample();
    early(&mut sample, 2000);
    found(&sample, "event-before-commit");
    let mut sample = killed().sample();
    early(&mut sample, 800);
    assert_eq!(check(&sample).status, Status::Pass, "within a tick and the clocks' uncertainty");
    // Skewed clocks, measured as such, convict nobody, and a sound event does not hide behind them.
    let mut sample = killed().sample();
    early(&mut sample, 2000);
    for (_, _, fact) in &mut sample.facts {
        if let Fact::Clock(clock) = fact
            && clock.of == "broker"
        {
            (clock.low_us, clock.high_us) = (2500, 2900);
        }
    }
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    drop_facts(&mut sample, |fact| matches!(fact, Fact::Clock(_)));
    undecided(&sample, "were not measured");
    let mut sample = killed().sample();
    events(&mut sample)[3].producer_time = true;
    undecided(&sample, "stamped by the producer");
}

/// The first rows are read as a whole table at the position of `until`, none of them from the log.
fn read_first(until: u64) -> Sample {
    let mut sample = Run { changes: 60, partitions: 2, killed_after: None }.sample();
    for change in 0..until {
        let stood = operation(change) != RowOperation::Delete && change + KEYS >= until;
        if !stood {
            drop_events_of(&mut sample, change);
            continue;
        }
        let event = event(&mut sample, change);
        (event.operation, event.snapshot) = (RowOperation::Read, true);
        (event.lsn, event.before) = (Some(commit_lsn(until - 1)), None);
        (event.transaction, event.committed_us) = (Some(1), None);
        event.at_us = committed_us(until);
    }
    let read_at = committed_us(until);
    for event in events(&mut sample) {
        event.at_us = event.at_us.max(read_at);
    }
    drop_facts(&mut sample, |f| matches!(f, Fact::OffsetFlush(f) if f.lsn < Some(lsn(until))));
    sample
}

#[test]
fn a_first_reading_of_the_table_tells_of_the_rows_that_stood_in_it() {
    let sample = read_first(14);
    let passed = check(&sample);
    assert_eq!(passed.status, Status::Pass, "{passed:#?}");
    assert_eq!(passed.figures["snapshot_events"], 5);

    let of = |sample: &mut Sample, change: u64| {
        let all = events(sample);
        let at = all.iter().position(|event| event.revision == Some(change + 1)).unwrap();
        (all[at].partition, all[at].offset)
    };
    // A row that was left out.
    let mut sample = read_first(14);
    let at = of(&mut sample, 10);
    drop_at(&mut sample, at);
    found(&sample, "change-not-captured");
    // Another content than any that the row ever had.
    let mut sample = read_first(14);
    let read = events(&mut sample).into_iter().find(|event| event.revision == Some(11)).unwrap();
    set(read.after.as_mut(), "amount", text("0.1"));
    found(&sample, "event-differs-from-change");
    // A content that it no longer had: changed again in the transaction of another row that was read.
    let mut sample = read_first(14);
    let read = events(&mut sample).into_iter().find(|event| event.revision == Some(11)).unwrap();
    (read.revision, read.after) = (Some(6), row(5));
    found(&sample, "snapshot-rows-of-different-times");
}

#[test]
fn a_row_that_was_changed_long_before_it_was_read_is_stale() {
    let mut sample = read_first(14);
    // The slot was seen not to be there at a time when everything had been committed.
    let slot = SlotState {
        slot: "debezium".to_owned(),
        absent: Some(SlotState::GONE.to_owned()),
        active_pid: None,
        confirmed: None,
        unseen_us: Some(1),
    };
    sample.facts.insert(0, (committed_us(14) - 1, "slot-watch".to_owned(), Fact::Slot(slot)));
    assert_eq!(check(&sample).status, Status::Pass, "{:#?}", check(&sample));
    for change in 9..14 {
        let read = events(&mut sample).into_iter();
        let mut read = read.filter(|event| event.operation == RowOperation::Read);
        let read = read.rfind(|event| event.revision == Some(change + 1)).unwrap();
        (read.revision, read.after) = (Some(change - 4), row(change - 5));
    }
    found(&sample, "snapshot-row-is-stale");
}

#[test]
fn a_change_whose_event_may_be_one_that_nobody_can_read_is_a_doubt() {
    let mut sample = killed().sample();
    let event = event(&mut sample, 40);
    event.problem = Some("no JSON".to_owned());
    undecided(&sample, "could not be understood");
}
