//! What was claimed about the configuration, and what the running parts say it is.
//!
//! A claim is a row of [`CLAIMS`]. Clients name some properties otherwise than Kafka does; a row
//! knows all names and the unit of each. What differs is shown as it is; what nobody read back is
//! said to be so.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::{Document, Text};
use super::super::{ScenarioReport, SuiteReport, words};

/// A part of the system that reports its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Producer,
    Consumer,
    /// Brokers and topics: a topic's own value outweighs the broker's default.
    Broker,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Producer => "Producer",
            Self::Consumer => "Consumer",
            Self::Broker => "Broker",
        }
    }

    fn reports_as(self, of: &str) -> bool {
        match self {
            Self::Producer => of.starts_with("producer"),
            Self::Consumer => of.starts_with("consumer"),
            Self::Broker => of.starts_with("broker") || of.starts_with("topic"),
        }
    }
}

/// How a value is compared with the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// As it is written.
    Text,
    /// Two spellings of one value; what is read back is the client's own: `all` is −1 on the wire,
    /// `earliest` is `smallest` to librdkafka.
    Spelled(&'static str),
    /// The claim is in bytes, some clients count in kilobytes.
    Bytes,
}

/// One row of the validation.
struct Claim {
    part: Part,
    property: &'static str,
    /// What is claimed; none for properties that are only shown.
    value: Option<&'static str>,
    /// Other names of the same property.
    also: &'static [&'static str],
    compare: Compare,
    why: &'static str,
}

const fn claim(
    part: Part,
    property: &'static str,
    value: &'static str,
    also: &'static [&'static str],
    why: &'static str,
) -> Claim {
    Claim { part, property, value: Some(value), also, compare: Compare::Text, why }
}

const fn shown(
    part: Part,
    property: &'static str,
    also: &'static [&'static str],
    why: &'static str,
) -> Claim {
    Claim { part, property, value: None, also, compare: Compare::Text, why }
}

use Part::{Broker, Consumer, Producer};

const CLAIMS: &[Claim] = &[
    Claim {
        compare: Compare::Spelled("-1"),
        ..claim(
            Producer,
            "acks",
            "all",
            &["request.required.acks"],
            "all in-sync replicas acknowledge",
        )
    },
    claim(
        Producer,
        "retries",
        "2147483647",
        &["message.send.max.retries"],
        "retried until the message times out",
    ),
    claim(
        Producer,
        "max.in.flight.requests.per.connection",
        "5",
        &["max.in.flight"],
        "order survives a retry only with idempotence",
    ),
    Claim {
        compare: Compare::Bytes,
        ..claim(
            Producer,
            "buffer.memory",
            "33554432",
            &["queue.buffering.max.kbytes"],
            "what an outage may fill; librdkafka counts in KiB",
        )
    },
    claim(Producer, "retry.backoff.ms", "100", &[], "pause before a retry"),
    claim(Producer, "request.timeout.ms", "30000", &[], "wait for a broker's answer"),
    shown(
        Producer,
        "message.timeout.ms",
        &["delivery.timeout.ms"],
        "after this time an outcome is unknown, whatever the retries",
    ),
    shown(Producer, "enable.idempotence", &[], "no duplicate in the log from a retry"),
    claim(Producer, "partitioner", "murmur2_random", &[], "as Java clients place keys"),
    shown(Producer, "reconnect.backoff.max.ms", &[], "bounds the wait after a broker is back"),
    claim(Broker, "min.insync.replicas", "1", &[], "replicas that must hold a record"),
    claim(
        Broker,
        "replication.factor",
        "1",
        &["default.replication.factor", "replication_factor"],
        "copies of a partition",
    ),
    claim(
        Consumer,
        "enable.auto.commit",
        "false",
        &["auto.commit.enable"],
        "committed only when durable",
    ),
    claim(Consumer, "enable.auto.offset.store", "false", &[], "positions are stored by hand"),
    Claim {
        compare: Compare::Spelled("smallest"),
        ..claim(Consumer, "auto.offset.reset", "earliest", &[], "a new group misses nothing")
    },
    claim(Consumer, "session.timeout.ms", "30000", &[], "until a dead member's partitions move"),
    claim(Consumer, "max.poll.interval.ms", "300000", &[], "until a stuck member is evicted"),
];

