//! Which image stands for each part: `images/images.toml`, and which of its two columns is taken.
//!
//! Everybody with an image registry runs the official images; machines that reach package
//! registries only run the ones that `just images` builds. Both take the same variables and paths.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::try_join_all;
use serde::Deserialize;

use super::engine::Engine;
use crate::testbed::TestbedError;

/// The file as it was when the harness was built.
const BUILT_IN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../images/images.toml"));
/// Forces one of the two columns: `official`, `local` or `auto`.
const CHOICE_VARIABLE: &str = "STREAMLAKE_IMAGES";

/// Which references are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageChoice {
    /// The local image of a part where the engine has it, else the official one.
    #[default]
    Auto,
    /// The official images, pulled where the engine lacks them.
    Official,
    /// The images that `just images` builds.
    Local,
}

impl std::str::FromStr for ImageChoice {
    type Err = TestbedError;

    fn from_str(text: &str) -> Result<Self, TestbedError> {
        match text {
            "auto" | "" => Ok(Self::Auto),
            "official" => Ok(Self::Official),
            "local" => Ok(Self::Local),
            other => Err(TestbedError::Environment {
                what: format!("{other:?} is no choice of images"),
                remedy: "say auto, official or local".to_owned(),
            }),
        }
    }
}

/// References of one column, by part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct References {
    /// Apache Kafka in KRaft mode.
    pub kafka: String,
    /// The object store.
    pub fake_gcs: String,
    /// The source database.
    pub postgres: String,
    /// Kafka Connect with Debezium.
    pub connect: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    official: References,
    local: References,
}

/// The images that a docker testbed may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// What is pulled.
    pub official: References,
    /// What `just images` builds.
    pub local: References,
    /// Which of the two is taken.
    pub choice: ImageChoice,
}

impl ImageSet {
    /// The built-in references, and the choice that `STREAMLAKE_IMAGES` makes. An image that
    /// docker-compose.yml's own variables name (`STREAMLAKE_IMAGE_KAFKA`, …) is taken here, too.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] if the variable holds something else than a choice.
    pub fn from_environment() -> Result<Self, TestbedError> {
        let choice = std::env::var(CHOICE_VARIABLE).unwrap_or_default().parse()?;
        let built_in = Self::parse(BUILT_IN, "the built-in images.toml")?.with_choice(choice);
        Ok(built_in.with_named(|variable| std::env::var(variable).ok()))
    }

    /// The same, with those images that variables name in the place of both columns.
    fn with_named(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        for references in [&mut self.official, &mut self.local] {
            for (name, reference) in [
                ("STREAMLAKE_IMAGE_KAFKA", &mut references.kafka),
                ("STREAMLAKE_IMAGE_FAKE_GCS", &mut references.fake_gcs),
                ("STREAMLAKE_IMAGE_POSTGRES", &mut references.postgres),
                ("STREAMLAKE_IMAGE_CONNECT", &mut references.connect),
            ] {
                if let Some(named) = variable(name).filter(|named| !named.is_empty()) {
                    *reference = named;
                }
            }
        }
        self
    }

    /// References from another file of the same form.
    ///
    /// # Errors
    /// [`TestbedError::Environment`] if the file cannot be read or understood.
    pub fn from_file(path: &Path) -> Result<Self, TestbedError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| TestbedError::Environment {
            what: format!("{name}: {error}"),
            remedy: "name a readable file like images/images.toml".to_owned(),
        })?;
        Self::parse(&text, &name)
    }

    /// The same references, another choice.
    #[must_use]
    pub fn with_choice(self, choice: ImageChoice) -> Self {
        Self { choice, ..self }
    }

    fn parse(text: &str, name: &str) -> Result<Self, TestbedError> {
        let File { official, local } =
            toml::from_str(text).map_err(|error| TestbedError::Environment {
                what: format!("{name}: {error}"),
                remedy: "give [official] and [local] a kafka, fake_gcs, postgres and connect each"
                    .to_owned(),
            })?;
        Ok(Self { official, local, choice: ImageChoice::Auto })
    }

    /// What may stand for a part, best first: reference, and whether it may be pulled.
    fn candidates(&self, kind: ImageKind) -> Vec<(&str, bool)> {
        let official = (kind.of(&self.official), true);
        let local = (kind.of(&self.local), false);
        match self.choice {
            ImageChoice::Auto => vec![local, official],
            ImageChoice::Official => vec![official],
            ImageChoice::Local => vec![local],
        }
    }

    /// Settles each of `kinds` on an image that the engine has, pulling where that is allowed.
    pub(super) async fn resolve(
        &self,
        engine: &Engine,
        kinds: &[ImageKind],
    ) -> Result<BTreeMap<ImageKind, ResolvedImage>, TestbedError> {
        let resolved = kinds.iter().map(|kind| self.resolve_one(engine, *kind));
        Ok(kinds.iter().copied().zip(try_join_all(resolved).await?).collect())
    }

    async fn resolve_one(
        &self,
        engine: &Engine,
        kind: ImageKind,
    ) -> Result<ResolvedImage, TestbedError> {
        let candidates = self.candidates(kind);
        for (reference, _) in &candidates {
            if let Some(digest) = engine.image_digest(reference).await? {
                return Ok(ResolvedImage { reference: (*reference).to_owned(), digest });
            }
        }
        let mut refusals = Vec::new();
        for (reference, pulled) in &candidates {
            if !pulled {
                refusals.push(format!("{reference} is not on this engine"));
                continue;
            }
            match engine.pull(reference).await {
                Ok(digest) => {
                    return Ok(ResolvedImage { reference: (*reference).to_owned(), digest });
                }
                Err(reason) => refusals.push(format!("{reference} cannot be pulled ({reason})")),
            }
        }
        Err(TestbedError::Environment {
            what: refusals.join(", "),
            remedy: match self.choice {
                ImageChoice::Official => format!(
                    "see that the registry can be reached, or take local images: unset \
                     {CHOICE_VARIABLE} and run `just images`"
                ),
                ImageChoice::Auto | ImageChoice::Local => "run `just images`".to_owned(),
            },
        })
    }
}

