//! Text with `{placeholders}`: arguments and environment of a consumer under test.

use std::collections::BTreeMap;

/// The placeholders that there are, with what each stands for.
pub const PLACEHOLDERS: [(&str, &str); 15] = [
    ("bootstrap_servers", "`host:port,…` of the brokers"),
    ("topic", "the topic under test"),
    ("partitions", "its number of partitions"),
    ("group", "the consumer group"),
    ("member", "the name of the process, `consumer-1`"),
    ("delivery", "where to deliver: a folder, `gs://bucket/prefix`, or a topic"),
    ("dead_letter_topic", "the topic for dead letters"),
    ("store_url", "address of the object store"),
    ("database_url", "address of the database, `postgresql://…`"),
    ("bucket", "the bucket to deliver into"),
    ("prefix", "what the names of delivered objects begin with, without a slash at its end"),
    ("run_folder", "the folder of the run, with the logs"),
    ("scenario_folder", "the folder of the scenario's file"),
    ("seed", "the seed of the run"),
    ("scenario", "the scenario's name"),
];

/// What the placeholders of one process stand for.
pub type Values = BTreeMap<&'static str, String>;

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(&'static str),
}

impl Template {
    /// Reads a text. `{name}` is a placeholder, `{{` and `}}` are braces.
    ///
    /// # Errors
    /// A message and a remedy, for a placeholder that there is not and for a brace without its like.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        let doubled = || "write `{{` or `}}` for a brace that is meant as such".to_owned();
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(behind) = rest.strip_prefix("{{") {
                plain.push('{');
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix("}}") {
                plain.push('}');
                rest = behind;
            } else if rest.starts_with('}') {
                return Err(("a `}` closes no placeholder".to_owned(), doubled()));
            } else {
                let Some(end) = rest.find('}') else {
                    return Err(("a placeholder is not closed".to_owned(), doubled()));
                };
                let name = &rest[1..end];
                let Some((known, _)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
                    let names: Vec<_> = PLACEHOLDERS.iter().map(|(name, _)| *name).collect();
                    return Err((
                        format!("there is no placeholder `{{{name}}}`"),
                        format!("known: {}; {}", names.join(", "), doubled()),
                    ));
                };
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Placeholder(known));
                rest = &rest[end + 1..];
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(*name),
            Piece::Text(_) => None,
        })
    }

    /// The text with its placeholders filled in; one without a value is left out.
    #[must_use]
    pub fn fill(&self, values: &Values) -> String {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Placeholder(name) => values.get(name).map_or("", String::as_str),
        });
        filled.collect()
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Placeholder(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_doubled_braces_are_braces() {
        let values = Values::from([("group", "g".to_owned()), ("topic", "t{group}".to_owned())]);
        let fill = |text: &str| Template::parse(text).unwrap().fill(&values);
        assert_eq!(fill("--group={group}/{topic}"), "--group=g/t{group}");
        assert_eq!(fill(r#"{{"a":"{group}"}}"#), r#"{"a":"g"}"#);
        assert_eq!(fill(""), "");
        let template = Template::parse("{group}{member}").unwrap();
        assert_eq!(template.placeholders().collect::<Vec<_>>(), ["group", "member"]);
    }

    #[test]
    fn what_is_no_placeholder_is_refused_with_what_there_is() {
        let (message, remedy) = Template::parse("{bootstrap}").unwrap_err();
        assert_eq!(message, "there is no placeholder `{bootstrap}`");
        assert!(remedy.starts_with("known: bootstrap_servers, topic,"), "{remedy}");
        assert_eq!(Template::parse("{group").unwrap_err().0, "a placeholder is not closed");
        assert_eq!(Template::parse("group}").unwrap_err().0, "a `}` closes no placeholder");
    }
}
