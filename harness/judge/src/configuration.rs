//! Configuration: what the promises rest on was read back from each running client, not copied from
//! the scenario.
//!
//! Each process under test has the clients of its role, and each client is asked for: one consumer of
//! two that said nothing is a doubt. Clients report under their own names; those of librdkafka and of
//! Java are both known.

use std::collections::BTreeSet;

use super::case::{Case, anomalous, quoted};
use super::evidence::foreign;
use crate::index::{Index, ReadBack};
use streamlake_history::event::{
    Evidence, GroupPromise, GroupStart, Header, ProcessChange, ProcessRole,
};

/// A property that a promise rests on.
struct Demand {
    /// Which client.
    of: &'static str,
    /// The names of the property.
    names: &'static [&'static str],
    /// What it is to be.
    promised: String,
    /// The roles of the processes that have such a client.
    roles: &'static [ProcessRole],
    /// Not of a process with this role: what it was told for one client goes for all of them.
    except: Option<ProcessRole>,
}

const ACKS: &[&str] = &["acks", "request.required.acks"];

pub(super) fn judge(index: &Index, case: &mut Case<'_>) -> String {
    let read: BTreeSet<&str> =
        index.rare.configuration.iter().map(|r| r.fact.of.as_str()).collect();
    for demand in demands(&index.header) {
        differing(index, case, &demand);
        silent(index, case, &demand);
    }
    partitions(index, case);
    documented(index, case);
    servers(index, case);
    let properties: usize = index.rare.configuration.iter().map(|r| r.fact.properties.len()).sum();
    case.figure("parts_read", read.len() as u64);
    case.figure("properties_read", properties as u64);
    let read: Vec<&str> = read.into_iter().collect();
    format!("{properties} properties read back from {}", read.join(", ").escape_debug())
}

fn demands(header: &Header) -> Vec<Demand> {
    let promises = &header.promises;
    let mut all = Vec::new();
    let mut demand = |of, names, promised: &str, roles| {
        let except = None;
        all.push(Demand { of, names, promised: promised.to_owned(), roles, except });
    };
    if promises.operations > 0 && !promises.own_producer {
        let producers = &[ProcessRole::Producer];
        let idempotent = promises.idempotent.to_string();
        demand("producer", &["enable.idempotence"], &idempotent, producers);
        demand("producer", ACKS, "all", producers);
        if let Some(partitioner) = &promises.partitioner {
            demand("producer", &["partitioner"], partitioner, producers);
        }
    }
    let of_pipeline = |group: &&GroupPromise| group.raw_zone.is_some() && group.consumer.is_none();
    let stores = || promises.groups.iter().filter(of_pipeline);
    if stores().next().is_some() {
        let consumers = &[ProcessRole::Consumer];
        demand("consumer", &["enable.auto.commit"], "false", consumers);
        demand("consumer", &["isolation.level"], "read_committed", consumers);
        if stores().all(|group| group.starts == GroupStart::Earliest) {
            demand("consumer", &["auto.offset.reset"], "earliest", consumers);
        }
        // Java's client has none.
        demand("consumer", &["enable.auto.offset.store"], "false", &[]);
    }
    if stores().any(|group| group.dead_letter_topic.is_some()) {
        // Somebody's own producer has no dead letters.
        let writers: &[ProcessRole] = match promises.own_producer {
            true => &[ProcessRole::Consumer],
            false => &[ProcessRole::Consumer, ProcessRole::Producer],
        };
        demand("dead-letter producer", ACKS, "all", writers);
        demand("dead-letter producer", &["enable.idempotence"], "true", writers);
        if let Some(last) = all.last_mut().filter(|_| !promises.idempotent) {
            last.except = Some(ProcessRole::Producer);
        }
    }
    all
}

/// A report is of such a client: under its name, or with a number behind it.
fn is_of(read: &ReadBack, kind: &str) -> bool {
    let rest = read.of.strip_prefix(kind);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '-', '/']))
}

