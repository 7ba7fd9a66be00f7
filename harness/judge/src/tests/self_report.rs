//! What the pipeline says of itself, in numbers.

use super::*;

/// The honest run, whose audit says the truth of both partitions, and whose metrics do at the end.
fn telling() -> Sample {
    let mut sample = Sample::honest();
    sample.header.promises.groups[0].reports_itself = true;
    sample.header.promises.recovery_within_us = 1_000_000;
    for partition in 0..2 {
        let high = sample.facts.iter().find_map(|(_, _, fact)| match fact {
            Fact::LogBounds(b) if b.topic == TOPIC && b.partition == partition => Some(b.high),
            _ => None,
        });
        let high = high.unwrap().cast_signed();
        let audit = [
            ("high_watermark", high),
            ("committed", high),
            ("stored", high),
            ("dead_letters", 0),
            ("duplicates", 0),
            ("lost", 0),
            ("without_record", 0),
            ("low_watermark", 0),
            ("waiting", 0),
            ("unknown", 0),
            ("durable", high),
        ];
        said(&mut sample, END_US, ReportSource::Audit, partition, &audit);
        for t_us in [8_000_000, 9_000_000, 10_000_000] {
            said(&mut sample, t_us, ReportSource::Metrics, partition, &metrics(high));
        }
    }
    sample
}

