//! Consumers that are somebody's own: what a scenario says of them, resolved.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use toml::Spanned;

use super::{ConsumerPlan, GroupPlan, Reader, small_number};
use crate::adapter::command::{
    CommandPlan, DeliveryPlace, DeliveryPlan, Durable, Format, ImagePlan, Include, LettersPlan,
    Mapping, NamePattern, Origin, Pointer, Template, Values, files_zone,
};
use crate::scenario::{
    self, Consumer, DeadLetters, Delivery, Group, Restarts as RestartsTable, ScenarioError,
};
use crate::supervisor::Restarts;
use streamlake_history::event::{GroupStart, ValuePromise};

const STOP_WITHIN: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_secs(60);
const RESTART_AFTER: Duration = Duration::from_secs(1);
const COMMITS_EVERY: Duration = Duration::from_secs(5);
/// The signals that ask a process to stop.
const STOP_SIGNALS: [Signal; 4] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];

/// What the plan knows of the run around a group.
pub(super) struct Around<'a> {
    /// The topic under test.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: u32,
    /// The producer's own dead-letter topic.
    pub producer_letters: &'a str,
    /// Seed of the run.
    pub seed: u64,
    /// The consumer runs anyway, and is only looked at. Then these are the partitions of every topic that it
    /// may deliver into.
    pub observed: Option<&'a BTreeMap<String, u32>>,
}

