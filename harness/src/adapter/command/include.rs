//! Which names count as delivered: a pattern over the parts of a path.

/// A pattern like `**/*.jsonl`: `*` and `?` within a part of the path, `**` for any number of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include(Vec<String>);

impl Include {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A message and a remedy for one that can match nothing.
    pub fn parse(pattern: &str) -> Result<Self, (String, String)> {
        let parts: Vec<String> = pattern.split('/').map(str::to_owned).collect();
        if parts.iter().any(|part| part.is_empty() || part == "." || part == "..") {
            return Err((
                format!("`{pattern}` matches no name"),
                "give a pattern relative to the place of delivery, `**/*.jsonl`".to_owned(),
            ));
        }
        if parts.iter().any(|part| part.contains("**") && part != "**") {
            return Err((
                format!("`{pattern}` has `**` inside a part of the path"),
                "write `**/` for any number of folders".to_owned(),
            ));
        }
        Ok(Self(parts))
    }

    /// Whether a name below the place of delivery counts.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('/').collect();
        path(&self.0, &parts)
    }
}

fn path(pattern: &[String], parts: &[&str]) -> bool {
    match pattern.split_first() {
        None => parts.is_empty(),
        Some((first, rest)) if first == "**" => (0..=parts.len()).any(|n| path(rest, &parts[n..])),
        Some((first, rest)) => match parts.split_first() {
            Some((part, others)) => within(first, part) && path(rest, others),
            None => false,
        },
    }
}

/// The usual walk with one place to come back to: the last `*`.
fn within(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_match_within_and_over_the_parts_of_a_path() {
        let matches = |pattern: &str, name: &str| Include::parse(pattern).unwrap().matches(name);
        assert!(matches("**/*.jsonl", "a.jsonl") && matches("**/*.jsonl", "x/y/a.jsonl"));
        assert!(!matches("*.jsonl", "x/a.jsonl") && !matches("**/*.jsonl", "a.jsonl.tmp"));
        assert!(matches("day=*/p-??.json*", "day=1/p-01.json.gz"));
        assert!(!matches("day=*/p-??.json*", "day=1/p-1.json"));
        assert!(matches("a*b*c", "axxbyybzc") && !matches("a*b*c", "axxbyyb"));
        assert!(matches("**", "a/b") && matches("x/**", "x/a/b") && !matches("x/**/y", "x"));
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for pattern in ["", "/a", "a//b", "../a", "a/**b"] {
            assert!(Include::parse(pattern).is_err(), "{pattern}");
        }
    }
}