/// A property as running parts reported it: name as reported, value → who said so, in which scenarios.
type Readings<'a> = BTreeMap<(&'a str, &'a str), Origin<'a>>;

#[derive(Default)]
struct Origin<'a> {
    parts: BTreeSet<String>,
    scenarios: BTreeSet<&'a str>,
}

pub(super) fn write(suite: &SuiteReport, document: &mut Document) {
    document.heading(3, "At-Least-Once Semantics", "at-least-once");
    document.paragraph(
        "**Configuration validation:** what is claimed of the pipeline beside what the running \
         clients and brokers say of themselves. A value that differs is shown, not hidden.",
    );
    let rows = CLAIMS.iter().map(|claim| row(suite, claim)).collect();
    document.table(
        &["Part", "Property", "Claimed", "Read back", "Agrees", "Why it matters"],
        6,
        rows,
    );
    let others: BTreeSet<(&str, &str)> = suite
        .runs()
        .flat_map(|run| &run.observed.configuration)
        .flat_map(|(of, properties)| {
            properties.keys().map(move |name| (of.as_str(), name.as_str()))
        })
        .collect();
    if !others.is_empty() {
        document.paragraph(
            Text::data(format!("All {} properties that were read back are in ", others.len()))
                .then(Text::link(super::super::json::FILE, super::super::json::FILE))
                .and("."),
        );
    }
}

fn row(suite: &SuiteReport, claim: &Claim) -> Vec<Text> {
    let readings = readings(suite, claim);
    let read_back = match readings.is_empty() {
        true => Text::prose("not read back"),
        false => spelled(claim, &readings),
    };
    let agrees = match (claim.value, readings.is_empty()) {
        (None, _) => "–",
        (Some(_), true) => "not known",
        (Some(value), false) => {
            let same = |name: &str, read: &str| claim.compare.same(value, name, read);
            match readings.keys().all(|(name, read)| same(name, read)) {
                true => "yes",
                false => "**differs**",
            }
        }
    };
    vec![
        Text::prose(claim.part.word()),
        Text::code(claim.property),
        claim.value.map_or_else(|| Text::prose("–"), Text::code),
        read_back,
        Text::prose(agrees),
        Text::prose(claim.why),
    ]
}

/// All readings, each with who said so and, where the scenarios differ, in which of them.
fn spelled(claim: &Claim, readings: &Readings<'_>) -> Text {
    let all: BTreeSet<&str> =
        readings.values().flat_map(|origin| origin.scenarios.iter().copied()).collect();
    let each = readings.iter().map(|((name, value), origin)| {
        let reading = match *name == claim.property {
            true => (*value).to_owned(),
            false => format!("{name}={value}"),
        };
        let mut text = Text::code(reading);
        if let (Compare::Spelled(otherwise), Some(value_claimed)) = (claim.compare, claim.value)
            && *value == otherwise
        {
            text = text.and(", which is ").code_too(value_claimed);
        }
        let parts: Vec<&str> = origin.parts.iter().map(String::as_str).collect();
        let scenarios: Vec<&str> = origin.scenarios.iter().copied().collect();
        let fewer = scenarios.len() < all.len();
        let within =
            if fewer { format!(" in {}", words::listed(&scenarios)) } else { String::new() };
        text.and(format!(" ({}{within})", parts.join(", ")))
    });
    Text::join(each, "; ")
}

/// A property of the producers as it was read back, unit and all; empty where it was not.
pub(super) fn readings_in_words(suite: &SuiteReport, property: &str) -> Text {
    let claim = CLAIMS.iter().find(|row| row.part == Producer && row.property == property);
    let readings = claim.map(|claim| readings(suite, claim)).unwrap_or_default();
    let each = readings.keys().map(|(name, value)| Text::code(format!("{name}={value}")));
    Text::join(each, ", ")
}