fn value<'a>(read: &'a ReadBack, names: &[&str]) -> Option<(&'a str, &'a str)> {
    let mut told = read.properties.iter().filter(|(name, _)| names.contains(&name.as_str()));
    told.next().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Clients that run with something else than was promised.
fn differing(index: &Index, case: &mut Case<'_>, demand: &Demand) {
    for read in index.rare.configuration.iter().filter(|read| is_of(&read.fact, demand.of)) {
        let Some((name, value)) = value(&read.fact, demand.names) else { continue };
        let role = read.fact.process.as_deref().and_then(|process| role(index, process));
        let excepted = demand.except.is_some() && demand.except == role;
        if same(value, &demand.promised) || excepted {
            continue;
        }
        let process =
            read.fact.process.as_deref().map(|process| format!(" of {}", quoted(process)));
        let text = format!(
            "{}{} runs with {name} = {}, promised is {}",
            quoted(&read.fact.of),
            process.unwrap_or_default(),
            quoted(value),
            demand.promised
        );
        let mut finding = anomalous("configuration-differs", text);
        finding.at_us = Some(read.t_us);
        case.find(finding);
    }
}

/// Topics that have another number of partitions than was promised: where keys lead hangs on it.
fn partitions(index: &Index, case: &mut Case<'_>) {
    for read in &index.rare.configuration {
        let topic = read.fact.of.strip_prefix("topic ");
        let promised = topic.and_then(|topic| index.header.promises.topics.get(topic));
        let told = read.fact.properties.get("partitions");
        let (Some(promised), Some(told)) = (promised, told) else { continue };
        if told.parse() == Ok(*promised) {
            continue;
        }
        let text = format!(
            "{} has {} partitions, promised is {promised}",
            quoted(&read.fact.of),
            quoted(told)
        );
        let mut finding = anomalous("configuration-differs", text);
        finding.at_us = Some(read.t_us);
        case.find(finding);
    }
}

fn role(index: &Index, process: &str) -> Option<ProcessRole> {
    let mut known = index.rare.processes.iter().map(|known| &known.fact);
    known.find(|known| known.name == process)?.role()
}

/// Clients that did not say.
fn silent(index: &Index, case: &mut Case<'_>, demand: &Demand) {
    let told = |read: &&ReadBack| is_of(read, demand.of) && value(read, demand.names).is_some();
    let reports = || index.rare.configuration.iter().map(|read| &read.fact).filter(told);
    if demand.roles.is_empty() {
        return;
    }
    let by_process: BTreeSet<&str> = reports().filter_map(|read| read.process.as_deref()).collect();
    let named = index.rare.configuration.iter().any(|read| read.fact.process.is_some());
    if !named {
        // Version 1 did not say whose client it was.
        if reports().next().is_none() {
            case.doubt(format!("{} of the {} was not read back", demand.names[0], demand.of));
        }
        return;
    }
    let mut ran: BTreeSet<&str> = BTreeSet::new();
    for process in index.rare.processes.iter().map(|process| &process.fact) {
        let role = process.role().is_some_and(|role| demand.roles.contains(&role));
        let mut groups = index.header.promises.groups.iter();
        let own = groups
            .any(|group| group.consumer.is_some() && process.group.as_ref() == Some(&group.group));
        if role && !own && process.state == ProcessChange::Started {
            ran.insert(&process.name);
        }
    }
    for process in ran.iter().filter(|process| !by_process.contains(*process)) {
        case.doubt(format!(
            "{} of the {} of {} was not read back",
            demand.names[0],
            demand.of,
            quoted(process)
        ));
    }
    if ran.is_empty() && by_process.is_empty() {
        case.doubt(format!("{} of the {} was not read back", demand.names[0], demand.of));
    }
}

/// A client of a process that runs with something else than is documented, or than it was told to. Of the
/// dead-letter producer beside it neither is said.
fn documented(index: &Index, case: &mut Case<'_>) {
    for read in &index.rare.configuration {
        let Some(process) = read.fact.process.as_deref() else { continue };
        let Some(promised) = index.header.promises.settings.get(process) else { continue };
        if !is_of(&read.fact, "consumer") && !is_of(&read.fact, "producer") {
            continue;
        }
        for (name, promised) in promised {
            // Not every name of a property is the one by which its client reports it.
            let Some(value) = read.fact.properties.get(name) else { continue };
            if same(value, promised) {
                continue;
            }
            let text = format!(
                "{} of {} runs with {name} = {}, documented or asked for is {}",
                quoted(&read.fact.of),
                quoted(process),
                quoted(value),
                quoted(promised)
            );
            let mut finding = anomalous("configuration-differs", text);
            finding.at_us = Some(read.t_us);
            case.find(finding);
        }
    }
}

/// What brokers and topics run with decides what an acknowledgement is worth, and whose clock stamps.
/// Histories that do not say whose client is whose did not ask them.
fn servers(index: &Index, case: &mut Case<'_>) {
    let read = || index.rare.configuration.iter().map(|read| &read.fact);
    if foreign(&index.header) || !read().any(|read| read.process.is_some()) {
        return;
    }
    if !read().any(|read| is_of(read, "broker")) {
        case.doubt("no configuration of a broker was read back");
    }
    // The topics of a stand-in for a broker have none.
    let real = index.vouches(Evidence::Idempotence);
    for topic in index.header.promises.topics.keys().filter(|_| real) {
        let of = format!("topic {topic}");
        if !read().any(|read| read.of == of) {
            case.doubt(format!("the configuration of topic {} was not read back", quoted(topic)));
        }
    }
}

/// Two spellings of one value.
fn same(value: &str, promised: &str) -> bool {
    let plain = |text: &str| match text.to_ascii_lowercase().as_str() {
        "-1" => "all".to_owned(),
        "smallest" | "beginning" => "earliest".to_owned(),
        other => other.to_owned(),
    };
    plain(value) == plain(promised)
}
