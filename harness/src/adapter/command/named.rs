//! Records that are known by the name of the file or object in which they are, as sinks write them that
//! name each after the first offset in it: `orders+2+0000000120.json`.

use regex::Regex;

/// The placeholders of such a pattern, and what each stands for.
const PARTS: [(&str, &str, &str); 3] = [
    ("{topic}", "topic", "[^/]+?"),
    ("{partition}", "partition", "[0-9]+"),
    ("{start_offset}", "offset", "[0-9]+"),
];

/// A pattern for names: `**/{topic}+{partition}+{start_offset}.json`.
#[derive(Debug, Clone)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

impl NamePattern {
    /// Reads a pattern: `*` and `?` within a part of the path, `**/` for any folders, and the
    /// placeholders; one that is repeated stands for anything of its kind the second time.
    ///
    /// # Errors
    /// A message and a remedy.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        for needed in ["{partition}", "{start_offset}"] {
            if !text.contains(needed) {
                return Err((
                    format!("a name like `{text}` does not say which records it holds"),
                    "write a pattern with `{partition}` and `{start_offset}` in it, \
                     `**/{topic}+{partition}+{start_offset}.json`"
                        .to_owned(),
                ));
            }
        }
        let (mut pattern, mut rest, mut known) = ("^".to_owned(), text, Vec::new());
        while let Some(first) = rest.chars().next() {
            let part = PARTS.iter().find(|(placeholder, ..)| rest.starts_with(placeholder));
            let length = if let Some((placeholder, name, matches)) = part {
                match known.contains(name) {
                    true => pattern.push_str(matches),
                    false => pattern.push_str(&format!("(?P<{name}>{matches})")),
                }
                known.push(name);
                placeholder.len()
            } else if rest.starts_with("**/") {
                pattern.push_str("(?:.*/)?");
                3
            } else {
                match first {
                    '*' => pattern.push_str("[^/]*"),
                    '?' => pattern.push_str("[^/]"),
                    other => pattern.push_str(&regex::escape(&other.to_string())),
                }
                first.len_utf8()
            };
            rest = &rest[length..];
        }
        pattern.push('$');
        let regex = Regex::new(&pattern).map_err(|error| {
            (format!("`{text}` is no pattern for names: {error}"), "write a shorter one".to_owned())
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Topic (where the name tells it), partition, and offset of the first record of a file.
    pub(super) fn place(&self, name: &str) -> Result<(Option<String>, u32, u64), String> {
        let found = self.regex.captures(name);
        let found = found.ok_or_else(|| format!("its name is not like `{}`", self.text))?;
        let number =
            |part: &str| found.name(part).and_then(|found| found.as_str().parse::<u64>().ok());
        let partition = number("partition").and_then(|number| u32::try_from(number).ok());
        let place = partition.zip(number("offset"));
        let (partition, offset) =
            place.ok_or("its name has a number in it that is too large to be meant")?;
        Ok((found.name("topic").map(|topic| topic.as_str().to_owned()), partition, offset))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_says_where_the_first_record_stood() {
        let pattern =
            NamePattern::parse("**/{topic}/day=*/{topic}+{partition}+{start_offset}.json*")
                .unwrap();
        let place = pattern.place("a/o.raw/day=1/o.raw+2+0000000120.json.gz").unwrap();
        assert_eq!(place, (Some("o.raw".to_owned()), 2, 120));
        assert!(pattern.place("o.raw/day=1/o.raw+2+x.json").unwrap_err().contains("is not like"));
        let huge = pattern.place("o/day=1/o+2+99999999999999999999999.json").unwrap_err();
        assert!(huge.contains("too large"), "{huge}");
        let plain = NamePattern::parse("{partition}-{start_offset}").unwrap();
        assert_eq!(plain.place("1-7").unwrap(), (None, 1, 7));
        assert!(NamePattern::parse("{topic}/{partition}.json").is_err());
    }
}
