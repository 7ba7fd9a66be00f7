//! `streamlake dlq list | show | resend`.

use super::options::{Dataset, Kafka, print_json};
use crate::config::KafkaSettings;
use crate::dead_letter::{self, read::Filed};
use crate::error::{Error, Result};
use crate::inspect::Inspector;
use crate::kafka::{self, Role};
use crate::producer::delivery::{
    Delivery, RawProducer, RawRecord, owned_headers, told_error, told_offset,
};
use crate::raw_zone::part::{RecordRef, write_record};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// One JSON object a dead letter: where it lies, where it came from, why.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// One dead letter as a line of the part format, or its payload alone.
    Show {
        #[command(flatten)]
        place: Place,
        /// Which one.
        #[arg(value_name = "PARTITION:OFFSET", value_parser = position)]
        at: (i32, i64),
        /// Only the payload's bytes, as they are.
        #[arg(long)]
        payload: bool,
    },
    /// Send dead letters to the topic that they came from, with their original key, payload and
    /// headers. They stay in the dead-letter topic.
    Resend {
        #[command(flatten)]
        place: Place,
        /// Which ones.
        #[arg(value_name = "PARTITION:OFFSET", value_parser = position, required_unless_present = "all")]
        at: Vec<(i32, i64)>,
        /// All of them.
        #[arg(long, conflicts_with = "at")]
        all: bool,
        /// Say what would be sent and send nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    dataset: Dataset,
    #[command(flatten)]
    kafka: Kafka,
}

fn position(text: &str) -> Result<(i32, i64), String> {
    let parsed = text.split_once(':').and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is no place in a topic; say PARTITION:OFFSET"))
}

pub(super) async fn run(args: Args) -> Result<ExitCode> {
    super::blocking(move || match args.command {
        Command::List { place } => list(&place),
        Command::Show { place, at, payload } => show(&place, at, payload),
        Command::Resend { place, at, all, dry_run } => {
            resend(&place, (!all).then_some(at), dry_run)
        }
    })
    .await
}

fn summary(letter: &Filed) -> Value {
    let text =
        |bytes: &Option<Vec<u8>>| bytes.as_deref().map(String::from_utf8_lossy).map(Value::from);
    json!({
        "partition": letter.record.partition, "offset": letter.record.offset,
        "source": letter.source, "group": letter.group, "error": letter.error, "failed_at": letter.failed_at,
        "ingestion_id": letter.record.ingestion_id, "key": text(&letter.record.key),
        "value_bytes": letter.record.value.as_ref().map(Vec::len),
    })
}

/// A dataset of which there is no topic at all is a mistyped one: "no dead letters" would be a lie.
fn known(place: &Place, settings: &KafkaSettings, topic: &str) -> Result<()> {
    let inspector = Inspector::connect(settings, None)?;
    let source = place.dataset.topic();
    if inspector.partitions_if_any(topic)?.is_empty()
        && inspector.partitions_if_any(&source)?.is_empty()
    {
        return Err(Error::Config(format!(
            "there is neither a topic {topic} nor {source}: look at --dataset {} and at the topics' names",
            place.dataset.dataset
        )));
    }
    Ok(())
}

fn list(place: &Place) -> Result<ExitCode> {
    let (topic, settings) = (place.dataset.dead_letter_topic(), place.kafka.settings()?);
    known(place, &settings, &topic)?;
    let mut outcome = Ok(());
    dead_letter::read::each(&settings, &topic, None, |letter| {
        outcome = print_json(&summary(&letter));
        outcome.is_ok()
    })?;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn one(settings: &KafkaSettings, topic: &str, at: (i32, i64)) -> Result<Filed> {
    let mut found = None;
    dead_letter::read::each(settings, topic, Some(at), |letter| {
        found = Some(letter);
        false
    })?;
    found.ok_or_else(|| {
        Error::Config(format!("there is no dead letter at {}:{} of {topic}", at.0, at.1))
    })
}

fn show(place: &Place, at: (i32, i64), payload: bool) -> Result<ExitCode> {
    let letter = one(&place.kafka.settings()?, &place.dataset.dead_letter_topic(), at)?;
    let record = &letter.record;
    let mut out = Vec::new();
    if payload {
        out.extend_from_slice(record.value.as_deref().unwrap_or_default());
    } else {
        let borrowed = RecordRef {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            ingestion_id: record.ingestion_id.as_deref(),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            value_is_json: false,
        };
        let headers =
            record.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        write_record(&mut out, &borrowed, headers);
    }
    std::io::stdout().write_all(&out).map_err(Error::io("writing to standard output"))?;
    Ok(ExitCode::SUCCESS)
}

/// Letters that are sent together: enough that the broker's answers are not waited for one by one, and
/// few enough for the memory, however many there are in all.
const LETTERS_MAX: usize = 1_000;
const LETTERS_BYTES_MAX: usize = 16 << 20;

/// Dead letters on their way back.
struct Resend<'a> {
    place: &'a Place,
    /// None for a dry run.
    producer: Option<RawProducer>,
    waiting: Vec<Filed>,
    waiting_bytes: usize,
    clean: bool,
}

