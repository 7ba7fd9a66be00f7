//! A group's generation and members in the broker's own record (`__consumer_offsets`).

use crate::observer::commits::string;

/// Version of a key that names a group; lower ones name a committed offset.
const GROUP_KEY: i16 = 2;
/// Versions of the value that are known. From 4 on it has another encoding.
const VALUE_VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;

/// The group of a key; other keys of the topic give none.
pub(super) fn group_key(key: &[u8]) -> Option<String> {
    let mut fields = Fields(key);
    (fields.i16()? == GROUP_KEY).then(|| fields.string())?
}

/// Generation and members of a group's value, a member by its static instance id where it has one.
pub(super) fn group_state(value: &[u8]) -> Option<(u32, Vec<String>)> {
    let mut fields = Fields(value);
    let version = fields.i16()?;
    if !VALUE_VERSIONS.contains(&version) {
        return None;
    }
    let _protocol_type = fields.string()?;
    let generation = u32::try_from(fields.i32()?).ok()?;
    let _protocol = fields.nullable_string()?;
    let _leader = fields.nullable_string()?;
    if version >= 2 {
        let _since: [u8; 8] = fields.take()?;
    }
    let count = usize::try_from(fields.i32()?).ok()?;
    let members = (0..count).map(|_| member(&mut fields, version));
    Some((generation, members.collect::<Option<_>>()?))
}

fn member(fields: &mut Fields<'_>, version: i16) -> Option<String> {
    let id = fields.string()?;
    let instance = if version >= 3 { fields.nullable_string()? } else { None };
    let _client_id = fields.string()?;
    let _client_host = fields.string()?;
    if version >= 1 {
        let _rebalance_timeout = fields.i32()?;
    }
    let _session_timeout = fields.i32()?;
    fields.skip_bytes()?;
    fields.skip_bytes()?;
    Some(instance.unwrap_or(id))
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn string(&mut self) -> Option<String> {
        let (text, rest) = string(self.0)?;
        self.0 = rest;
        Some(text)
    }

    fn nullable_string(&mut self) -> Option<Option<String>> {
        if self.0.starts_with(&(-1i16).to_be_bytes()) {
            self.0 = &self.0[2..];
            return Some(None);
        }
        self.string().map(Some)
    }

    fn skip_bytes(&mut self) -> Option<()> {
        let length = usize::try_from(self.i32()?).ok()?;
        self.0 = self.0.get(length..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: Option<&str>) -> Vec<u8> {
        let Some(text) = text else { return (-1i16).to_be_bytes().to_vec() };
        [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn value(version: i16, members: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut value = version.to_be_bytes().to_vec();
        value.extend(text(Some("consumer")));
        value.extend(7i32.to_be_bytes());
        value.extend(text(Some("range")));
        value.extend(text(None));
        if version >= 2 {
            value.extend(1i64.to_be_bytes());
        }
        value.extend((members.len() as i32).to_be_bytes());
        for (id, instance) in members {
            value.extend(text(Some(id)));
            if version >= 3 {
                value.extend(text(*instance));
            }
            value.extend([text(Some("client")), text(Some("/127.0.0.1"))].concat());
            if version >= 1 {
                value.extend(300_000i32.to_be_bytes());
            }
            value.extend(6_000i32.to_be_bytes());
            for bytes in [&b"subscription"[..], b""] {
                value.extend((bytes.len() as i32).to_be_bytes());
                value.extend(bytes);
            }
        }
        value
    }

    #[test]
    fn a_generation_and_its_members_are_understood_in_every_version() {
        let key = [&2i16.to_be_bytes()[..], &text(Some("g"))].concat();
        assert_eq!(group_key(&key).as_deref(), Some("g"));
        let members = [("a-1", Some("one")), ("a-2", None)];
        for version in VALUE_VERSIONS {
            let first = if version >= 3 { "one" } else { "a-1" };
            let expected = Some((7, vec![first.to_owned(), "a-2".to_owned()]));
            assert_eq!(group_state(&value(version, &members)), expected, "version {version}");
        }
        assert_eq!(group_state(&value(3, &[])), Some((7, Vec::new())));
    }

    #[test]
    fn offsets_unknown_versions_and_broken_records_are_no_generations() {
        assert_eq!(group_key(&[&1i16.to_be_bytes()[..], &text(Some("g"))].concat()), None);
        assert_eq!(group_state(&value(4, &[])), None);
        let whole = value(3, &[("a", Some("b"))]);
        for length in 0..whole.len() {
            assert_eq!(group_state(&whole[..length]), None, "cut at {length}");
        }
    }
}