impl Reader<'_> {
    /// A group whose consumer the scenario describes.
    pub(super) fn own_group(
        &self,
        group: &Group,
        consumer: &Spanned<Consumer>,
        members: Vec<String>,
        around: &Around<'_>,
    ) -> Result<GroupPlan, ScenarioError> {
        self.nothing_of_the_pipeline(group)?;
        let Some(delivery) = &group.delivery else {
            return Err(self.file.error_at(
                consumer.span(),
                "it is not said when a record counts as delivered",
                "add a table `[group.delivery]` with `kind = \"files\"`, `\"objects\"` or `\"topic\"`",
            ));
        };
        let name = group.name.get_ref();
        self.a_name_for_folders(&group.name)?;
        let letters = match &group.dead_letters {
            Some(letters) => Some(self.letters(name, letters, around)?),
            None => None,
        };
        let own_place =
            delivery.get_ref().at.as_ref().map(|at| at.get_ref().trim_end_matches('/').to_owned());
        let delivery = self.delivery(name, delivery, around)?;
        let (mut raw_zone, mut values) =
            place(name, &self.file.scenario.names.bucket, &delivery.at);
        if let (Some(own_place), DeliveryPlace::Objects { .. }) = (own_place, &delivery.at) {
            raw_zone = own_place;
        }
        values.insert("topic", around.topic.to_owned());
        values.insert("partitions", around.partitions.to_string());
        values.insert("group", name.clone());
        values.insert("seed", around.seed.to_string());
        values.insert("scenario", self.file.name.clone());
        if let Some(letters) = &letters {
            values.insert("dead_letter_topic", letters.topic.clone());
        }
        let folder = self.folder();
        values.insert("scenario_folder", folder.display().to_string());
        let (at, consumer) = (consumer.span(), consumer.get_ref());
        let command = match around.observed {
            None => self.command(at, consumer, &values)?,
            Some(_) => self.nothing_to_start(at, consumer).map(|()| Vec::new())?,
        };
        let plan = CommandPlan {
            environment: self.environment_of(&consumer.environment, &values)?,
            directory: match (&consumer.directory, &consumer.image) {
                (Some(directory), _) => Some(folder.join(directory.get_ref())),
                (None, None) => Some(folder),
                (None, Some(_)) => None,
            },
            image: self.image(consumer)?,
            command,
            values,
            stop_signal: self.stop_signal(consumer)?,
            stop_within: self.duration_or(consumer.stop.within.as_ref(), STOP_WITHIN)?,
            restarts: match &consumer.restarts {
                Some(restarts) => Some(self.restarts(restarts)?),
                None => None,
            },
            ready_within: self.ready(consumer)?,
            commits_every: self.duration_or(consumer.commits_every.as_ref(), COMMITS_EVERY)?,
            delivery,
            letters,
        };
        Ok(GroupPlan {
            group: name.clone(),
            members,
            raw_zone,
            keeps_members: group.keeps_members,
            starts: match (&consumer.starts, around.observed) {
                // It may have begun long before anybody looked.
                (None, Some(_)) => GroupStart::Unknown,
                _ => self.starts(consumer)?,
            },
            may_seek_back: consumer.may_seek_back,
            consumer: ConsumerPlan::Command(Arc::new(plan)),
        })
    }

    /// What is the built-in pipeline's has no meaning for anybody else's consumer.
    fn nothing_of_the_pipeline(&self, group: &Group) -> Result<(), ScenarioError> {
        let spans = [
            group.batch_records.as_ref().map(Spanned::span),
            group.batch_bytes.as_ref().map(Spanned::span),
            group.batch_age.as_ref().map(Spanned::span),
            group.memory_bytes.as_ref().map(Spanned::span),
            group.store_timeout.as_ref().map(Spanned::span),
            group.stall_after.as_ref().map(Spanned::span),
            group.ill_within.as_ref().map(Spanned::span),
            group.compression.as_ref().map(Spanned::span),
            (!group.properties.is_empty()).then(|| group.name.span()),
        ];
        match spans.into_iter().flatten().next() {
            Some(span) => Err(self.file.error_at(
                span,
                "`properties`, `batch_…` and the other settings of the built-in pipeline are not this consumer's",
                "leave them out, and give the consumer what it needs by `command` and `environment`",
            )),
            None => Ok(()),
        }
    }

    /// A description of a consumer that is not there.
    pub(super) fn no_consumer(&self, group: &Group) -> Result<(), ScenarioError> {
        let delivery = group.delivery.as_ref().map(Spanned::span);
        let letters = group.dead_letters.as_ref().map(Spanned::span);
        match delivery.or(letters) {
            Some(span) => Err(self.file.error_at(
                span,
                "where the built-in pipeline delivers is known",
                "remove the table, or add `[group.consumer]` with the `command` of a consumer of your own",
            )),
            None => Ok(()),
        }
    }

    /// The group's name becomes that of a folder, a prefix and a topic.
    fn a_name_for_folders(&self, name: &Spanned<String>) -> Result<(), ScenarioError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let text = name.get_ref();
        if !text.is_empty()
            && text.len() <= 100
            && text.chars().all(plain)
            && !text.starts_with('.')
        {
            return Ok(());
        }
        Err(self.file.error_at(
            name.span(),
            format!("`{text}` cannot be the name of a folder, a prefix and a topic"),
            "use letters, digits, dots, dashes and underscores",
        ))
    }

    fn command(
        &self,
        at: std::ops::Range<usize>,
        consumer: &Consumer,
        values: &Values,
    ) -> Result<Vec<Template>, ScenarioError> {
        let words = consumer.command.as_ref().map(Spanned::get_ref);
        let words = words.map_or(&[][..], Vec::as_slice);
        let nothing = words.first().is_none_or(|program| program.get_ref().is_empty());
        if nothing && consumer.image.is_none() {
            return Err(self.file.error_at(
                consumer.command.as_ref().map_or(at, Spanned::span),
                "there is no program to start",
                "give the program and its arguments, `command = [\"python3\", \"consumer.py\"]`, or the `image` \
                 of a container",
            ));
        }
        words.iter().map(|word| self.template(word, values)).collect()
    }

    /// Whoever is only looked at is started by somebody else.
    fn nothing_to_start(
        &self,
        at: std::ops::Range<usize>,
        consumer: &Consumer,
    ) -> Result<(), ScenarioError> {
        let starts = consumer.command.is_some()
            || consumer.image.is_some()
            || consumer.restarts.is_some()
            || !consumer.environment.is_empty();
        match starts {
            true => Err(self.file.error_at(
                at,
                "an observed consumer is started by somebody else",
                "leave `command`, `image`, `environment` and `restarts` out; say `starts`, `may_seek_back` and \
                 `commits_every` only",
            )),
            false => Ok(()),
        }
    }

    fn image(&self, consumer: &Consumer) -> Result<Option<ImagePlan>, ScenarioError> {
        let Some(image) = &consumer.image else {
            let only = |key: &str, there: bool| match (there, &consumer.command) {
                (true, Some(command)) => Err(self.file.error_at(
                    command.span(),
                    format!("`{key}` is of a container, and there is no `image`"),
                    "remove it, or give the `image`",
                )),
                _ => Ok(()),
            };
            only("entrypoint", consumer.entrypoint.is_some())?;
            only("user", consumer.user.is_some())?;
            return Ok(None);
        };
        if image.get_ref().trim() != image.get_ref() || image.get_ref().is_empty() {
            return Err(self.file.error_at(
                image.span(),
                format!("`{}` is no name of an image", image.get_ref()),
                "give the name by which the container engine knows it, `registry/name:tag`",
            ));
        }
        let (entrypoint, user) = (consumer.entrypoint.clone(), consumer.user.clone());
        Ok(Some(ImagePlan { reference: image.get_ref().clone(), entrypoint, user }))
    }

    pub(super) fn template(
        &self,
        text: &Spanned<String>,
        values: &Values,
    ) -> Result<Template, ScenarioError> {
        let template = Template::parse(text.get_ref())
            .map_err(|(message, remedy)| self.file.error_at(text.span(), message, remedy))?;
        // What only a run knows is always there.
        const OF_A_RUN: [&str; 5] =
            ["member", "bootstrap_servers", "store_url", "delivery", "run_folder"];
        let there = |name: &str| OF_A_RUN.contains(&name) || values.contains_key(name);
        if let Some(absent) = template.placeholders().find(|name| !there(name)) {
            let remedy = match absent {
                "dead_letter_topic" => {
                    "add a table `[group.dead_letters]`, or leave the placeholder out"
                }
                "database_url" => {
                    "it stands for something with `kind = \"rows\"` in `[group.delivery]` only"
                }
                _ => "it stands for something with `kind = \"objects\"` in `[group.delivery]` only",
            };
            return Err(self.file.error_at(
                text.span(),
                format!("`{{{absent}}}` stands for nothing here"),
                remedy,
            ));
        }
        Ok(template)
    }

    fn stop_signal(&self, consumer: &Consumer) -> Result<Signal, ScenarioError> {
        let Some(name) = &consumer.stop.signal else { return Ok(Signal::SIGTERM) };
        let known = STOP_SIGNALS.into_iter().find(|signal| signal.as_str() == name.get_ref());
        known.ok_or_else(|| {
            let names: Vec<_> = STOP_SIGNALS.iter().map(|signal| signal.as_str()).collect();
            self.file.error_at(
                name.span(),
                format!("`{}` does not ask a process to stop", name.get_ref()),
                format!("say one of {}", names.join(", ")),
            )
        })
    }

    fn restarts(&self, restarts: &RestartsTable) -> Result<Restarts, ScenarioError> {
        Ok(Restarts {
            after: self.duration_or(restarts.after.as_ref(), RESTART_AFTER)?,
            at_most: small_number(self.number(&restarts.at_most, 0..1001)?),
        })
    }

    fn ready(&self, consumer: &Consumer) -> Result<Option<Duration>, ScenarioError> {
        let within = self.duration_or(consumer.ready_within.as_ref(), READY_WITHIN)?;
        match consumer.ready.as_ref().map(|ready| (ready.get_ref().as_str(), ready.span())) {
            None | Some(("group", _)) => Ok(Some(within)),
            Some(("none", _)) => Ok(None),
            Some((other, span)) => Err(self.file.error_at(
                span,
                format!("nobody can wait for `{other}`"),
                "say `group` (all members have joined) or `none`",
            )),
        }
    }

    fn starts(&self, consumer: &Consumer) -> Result<GroupStart, ScenarioError> {
        match consumer.starts.as_ref().map(|starts| (starts.get_ref().as_str(), starts.span())) {
            None | Some(("earliest", _)) => Ok(GroupStart::Earliest),
            Some(("latest", _)) => Ok(GroupStart::Latest),
            Some((other, span)) => Err(self.file.error_at(
                span,
                format!("no group starts at `{other}`"),
                "say `earliest` or `latest`, as the consumer's `auto.offset.reset` does",
            )),
        }
    }

    fn delivery(
        &self,
        group: &str,
        table: &Spanned<Delivery>,
        around: &Around<'_>,
    ) -> Result<DeliveryPlan, ScenarioError> {
        let (span, table) = (table.span(), table.get_ref());
        let kind = table.kind.get_ref().as_str();
        let at = match kind {
            "files" => DeliveryPlace::Files {
                folder: self.told_place(table, span.clone(), around)?.map(PathBuf::from),
                include: self.include(table.include.as_ref())?,
                durable: self.durable(table.durable.as_ref())?,
            },
            "objects" => {
                self.told_place(table, span.clone(), around)?;
                DeliveryPlace::Objects { include: self.include(table.include.as_ref())? }
            }
            "topic" => match (self.told_place(table, span.clone(), around)?, around.observed) {
                (Some(name), Some(known)) => {
                    let partitions = *known.get(&name).ok_or_else(|| {
                        let at = table.at.as_ref().map_or(span.clone(), Spanned::span);
                        let message = format!("the brokers know no topic `{name}`");
                        self.file.error_at(at, message, "give the name of one that is there")
                    })?;
                    DeliveryPlace::Topic { name, partitions }
                }
                _ => DeliveryPlace::Topic {
                    name: format!("streamlake.{group}.delivered"),
                    partitions: around.partitions,
                },
            },
            "rows" => self.rows(span.clone(), table, around)?,
            other => {
                return Err(self.file.error_at(
                    table.kind.span(),
                    format!("nothing is delivered as `{other}`"),
                    "say `files` (a folder), `objects` (the object store), `rows` (a table) or `topic`",
                ));
            }
        };
        let only = |kinds: &[&str], key: &str, at: Option<std::ops::Range<usize>>| match at {
            Some(at) if !kinds.contains(&kind) => Err(self.file.error_at(
                at,
                format!("`{key}` means nothing with `kind = \"{kind}\"`"),
                "remove it",
            )),
            _ => Ok(()),
        };
        only(&["files", "objects"], "include", table.include.as_ref().map(Spanned::span))?;
        only(&["rows"], "table", table.table.as_ref().map(Spanned::span))?;
        only(&["rows"], "setup", table.setup.as_ref().map(Spanned::span))?;
        only(&["files"], "durable", table.durable.as_ref().map(Spanned::span))?;
        only(&["files", "objects"], "format", table.format.as_ref().map(Spanned::span))?;
        let format = self.format(table.format.as_ref(), &at)?;
        let record =
            self.mapping(table.record.as_ref(), table.compare.as_ref(), kind == "topic", format)?;
        if record.origin == Origin::Value && kind != "topic" && format != Format::Text {
            return Err(self.file.error_at(
                table.record.as_ref().map_or(span, Spanned::span),
                "it is not said where a line says which record it is",
                "add `record = { partition = \"/partition\", offset = \"/offset\" }` with the JSON pointers to \
                 both, or `record = { op = \"/value/op\" }`",
            ));
        }
        Ok(DeliveryPlan { at, format, overwrites: table.overwrites, record })
    }

    fn rows(
        &self,
        at: std::ops::Range<usize>,
        table: &Delivery,
        around: &Around<'_>,
    ) -> Result<DeliveryPlace, ScenarioError> {
        if around.observed.is_some() {
            return Err(self.file.error_at(
                table.kind.span(),
                "tables of other people's databases are not read",
                "tell what is in them in lines of the format `plain`",
            ));
        }
        let Some(name) = &table.table else {
            return Err(self.file.error_at(
                at,
                "it is not said which table the consumer delivers into",
                "add `table = \"delivered\"`, and `setup = \"CREATE TABLE …\"` if it does not make it itself",
            ));
        };
        // It becomes part of a statement.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.\"".contains(c);
        if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
            return Err(self.file.error_at(
                name.span(),
                format!("`{}` is no name of a table", name.get_ref()),
                "give it as SQL has it, `schema.table`",
            ));
        }
        let setup = table.setup.as_ref().map(|setup| setup.get_ref().clone());
        Ok(DeliveryPlace::Rows { table: name.get_ref().clone(), setup })
    }

    /// Where somebody delivers whom the harness did not start.
    fn told_place(
        &self,
        table: &Delivery,
        span: std::ops::Range<usize>,
        around: &Around<'_>,
    ) -> Result<Option<String>, ScenarioError> {
        match (&table.at, around.observed) {
            (None, None) => Ok(None),
            (Some(at), Some(_)) => Ok(Some(at.get_ref().clone())),
            (Some(at), None) => Err(self.file.error_at(
                at.span(),
                "the harness makes the place of delivery",
                "remove `at`, and have the consumer take `{delivery}` or STREAMLAKE_DELIVERY",
            )),
            (None, Some(_)) => Err(self.file.error_at(
                span,
                "it is not said where the consumer delivers",
                "add `at`: a folder, `gs://bucket/prefix`, or a topic",
            )),
        }
    }

    fn durable(&self, durable: Option<&Spanned<String>>) -> Result<Durable, ScenarioError> {
        match durable.map(|durable| (durable.get_ref().as_str(), durable.span())) {
            None | Some(("final-name", _)) => Ok(Durable::FinalName),
            Some(("appended", _)) => Ok(Durable::Appended),
            Some((other, span)) => Err(self.file.error_at(
                span,
                format!("files do not become durable by `{other}`"),
                "say `final-name` (write under a name that does not match `include`, then rename) or `appended` \
                 (each line counts when it is there)",
            )),
        }
    }

    fn format(
        &self,
        format: Option<&Spanned<String>>,
        at: &DeliveryPlace,
    ) -> Result<Format, ScenarioError> {
        let Some(name) = format else { return Ok(Format::JsonLines) };
        let known = Format::NAMED.iter().find(|(known, _)| known == name.get_ref());
        let Some((_, format)) = known else {
            let names: Vec<_> = Format::NAMED.iter().map(|(name, _)| *name).collect();
            return Err(self.file.error_at(
                name.span(),
                format!("`{}` is no format that can be read", name.get_ref()),
                format!("say one of {}", names.join(", ")),
            ));
        };
        let grows = matches!(at, DeliveryPlace::Files { durable: Durable::Appended, .. });
        match grows && !format.is_of_lines() {
            true => Err(self.file.error_at(
                name.span(),
                format!("a file of `{}` cannot be read while it grows", name.get_ref()),
                "say `json-lines` or `text`, or `durable = \"final-name\"`",
            )),
            false => Ok(*format),
        }
    }

    fn include(&self, pattern: Option<&Spanned<String>>) -> Result<Include, ScenarioError> {
        let (text, span) = match pattern {
            Some(pattern) => (pattern.get_ref().as_str(), pattern.span()),
            None => ("**", 0..0),
        };
        Include::parse(text).map_err(|(message, remedy)| self.file.error_at(span, message, remedy))
    }

    fn letters(
        &self,
        group: &str,
        table: &Spanned<DeadLetters>,
        around: &Around<'_>,
    ) -> Result<LettersPlan, ScenarioError> {
        let (at, table) = (table.span(), table.get_ref());
        let topic = match &table.topic {
            None if around.observed.is_some() => {
                return Err(self.file.error_at(
                    at,
                    "it is not said where the consumer's dead letters are",
                    "add `topic`",
                ));
            }
            None => format!("streamlake.{group}.dlq"),
            Some(topic)
                if [around.topic, around.producer_letters].contains(&topic.get_ref().as_str()) =>
            {
                return Err(self.file.error_at(
                    topic.span(),
                    format!("`{}` is the producer's", topic.get_ref()),
                    "give the group a topic of its own, or leave `topic` out and pass `{dead_letter_topic}` on",
                ));
            }
            Some(topic) => topic.get_ref().clone(),
        };
        let (record, compare) = (table.record.as_ref(), table.compare.as_ref());
        let record = self.mapping(record, compare, true, Format::JsonLines)?;
        Ok(LettersPlan { topic, record })
    }

    fn mapping(
        &self,
        table: Option<&Spanned<scenario::Mapping>>,
        compare: Option<&Spanned<String>>,
        of_a_topic: bool,
        format: Format,
    ) -> Result<Mapping, ScenarioError> {
        let default = scenario::Mapping::default();
        let (span, table) = table.map_or((0..0, &default), |table| (table.span(), table.get_ref()));
        let pointer = |text: &Option<Spanned<String>>| match text {
            Some(text) => match Pointer::parse(text.get_ref()) {
                Ok(pointer) => Ok(Some(pointer)),
                Err((message, remedy)) => Err(self.file.error_at(text.span(), message, remedy)),
            },
            None => Ok(None),
        };
        let (topic, partition) = (pointer(&table.topic)?, pointer(&table.partition)?);
        let (offset, op) = (pointer(&table.offset)?, pointer(&table.op)?);
        let placed = topic.is_some() || partition.is_some() || offset.is_some();
        let ways =
            [placed, op.is_some(), table.headers.is_some(), table.name.is_some()].map(usize::from);
        if ways.iter().sum::<usize>() > 1 {
            return Err(self.file.error_at(
                span,
                "it is said in several ways which record something is",
                "give `partition` and `offset` (and `topic`), or `name`, or `headers`, or `op`",
            ));
        }
        if let Some(name) = table.name.as_ref().filter(|_| of_a_topic) {
            return Err(self.file.error_at(
                name.span(),
                "records of a topic are in no file whose name could say which they are",
                "give `partition` and `offset` as JSON pointers, or `headers`",
            ));
        }
        let named = match &table.name {
            Some(name) => {
                Some(NamePattern::parse(name.get_ref()).map_err(|(message, remedy)| {
                    self.file.error_at(name.span(), message, remedy)
                })?)
            }
            None => None,
        };
        let only = table.only.iter().map(|(at, wanted)| match Pointer::parse(at) {
            Ok(pointer) => Ok((pointer, wanted.get_ref().clone())),
            Err((message, remedy)) => Err(self.file.error_at(wanted.span(), message, remedy)),
        });
        let only = only.collect::<Result<Vec<_>, _>>()?;
        if table.headers.is_some() && !of_a_topic {
            return Err(self.file.error_at(
                span,
                "lines of files have no headers",
                "give `partition` and `offset` as JSON pointers",
            ));
        }
        let origin = match (partition, offset, op, &table.headers) {
            _ if named.is_some() => named.map_or(Origin::Value, Origin::Name),
            (Some(partition), Some(offset), _, _) => Origin::Place { topic, partition, offset },
            (_, _, Some(op), _) => Origin::Op(op),
            (_, _, _, Some(names)) => Origin::Headers {
                topic: names.topic.clone(),
                partition: names.partition.clone(),
                offset: names.offset.clone(),
            },
            _ if placed => {
                return Err(self.file.error_at(
                    span,
                    "a record is known by its partition and its offset",
                    "give both `partition` and `offset`, or `op`",
                ));
            }
            _ => Origin::Value,
        };
        let key = [pointer(&table.key)?, pointer(&table.key_base64)?];
        let value = [pointer(&table.value)?, pointer(&table.value_base64)?];
        let told = of_a_topic || format == Format::Text || value.iter().any(Option::is_some);
        let compare = match compare.map(|compare| (compare.get_ref().as_str(), compare.span())) {
            None if told => ValuePromise::Bytes,
            None | Some(("none", _)) => ValuePromise::Untold,
            Some(("bytes", _)) if told => ValuePromise::Bytes,
            Some(("json", _)) if told => ValuePromise::Json,
            Some(("bytes" | "json", span)) => {
                return Err(self.file.error_at(
                    span,
                    "it is not said where the value stands that is to be compared",
                    "add `value = \"/value\"` to `record`, or say `compare = \"none\"`",
                ));
            }
            Some((other, span)) => {
                return Err(self.file.error_at(
                    span,
                    format!("values are not compared as `{other}`"),
                    "say `bytes`, `json` or `none`",
                ));
            }
        };
        Ok(Mapping { only, origin, key, value, compare })
    }

    fn duration_or(
        &self,
        text: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ScenarioError> {
        text.map_or(Ok(default), |text| self.duration(text))
    }
}

