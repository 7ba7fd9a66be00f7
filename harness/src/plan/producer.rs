//! A producer that is somebody's own: what a scenario says of it, resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::{DATASET, Reader};
use crate::adapter::command::{ProducerPlan, Values, absolute};
use crate::scenario::{Producer, ScenarioError};
use crate::workload::{Variety, WorkloadPlan};

/// The partitioners that the judge can compute.
const PARTITIONERS: [&str; 2] = ["murmur2_random", "consistent_random"];

impl Reader<'_> {
    /// The producer that the scenario describes; none where it is the built-in one.
    pub(super) fn own_producer(
        &self,
        load: Option<&WorkloadPlan>,
        seed: u64,
    ) -> Result<Option<ProducerPlan>, ScenarioError> {
        let producer = &self.file.scenario.producer;
        let Some(command) = &producer.command else {
            return self.only_of_own_producers(producer).map(|()| None);
        };
        let Some(load) = load else {
            return Err(self.file.error_at(
                command.span(),
                "there is nothing for a producer to send",
                "give it a `[workload]`, or remove the `command`",
            ));
        };
        if !producer.properties.is_empty() {
            return Err(self.file.error_at(
                command.span(),
                "`properties` are of the built-in producer, and this is another one",
                "leave them out, and give the producer what it needs by `command` and `environment`",
            ));
        }
        if load.variety != Variety::Plain {
            return Err(self.file.error_at(
                command.span(),
                "a load of full variety has records that another writer of the harness sends beside the producer",
                "say `variety = \"plain\"` in `[workload]`",
            ));
        }
        let folder = self.folder();
        let mut values = Values::new();
        values.insert("topic", load.topic.clone());
        values.insert("partitions", load.partitions.to_string());
        values.insert("seed", seed.to_string());
        values.insert("scenario", self.file.name.clone());
        values.insert("scenario_folder", folder.display().to_string());
        let words = command.get_ref();
        if words.first().is_none_or(|program| program.get_ref().is_empty()) {
            return Err(self.file.error_at(
                command.span(),
                "there is no program to start",
                "give the program and its arguments, `command = [\"python3\", \"producer.py\"]`",
            ));
        }
        let command: Result<_, _> = words.iter().map(|word| self.template(word, &values)).collect();
        Ok(Some(ProducerPlan {
            command: command?,
            directory: match &producer.directory {
                Some(directory) => folder.join(directory.get_ref()),
                None => folder,
            },
            environment: self.environment_of(&producer.environment, &values)?,
            tells_receipts: self.receipts(producer.receipts.as_ref())?,
            partitioner: self.partitioner(producer.partitioner.as_ref())?,
            idempotent: producer.idempotent,
            values,
        }))
    }

    /// The folder of the scenario's file, by a name that holds wherever a process is started.
    pub(super) fn folder(&self) -> PathBuf {
        let folder = self.file.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        absolute(folder.unwrap_or(Path::new(".")))
    }

    /// What says something of a producer that is not there.
    fn only_of_own_producers(&self, producer: &Producer) -> Result<(), ScenarioError> {
        let Producer { directory, receipts, partitioner, environment, .. } = producer;
        let spans = [directory, receipts, partitioner].map(|text| text.as_ref().map(Spanned::span));
        let environment = environment.values().next().map(Spanned::span);
        match spans.into_iter().flatten().chain(environment).next() {
            Some(span) => Err(self.file.error_at(
                span,
                format!(
                    "this is of a producer of one's own, and that of {DATASET} is the built-in one"
                ),
                "remove it, or give the `command` of a producer of your own",
            )),
            None => Ok(()),
        }
    }

    fn receipts(&self, receipts: Option<&Spanned<String>>) -> Result<bool, ScenarioError> {
        match receipts.map(|text| (text.get_ref().as_str(), text.span())) {
            None | Some(("lines", _)) => Ok(true),
            Some(("none", _)) => Ok(false),
            Some((other, span)) => Err(self.file.error_at(
                span,
                format!("receipts cannot be read as `{other}`"),
                "say `lines` or `none`",
            )),
        }
    }

    fn partitioner(&self, name: Option<&Spanned<String>>) -> Result<Option<String>, ScenarioError> {
        let Some(name) = name else { return Ok(None) };
        if PARTITIONERS.contains(&name.get_ref().as_str()) {
            return Ok(Some(name.get_ref().clone()));
        }
        Err(self.file.error_at(
            name.span(),
            format!("there is no partitioner `{}`", name.get_ref()),
            format!("say one of {}, or promise nothing", PARTITIONERS.join(", ")),
        ))
    }

    /// Names and values that can stand in an environment.
    pub(super) fn environment_of(
        &self,
        given: &BTreeMap<String, Spanned<String>>,
        values: &Values,
    ) -> Result<BTreeMap<String, crate::adapter::command::Template>, ScenarioError> {
        let mut environment = BTreeMap::new();
        for (name, value) in given {
            if name.is_empty() || name.contains(['=', '\0']) || value.get_ref().contains('\0') {
                return Err(self.file.error_at(
                    value.span(),
                    format!("`{}` cannot be put into an environment", name.escape_debug()),
                    "give a name without `=`",
                ));
            }
            environment.insert(name.clone(), self.template(value, values)?);
        }
        Ok(environment)
    }
}