/// The kinds of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImageKind {
    Kafka,
    FakeGcs,
    Postgres,
    Connect,
}

impl ImageKind {
    fn of(self, references: &References) -> &str {
        match self {
            Self::Kafka => &references.kafka,
            Self::FakeGcs => &references.fake_gcs,
            Self::Postgres => &references.postgres,
            Self::Connect => &references.connect,
        }
    }

    /// Name of the component in a report.
    pub(super) fn component(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::FakeGcs => "fake-gcs-server",
            Self::Postgres => "postgresql",
            Self::Connect => "kafka-connect-debezium",
        }
    }
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedImage {
    pub(super) reference: String,
    /// Digest in a registry, or the image's own id where it never was in one.
    pub(super) digest: String,
}

impl ResolvedImage {
    /// Name and tag as testcontainers takes them; it puts them together with a colon again, which
    /// serves a reference by digest as well.
    pub(super) fn name_and_tag(&self) -> (&str, &str) {
        split(&self.reference)
    }

    /// Version, reference and digest, for the report.
    pub(super) fn describe(&self) -> String {
        format!("{} ({}, {})", self.name_and_tag().1, self.reference, self.digest)
    }
}

/// Splits a reference at its tag; a colon before the last slash is a registry's port.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_built_in_file_names_every_image_with_a_tag() {
        let set = ImageSet::parse(BUILT_IN, "built-in").unwrap();
        for references in [&set.official, &set.local] {
            for kind in
                [ImageKind::Kafka, ImageKind::FakeGcs, ImageKind::Postgres, ImageKind::Connect]
            {
                let (name, tag) = split(kind.of(references));
                assert!(!name.is_empty() && tag != "latest", "{references:?}");
            }
        }
    }

    #[test]
    fn a_file_with_an_unknown_or_missing_image_is_refused() {
        assert!(ImageSet::parse("[official]\nkafka = \"a:1\"\n", "f").is_err());
        assert!(ImageSet::parse(&format!("{BUILT_IN}\nminio = \"x:1\"\n"), "f").is_err());
    }

    #[test]
    fn an_image_that_is_named_takes_the_place_of_both() {
        let named = |variable: &str| match variable {
            "STREAMLAKE_IMAGE_KAFKA" => Some("mine/kafka:9".to_owned()),
            "STREAMLAKE_IMAGE_CONNECT" => Some(String::new()),
            _ => None,
        };
        let built_in = ImageSet::parse(BUILT_IN, "built-in").unwrap();
        let set = built_in.clone().with_named(named);
        assert_eq!((&*set.official.kafka, &*set.local.kafka), ("mine/kafka:9", "mine/kafka:9"));
        assert_eq!(set.official.connect, built_in.official.connect);
    }

    #[test]
    fn the_choice_orders_the_candidates() {
        let set = ImageSet::parse(BUILT_IN, "built-in").unwrap();
        let names = |choice| -> Vec<(String, bool)> {
            let set = set.clone().with_choice(choice);
            set.candidates(ImageKind::Kafka)
                .into_iter()
                .map(|(name, pulled)| (name.to_owned(), pulled))
                .collect()
        };
        let official = (set.official.kafka.clone(), true);
        let local = (set.local.kafka.clone(), false);
        assert_eq!(names(ImageChoice::Auto), [local.clone(), official.clone()]);
        assert_eq!(names(ImageChoice::Official), [official]);
        assert_eq!(names(ImageChoice::Local), [local]);
        assert!("mine".parse::<ImageChoice>().is_err());
    }

    #[test]
    fn references_split_at_the_tag_and_not_at_a_port() {
        assert_eq!(split("apache/kafka:4.1.0"), ("apache/kafka", "4.1.0"));
        assert_eq!(split("localhost:5000/kafka"), ("localhost:5000/kafka", "latest"));
        assert_eq!(split("a/b@sha256:0f"), ("a/b@sha256", "0f"));
    }
}