/// Where a group delivers, as a history names it, and what placeholders stand for it.
fn place(group: &str, bucket: &str, at: &DeliveryPlace) -> (String, Values) {
    match at {
        DeliveryPlace::Files { .. } => (files_zone(group), Values::new()),
        DeliveryPlace::Objects { .. } => {
            let url = format!("gs://{bucket}/{group}");
            let values = Values::from([
                ("delivery", url.clone()),
                ("bucket", bucket.to_owned()),
                ("prefix", group.to_owned()),
            ]);
            (url, values)
        }
        DeliveryPlace::Rows { table, .. } => {
            // The run knows the database's address.
            let values =
                Values::from([("delivery", table.clone()), ("database_url", String::new())]);
            (format!("table:{table}"), values)
        }
        DeliveryPlace::Topic { name, .. } => {
            (format!("topic:{name}"), Values::from([("delivery", name.clone())]))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::cli::TestbedName;
    use crate::plan::{Plan, Resolved, resolve};
    use crate::scenario::ScenarioFile;

    const SCENARIO: &str = r#"
title = "t"
criterion = "c"
story = "s"
expected = "e"
testbeds = ["embedded"]
[workload]
records = 10
rate_per_s = 5
variety = "plain"
[[group]]
name = "sink"
members = 2
[group.consumer]
command = ["./sink", "--topic={topic}", "{dead_letter_topic}"]
directory = "../bin"
environment = { WHO = "{member}" }
stop = { signal = "SIGINT", within = "3s" }
restarts = { at_most = 2 }
[group.delivery]
kind = "objects"
include = "**/*.jsonl"
record = { partition = "/p", offset = "/o", value = "/v" }
[group.dead_letters]
record = { headers = { partition = "p", offset = "o" } }
"#;

    fn plan(text: &str) -> Result<Box<Plan>, String> {
        let path = Path::new("/scenarios/x.toml");
        let file = ScenarioFile::parse(path, text.to_owned()).map_err(|e| e.to_string())?;
        let abilities = crate::testbed::abilities(TestbedName::Embedded);
        match resolve(&file, "embedded", &abilities, 1).map_err(|error| error.to_string())? {
            Resolved::Plan(plan) => Ok(plan),
            Resolved::NotApplicable { reason, .. } => Err(reason),
        }
    }

    fn command(plan: &Plan) -> &CommandPlan {
        match &plan.groups[0].consumer {
            ConsumerPlan::Command(plan) => plan,
            ConsumerPlan::Pipeline(_) => panic!("a consumer of one's own"),
        }
    }

    #[test]
    fn a_consumer_of_ones_own_is_resolved_with_its_promises() {
        let plan = plan(SCENARIO).unwrap();
        let command = command(&plan);
        assert_eq!(command.directory.as_deref(), Some(Path::new("/scenarios/../bin")));
        assert_eq!(command.command[1].fill(&command.values), "--topic=streamlake.orders.raw");
        assert_eq!(command.command[2].fill(&command.values), "streamlake.sink.dlq");
        assert_eq!(
            (command.stop_signal, command.stop_within),
            (Signal::SIGINT, Duration::from_secs(3))
        );
        assert_eq!(command.restarts, Some(Restarts { after: RESTART_AFTER, at_most: 2 }));
        let promise = &plan.promises.groups[0];
        assert_eq!(promise.raw_zone.as_deref(), Some("gs://streamlake-raw/sink"));
        assert_eq!(promise.dead_letter_topic.as_deref(), Some("streamlake.sink.dlq"));
        assert_eq!(
            (promise.topics.as_slice(), promise.free_layout),
            (&["streamlake.orders.raw".to_owned()][..], true)
        );
        let consumer = promise.consumer.as_ref().unwrap();
        assert_eq!((consumer.stop_signal, consumer.restarts_at_most), (2, 2));
        assert_eq!((consumer.keeps_objects, consumer.keeps_keys), (true, false));
        assert_eq!(
            (consumer.values, consumer.letter_values),
            (ValuePromise::Bytes, ValuePromise::Bytes)
        );
        let topics: Vec<_> = plan.topology.topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(
            topics,
            ["streamlake.orders.raw", "streamlake.orders.dlq", "streamlake.sink.dlq"]
        );
    }

    #[test]
    fn a_container_needs_no_command_and_sees_the_folder_of_the_scenario_if_it_is_asked_to() {
        let text = SCENARIO.replace(
            "command = [\"./sink\", \"--topic={topic}\", \"{dead_letter_topic}\"]\ndirectory = \"../bin\"",
            "image = \"acme/sink:1\"\nentrypoint = [\"/bin/sh\"]",
        );
        let plan = plan(&text).unwrap();
        let command = command(&plan);
        let image = command.image.as_ref().unwrap();
        assert_eq!((image.reference.as_str(), command.command.len()), ("acme/sink:1", 0));
        assert_eq!(
            (image.entrypoint.as_deref(), &command.directory),
            (Some(&["/bin/sh".to_owned()][..]), &None)
        );
    }

    #[test]
    fn rows_need_a_database_and_are_not_watched() {
        let text = SCENARIO.replace(
            "kind = \"objects\"\ninclude = \"**/*.jsonl\"",
            "kind = \"rows\"\ntable = \"public.sink\"\nsetup = \"CREATE TABLE sink (p int)\"",
        );
        let reason = plan(&text).unwrap_err();
        assert_eq!(reason, "the embedded testbed cannot run PostgreSQL");
    }

    #[test]
    fn files_that_grow_and_names_that_tell_offsets_are_understood() {
        let text = SCENARIO.replace(
            "kind = \"objects\"\ninclude = \"**/*.jsonl\"",
            "kind = \"files\"\ndurable = \"appended\"",
        );
        let grows =
            plan(&text.replace("value = \"/v\"", "value = \"/v\", only = { \"/k\" = \"x\" }"))
                .unwrap();
        let delivery = &command(&grows).delivery;
        assert!(matches!(delivery.at, DeliveryPlace::Files { durable: Durable::Appended, .. }));
        assert_eq!(delivery.record.only.len(), 1);
        let named = SCENARIO.replace(
            "partition = \"/p\", offset = \"/o\"",
            "name = \"**/{topic}+{partition}+{start_offset}.avro\"",
        );
        let named = plan(&named.replace("include =", "format = \"avro\"\ninclude =")).unwrap();
        let delivery = &command(&named).delivery;
        assert_eq!(delivery.format, Format::Avro);
        assert!(matches!(delivery.record.origin, Origin::Name(_)));
    }

    #[test]
    fn what_is_not_said_is_not_promised() {
        let text = SCENARIO.replace(
            "[group.dead_letters]\nrecord = { headers = { partition = \"p\", offset = \"o\" } }\n",
            "",
        );
        let text = text.replace(", \"{dead_letter_topic}\"", "").replace(", value = \"/v\"", "");
        let text = text.replace("include =", "overwrites = true\ninclude =");
        let plan = plan(&text).unwrap();
        let promise = &plan.promises.groups[0];
        assert_eq!(promise.dead_letter_topic, None);
        let consumer = promise.consumer.as_ref().unwrap();
        assert_eq!((consumer.values, consumer.keeps_objects), (ValuePromise::Untold, false));
    }

    #[test]
    fn a_topic_that_is_delivered_into_is_made_and_is_not_under_test() {
        let text =
            SCENARIO.replace("kind = \"objects\"\ninclude = \"**/*.jsonl\"", "kind = \"topic\"");
        let plan = plan(&text).unwrap();
        assert_eq!(plan.groups[0].raw_zone, "topic:streamlake.sink.delivered");
        assert!(
            plan.topology
                .topics
                .iter()
                .any(|t| t.name == "streamlake.sink.delivered" && t.partitions == 3)
        );
        assert!(!plan.promises.topics.contains_key("streamlake.sink.delivered"));
        assert!(!plan.promises.groups[0].consumer.as_ref().unwrap().keeps_objects);
    }

    #[test]
    fn mistakes_are_named_with_their_lines() {
        let wrong = |from: &str, to: &str| {
            let text = SCENARIO.replace(from, to);
            assert_ne!(text, SCENARIO, "{from}");
            plan(&text).unwrap_err()
        };
        let cases = [
            ("{topic}", "{topics}", ":15: there is no placeholder `{topics}`"),
            ("\"{member}\"", "\"{member\"", ":17: a placeholder is not closed"),
            ("SIGINT", "SIGKILL", ":18: `SIGKILL` does not ask a process to stop"),
            ("at_most = 2", "at_most = -1", ":19: -1 is out of bounds"),
            ("\"objects\"", "\"shelves\"", ":21: nothing is delivered as `shelves`"),
            ("**/*.jsonl", "/x", ":22: `/x` matches no name"),
            ("\"/p\"", "\"p\"", ":23: `p` is no JSON pointer"),
            ("partition = \"/p\", ", "", ":23: a record is known by its partition and its offset"),
            ("partition = \"/p\"", "op = \"/p\"", ":23: it is said in several ways"),
            (
                "partition = \"/p\", offset = \"/o\", ",
                "",
                ":23: it is not said where a line says which record",
            ),
            ("name = \"sink\"", "name = \"a/b\"", ":12: `a/b` cannot be the name of a folder"),
            ("members = 2", "members = 2\nbatch_records = 5", ":14: `properties`, `batch_…` and"),
            ("[group.delivery]\nkind", "[group.deliver]\nkind", ":20: unknown field `deliver`"),
            (
                "include =",
                "durable = \"final-name\"\ninclude =",
                ":22: `durable` means nothing with `kind = \"objects\"`",
            ),
            (
                "value = \"/v\" }",
                "value = \"/v\" }\ncompare = \"text\"",
                ":24: values are not compared as `text`",
            ),
            (
                "[group.dead_letters]",
                "[group.dead_letters]\ntopic = \"streamlake.orders.dlq\"",
                ":25: `streamlake.orders.dlq` is the producer's",
            ),
            (
                "[group.dead_letters]",
                "[replay]\nfrom_offset = 0\n[other]",
                ":26: unknown field `other`",
            ),
            (
                "command = [\"./sink\", \"--topic={topic}\", \"{dead_letter_topic}\"]",
                "command = []",
                ":15: there is no program to start",
            ),
            (
                "include =",
                "format = \"xml\"\ninclude =",
                ":22: `xml` is no format that can be read",
            ),
            (
                "include =",
                "table = \"t\"\ninclude =",
                ":22: `table` means nothing with `kind = \"objects\"`",
            ),
            (
                "include =",
                "at = \"/out\"\ninclude =",
                ":22: the harness makes the place of delivery",
            ),
            (
                "kind = \"objects\"\ninclude = \"**/*.jsonl\"",
                "kind = \"files\"\ndurable = \"appended\"\nformat = \"parquet\"",
                ":23: a file of `parquet` cannot be read while it grows",
            ),
            (
                "kind = \"objects\"\ninclude = \"**/*.jsonl\"",
                "kind = \"rows\"\ntable = \"t; drop\"",
                ":22: `t; drop` is no name of a table",
            ),
            (
                "kind = \"objects\"\ninclude = \"**/*.jsonl\"",
                "kind = \"rows\"",
                "it is not said which table the consumer delivers into",
            ),
            (
                "partition = \"/p\", offset = \"/o\"",
                "name = \"{partition}.json\"",
                ":23: a name like `{partition}.json` does not say which records it holds",
            ),
            (
                "record = { headers = { partition = \"p\", offset = \"o\" } }",
                "record = { name = \"{partition}-{start_offset}\" }",
                ":25: records of a topic are in no file",
            ),
            (
                "partition = \"/p\", offset = \"/o\"",
                "only = { kind = \"record\" }, partition = \"/p\", offset = \"/o\"",
                ":23: `kind` is no JSON pointer",
            ),
            ("directory =", "user = \"1000\"\ndirectory =", ":15: `user` is of a container"),
            ("directory =", "image = \"\"\ndirectory =", ":16: `` is no name of an image"),
            (
                "\"{dead_letter_topic}\"",
                "\"{database_url}\"",
                ":15: `{database_url}` stands for nothing",
            ),
            ("restarts", "ready = \"soon\"\nrestarts", ":19: nobody can wait for `soon`"),
            ("restarts", "starts = \"now\"\nrestarts", ":19: no group starts at `now`"),
        ];
        for (from, to, message) in cases {
            let error = wrong(from, to);
            assert!(error.contains(message), "{from} → {to}: {error}");
        }
        let alone = SCENARIO.replace("[group.dead_letters]", "[replay]\nfrom_offset = 0\n");
        let alone =
            alone.replace("record = { headers = { partition = \"p\", offset = \"o\" } }\n", "");
        let alone = alone.replace(", \"{dead_letter_topic}\"", "");
        let error = plan(&alone).unwrap_err();
        assert!(error.contains("only the built-in pipeline has a command"), "{error}");
    }

    #[test]
    fn a_description_without_a_consumer_and_a_consumer_without_one_are_refused() {
        let start = SCENARIO.find("[group.consumer]").unwrap();
        let end = SCENARIO.find("[group.delivery]").unwrap();
        let without = format!("{}{}", &SCENARIO[..start], &SCENARIO[end..]);
        let error = plan(&without).unwrap_err();
        assert!(error.contains(":14: where the built-in pipeline delivers is known"), "{error}");
        let error = plan(&SCENARIO[..end]).unwrap_err();
        assert!(error.contains("it is not said when a record counts as delivered"), "{error}");
        let two = format!(
            "{SCENARIO}topic = \"mine\"\n{}",
            &SCENARIO[SCENARIO.find("[[group]]").unwrap()..]
        );
        let two =
            format!("{}topic = \"mine\"\n", two.replacen("name = \"sink\"", "name = \"one\"", 1));
        let error = plan(&two).unwrap_err();
        assert!(error.contains("two groups share a dead-letter topic"), "{error}");
    }

    #[test]
    fn corrupt_poison_is_of_a_plain_load_only() {
        let text =
            SCENARIO.replace("variety = \"plain\"", "variety = \"plain\"\npoison = \"corrupt\"");
        assert!(plan(&text).is_ok());
        let error = plan(&text.replace("\"plain\"", "\"full\"")).unwrap_err();
        assert!(error.contains(":11: a load of full variety has poison of every kind"), "{error}");
        let error = plan(&text.replace("corrupt", "rotten")).unwrap_err();
        assert!(error.contains("there is no poison `rotten`"), "{error}");
    }
}