fn resend(place: &Place, at: Option<Vec<(i32, i64)>>, dry_run: bool) -> Result<ExitCode> {
    let settings = place.kafka.settings()?;
    let topic = place.dataset.dead_letter_topic();
    let fitting = if dry_run {
        settings.clone()
    } else {
        kafka::with_batches_that_fit(&settings, &place.dataset.topic(), &topic)
    };
    let config = kafka::producer_config(&fitting, Role::Producer)?;
    let producer = if dry_run { None } else { Some(RawProducer::new(&config)?) };
    let mut sending =
        Resend { place, producer, waiting: Vec::new(), waiting_bytes: 0, clean: true };
    match at {
        Some(places) => {
            for at in places {
                sending.add(one(&settings, &topic, at)?)?;
            }
        }
        None => {
            let mut outcome = Ok(());
            dead_letter::read::each(&settings, &topic, None, |letter| {
                outcome = sending.add(letter);
                outcome.is_ok()
            })?;
            outcome?;
        }
    }
    sending.send()?;
    Ok(ExitCode::from(u8::from(!sending.clean)))
}

impl Resend<'_> {
    fn add(&mut self, letter: Filed) -> Result<()> {
        self.waiting_bytes += letter.record.value.as_ref().map_or(0, Vec::len);
        self.waiting.push(letter);
        if self.waiting.len() < LETTERS_MAX && self.waiting_bytes < LETTERS_BYTES_MAX {
            return Ok(());
        }
        self.send()
    }

    /// Sends what waits, in its order, and tells what became of each.
    fn send(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        let letters = std::mem::take(&mut self.waiting);
        let target = |letter: &Filed| match &letter.source {
            Some(source) => source.topic.clone(),
            None => self.place.dataset.topic(),
        };
        let targets: Vec<String> = letters.iter().map(target).collect();
        let deliveries = self.producer.as_ref().map(|producer| {
            let deliveries = letters.iter().zip(&targets).map(|(letter, topic)| {
                producer.deliver(RawRecord {
                    topic,
                    partition: None,
                    key: letter.record.key.as_deref(),
                    value: letter.record.value.as_deref(),
                    headers: owned_headers(&letter.original_headers()),
                })
            });
            let all = futures::future::join_all(deliveries);
            tokio::runtime::Handle::current().block_on(all)
        });
        let mut deliveries = deliveries.map(Vec::into_iter);
        for (letter, target) in letters.iter().zip(targets) {
            let mut line = summary(letter);
            line["to"] = target.as_str().into();
            let (word, clean) = match deliveries.as_mut().and_then(Iterator::next) {
                None => ("planned", true),
                Some(Delivery::Acknowledged { partition, offset }) => {
                    line["sent"] = json!({"topic": target, "partition": partition, "offset": told_offset(offset)});
                    ("acknowledged", true)
                }
                Some(Delivery::Failed(err)) => {
                    line["resend_error"] = told_error(&err).into();
                    ("failed", false)
                }
                Some(Delivery::Unknown(err)) => {
                    line["resend_error"] = told_error(&err).into();
                    ("unknown", false)
                }
            };
            line["outcome"] = word.into();
            self.clean &= clean;
            print_json(&line)?;
        }
        Ok(())
    }
}