fn metrics(high: i64) -> [(&'static str, i64); 6] {
    let all = ["committed", "durable", "end", "position"].map(|name| (name, high));
    [all[0], all[1], all[2], all[3], ("lag", 0), ("fetch_unanswered", 0)]
}

fn said(
    sample: &mut Sample,
    t_us: u64,
    source: ReportSource,
    partition: u32,
    numbers: &[(&str, i64)],
) {
    let process = match source {
        ReportSource::Audit => "audit-1",
        ReportSource::Metrics => "consumer-1",
    };
    let fact = SelfReport {
        process: process.to_owned(),
        source,
        group: GROUP.to_owned(),
        topic: TOPIC.to_owned(),
        partition,
        numbers: numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
    };
    sample.tell(t_us, process, Fact::SelfReport(fact));
}

/// Changes what a source said of partition 1.
fn with(source: ReportSource, change: impl Fn(&mut SelfReport)) -> Sample {
    let mut sample = telling();
    for (_, _, fact) in &mut sample.facts {
        if let Fact::SelfReport(said) = fact
            && said.source == source
            && said.partition == 1
        {
            change(said);
        }
    }
    sample
}

#[test]
fn an_audit_counts_what_is_there() {
    comes(&telling(), "self-report", Status::Pass);
    comes(&Sample::honest(), "self-report", Status::NotApplicable);
    let told = telling().facts.len();
    for name in [
        "high_watermark",
        "committed",
        "stored",
        "dead_letters",
        "duplicates",
        "lost",
        "without_record",
        "low_watermark",
        "waiting",
        "unknown",
        "durable",
    ] {
        let more =
            |by: i64| with(ReportSource::Audit, |said| *said.numbers.get_mut(name).unwrap() += by);
        found(&more(1), "self-report", "audit-miscounts");
        found(&more(-1), "self-report", "audit-miscounts");
        let silent = with(ReportSource::Audit, |said| {
            said.numbers.remove(name);
        });
        found(&silent, "self-report", "audit-miscounts");
    }
    let mut short = telling();
    drop_facts(
        &mut short,
        |f| matches!(f, Fact::SelfReport(s) if s.source == ReportSource::Audit && s.partition == 1),
    );
    assert_eq!(short.facts.len() + 1, told);
    found(&short, "self-report", "audit-miscounts");
    drop_facts(&mut short, |f| matches!(f, Fact::SelfReport(s) if s.source == ReportSource::Audit));
    comes(&short, "self-report", Status::Inconclusive);
}

#[test]
fn an_audit_that_forgets_a_loss_or_a_copy_is_found() {
    let mut lossy = telling();
    let mut zone = false;
    let mut gone = false;
    lossy.facts.retain(|(_, _, fact)| match fact {
        Fact::Object(_) => {
            zone = true;
            true
        }
        Fact::Stored(stored) if zone && !gone && stored.partition == 1 => {
            gone = true;
            false
        }
        _ => true,
    });
    assert!(gone);
    let check = check(&lossy.judge().unwrap(), "self-report");
    let words: Vec<_> = check.findings.iter().map(|f| f.message.as_str()).collect();
    assert!(words.iter().any(|w| w.contains("says that lost is 0, and it is 1")), "{words:?}");
}

#[test]
fn metrics_are_held_against_what_was_true_lately() {
    for (name, by) in [
        ("committed", 1),
        ("committed", -1),
        ("durable", 1),
        ("durable", -1),
        ("end", 1),
        ("end", -1),
        ("position", 1),
        ("position", -1),
        ("lag", 1),
    ] {
        let wrong = with(ReportSource::Metrics, |said| *said.numbers.get_mut(name).unwrap() += by);
        found(&wrong, "self-report", "metrics-mislead");
    }
    let elsewhere = with(ReportSource::Metrics, |said| said.partition = 7);
    found(&elsewhere, "self-report", "numbers-of-nothing");
    let mut none = telling();
    drop_facts(
        &mut none,
        |f| matches!(f, Fact::SelfReport(s) if s.source == ReportSource::Metrics),
    );
    comes(&none, "self-report", Status::Pass);
    // It worked for long enough to be asked.
    for (t_us, _, fact) in &mut none.facts {
        if matches!(fact, Fact::Phase { name } if name == "final-read" || name == "done") {
            *t_us = 12_000_000;
        }
    }
    comes(&none, "self-report", Status::Inconclusive);
    // What was true two seconds ago, a scrape between two gauges, and an end that nobody was told.
    let late = |numbers: &[(&str, i64)], t_us: u64| {
        let mut sample = telling();
        said(&mut sample, t_us, ReportSource::Metrics, 0, numbers);
        sample
    };
    let early = [("committed", 4), ("durable", 4), ("end", 10), ("position", 6), ("lag", 6)];
    comes(&late(&early, 400_000), "self-report", Status::Pass);
    let high = 20;
    let mut torn = metrics(high);
    torn[4] = ("lag", 3);
    let torn: Vec<_> =
        torn.into_iter().filter(|(name, _)| ["lag", "fetch_unanswered"].contains(name)).collect();
    comes(&late(&torn, 8_500_000), "self-report", Status::Pass);
}

#[test]
fn near_a_fault_metrics_may_be_older() {
    let mut sample = with(ReportSource::Metrics, |said| {
        for name in ["committed", "durable", "end", "position"] {
            *said.numbers.get_mut(name).unwrap() -= 3;
        }
    });
    found(&sample, "self-report", "metrics-mislead");
    sample.header.promises.recovery_within_us = 20_000_000;
    comes(&sample, "self-report", Status::Pass);
}

/// The honest run with totals of its audit, and of the metrics of its consumer at an instant.
fn counting(audit: &[(&str, i64)], metrics: &[(&str, i64)], read_us: u64) -> Sample {
    let mut sample = telling();
    sample.header.promises.groups[0].members = vec!["consumer-1".to_owned()];
    let said = [
        (ReportSource::Audit, "audit-1", END_US, audit),
        (ReportSource::Metrics, "consumer-1", read_us, metrics),
    ];
    for (source, process, t_us, numbers) in said {
        let fact = TotalsReport {
            process: process.to_owned(),
            source,
            group: GROUP.to_owned(),
            numbers: numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
        };
        sample.tell(t_us, process, Fact::Totals(fact));
    }
    sample
}

/// Parts, their bytes and their records, as they stand in the honest run.
fn in_store() -> [i64; 3] {
    let sample = Sample::honest();
    let parts = sample.facts.iter().filter_map(|(_, _, fact)| match fact {
        Fact::Object(o) if o.role == ObjectRole::Part && !o.during_run => Some(o.bytes),
        _ => None,
    });
    let parts: Vec<u64> = parts.collect();
    let records = sample.facts.iter().filter(|(_, _, fact)| matches!(fact, Fact::Stored(_)));
    [parts.len() as i64, parts.iter().sum::<u64>() as i64, records.count() as i64]
}

#[test]
fn an_audit_counts_all_parts_and_the_bytes_that_are_stored() {
    let [parts, bytes, _] = in_store();
    let audit = |parts, bytes| counting(&[("parts", parts), ("part_bytes", bytes)], &[], END_US);
    comes(&audit(parts, bytes), "self-report", Status::Pass);
    found(&audit(parts - 1, bytes), "self-report", "audit-miscounts");
    found(&audit(parts, bytes * 2), "self-report", "audit-miscounts");
}

#[test]
fn counters_sum_up_to_no_more_than_was_done_and_no_less_than_had_been_done_long_ago() {
    let [parts, bytes, records] = in_store();
    let metrics = |parts, bytes, records, at| {
        counting(&[], &[("parts", parts), ("bytes", bytes), ("records", records)], at)
    };
    let audited = |sample: &Sample| check(&sample.judge().unwrap(), "self-report");
    let misled = |sample: &Sample| {
        audited(sample)
            .findings
            .iter()
            .any(|f| f.anomaly == "metrics-mislead" && f.message.contains("counters"))
    };
    let long_after = 30_000_000;
    assert!(!misled(&metrics(parts, bytes, records, long_after)));
    assert!(misled(&metrics(parts * 2, bytes, records, long_after)));
    assert!(misled(&metrics(parts, bytes + 1, records, long_after)));
    assert!(misled(&metrics(parts, bytes, records + 1, long_after)));
    assert!(
        misled(&metrics(parts, bytes, 0, long_after)),
        "{:#?}",
        audited(&metrics(parts, bytes, 0, long_after))
    );
    // A reading that came early says nothing of what came after it.
    assert!(!misled(&metrics(0, 0, 0, 1)));
}