impl Compare {
    fn same(self, claimed: &str, name: &str, read: &str) -> bool {
        match self {
            Self::Text => claimed == read,
            Self::Spelled(otherwise) => read == claimed || read == otherwise,
            Self::Bytes => {
                let unit = if name.ends_with("kbytes") { 1_024 } else { 1 };
                let read = read.parse::<u64>().ok().and_then(|read| read.checked_mul(unit));
                read.is_some() && read == claimed.parse().ok()
            }
        }
    }
}

fn readings<'a>(suite: &'a SuiteReport, claim: &Claim) -> Readings<'a> {
    let mut readings = Readings::new();
    for run in suite.runs() {
        collect(run, claim, &mut readings);
    }
    readings
}

fn collect<'a>(run: &'a ScenarioReport, claim: &Claim, readings: &mut Readings<'a>) {
    for (of, properties) in &run.observed.configuration {
        if !claim.part.reports_as(of) {
            continue;
        }
        let mut names = std::iter::once(claim.property).chain(claim.also.iter().copied());
        // Clients report aliases of one property beside each other: the first name speaks.
        let Some((name, values)) = names.find_map(|name| properties.get_key_value(name)) else {
            continue;
        };
        for value in values {
            let origin = readings.entry((name, value)).or_default();
            origin.parts.insert(of.clone());
            origin.scenarios.insert(&run.header.run.scenario);
        }
    }
}

/// All values of a property that were read back from a kind of part, in any run.
pub(super) fn read_back(suite: &SuiteReport, part: Part, property: &str) -> BTreeSet<String> {
    let Some(claim) = CLAIMS.iter().find(|row| row.part == part && row.property == property) else {
        debug_assert!(false, "{property} is no row of the validation");
        return BTreeSet::new();
    };
    readings(suite, claim).into_keys().map(|(_, value)| value.to_owned()).collect()
}

/// The mode of delivery, with what was read back to hold it up.
pub(super) fn delivery_mode(suite: &SuiteReport) -> Text {
    let pairs = guarding(|property| read_back(suite, Producer, property));
    match pairs.is_empty() {
        false => {
            Text::prose("at least once (").then(pairs).and(", as read back from the producers)")
        }
        true => Text::prose("at least once (the producers' settings were not read back)"),
    }
}

/// What one run's producer said of itself, as far as delivery hangs on it.
pub(super) fn of_producer(run: &ScenarioReport) -> Text {
    guarding(|property| {
        let claim = CLAIMS.iter().find(|row| row.part == Producer && row.property == property);
        let mut readings = Readings::new();
        if let Some(claim) = claim {
            collect(run, claim, &mut readings);
        }
        readings.into_keys().map(|(_, value)| value.to_owned()).collect()
    })
}

/// The settings that hold up at-least-once delivery, `acks` first.
fn guarding(values: impl Fn(&str) -> BTreeSet<String>) -> Text {
    let pairs = ["acks", "retries", "enable.idempotence"].into_iter().flat_map(|property| {
        values(property).into_iter().map(move |value| {
            let text = Text::code(format!("{property}={value}"));
            match (property, value.as_str()) {
                ("acks", "-1") => text.prose_too(", which is `all`"),
                _ => text,
            }
        })
    });
    Text::join(pairs, ", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_spellings_are_seen_through() {
        assert!(Compare::Spelled("-1").same("all", "request.required.acks", "-1"));
        assert!(!Compare::Spelled("-1").same("all", "acks", "1"));
        assert!(Compare::Spelled("smallest").same("earliest", "auto.offset.reset", "earliest"));
        assert!(Compare::Bytes.same("33554432", "queue.buffering.max.kbytes", "32768"));
        assert!(!Compare::Bytes.same("33554432", "queue.buffering.max.kbytes", "1048576"));
        assert!(!Compare::Bytes.same("33554432", "buffer.memory", "lots"));
    }
}
