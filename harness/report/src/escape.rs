//! The one place where data becomes markup.
//!
//! Keys, payloads, error texts and scenario names come from outside. Every format first makes them
//! [`visible`], so that no control or direction character survives, and then escapes what its own
//! syntax would read as structure. Only the JSON report carries data as it was: its encoder
//! escapes control characters, and nobody renders it.

use std::fmt::Write as _;

/// Characters that one piece of data may take in a report meant for people.
pub(super) const DATA_CHARS_MAX: usize = 2_000;

/// Makes data harmless and readable in one line: control, direction and other invisible characters
/// become `\n`, `\u{202e}`; what is longer than [`DATA_CHARS_MAX`] is cut with a remark.
pub(super) fn visible(data: &str) -> String {
    let mut text = String::with_capacity(data.len());
    let mut chars = data.chars();
    for (position, char) in chars.by_ref().enumerate() {
        match char {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            char if invisible(char) => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
            }
            char => text.push(char),
        }
        if position + 1 == DATA_CHARS_MAX {
            break;
        }
    }
    let left = chars.count();
    if left > 0 {
        let _ = write!(text, "… ({left} more characters)");
    }
    text
}

/// Characters that show nothing themselves but change how what is around them is shown.
fn invisible(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164
            | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0xFFFE | 0xFFFF
            | 0xE0000..=0xE0FFF)
        // The last two code points of each plane are not characters; XML refuses some of them.
        || u32::from(char) & 0xFFFE == 0xFFFE
}

/// Plain text within a line of markdown, a table cell included.
///
/// Whatever could be structure is written as an entity, which CommonMark never reads as structure;
/// a pipe in particular never appears, so a table row keeps its cells.
pub(super) fn markdown(data: &str) -> String {
    let visible = visible(data);
    let mut text = String::with_capacity(visible.len());
    for (position, char) in visible.char_indices() {
        let before = &visible[..position];
        let opens_line = before.trim_start().is_empty();
        let numbers_line = !opens_line && before.trim_start().chars().all(|c| c.is_ascii_digit());
        let next = visible[position..].chars().nth(1).unwrap_or(' ');
        match char {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '|' => text.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => {
                text.push('\\');
                text.push(char);
            }
            // At the start of a line these begin a heading, a list or an underline.
            '#' | '-' | '+' | '=' if opens_line && (next == char || next == ' ') => {
                text.push('\\');
                text.push(char);
            }
            '.' | ')' if numbers_line && next == ' ' => {
                text.push('\\');
                text.push(char);
            }
            // GitHub makes links of bare addresses and mentions of names.
            ':' if visible[position..].starts_with("://") => text.push_str("&#58;"),
            '.' if before.to_ascii_lowercase().ends_with("www") => {
                text.push_str("&#46;");
            }
            '@' => text.push_str("&#64;"),
            char => text.push(char),
        }
    }
    text
}

/// Code within a line of markdown, a table cell included.
pub(super) fn markdown_code(data: &str) -> String {
    let visible = visible(data);
    if visible.trim().is_empty() {
        return "(empty)".to_owned();
    }
    if !visible.contains(['`', '|', '<']) {
        return format!("`{visible}`");
    }
    // A backtick needs a longer fence, a pipe ends a table's cell even in code, and not every
    // renderer leaves tags in code alone; entities are safe from all of that.
    let mut text = String::from("<code>");
    for char in visible.chars() {
        if char.is_ascii_punctuation() {
            let _ = write!(text, "&#{};", u32::from(char));
        } else {
            text.push(char);
        }
    }
    text.push_str("</code>");
    text
}

/// Lines of a fenced block in markdown, the fences included.
pub(super) fn markdown_block(language: &str, lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| visible(line)).collect();
    let longest = lines.iter().map(|line| longest_run(line, '`')).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", lines.join("\n"))
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for char in text.chars() {
        run = if char == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Text or an attribute's value in HTML and SVG.
pub(super) fn html(data: &str) -> String {
    let mut text = String::with_capacity(data.len());
    for char in visible(data).chars() {
        match char {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            char => text.push(char),
        }
    }
    text
}

/// A relative link: everything but the characters of ordinary paths is percent-encoded, so that no
/// scheme and no markup comes through.
pub(super) fn link(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._/#".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    // Two slashes at the start would name another host.
    format!("{}{text}", if text.starts_with("//") { "." } else { "" })
}

/// A name that is safe as a file's name and as an anchor: `[a-z0-9-]`, 60 characters at most.
pub(super) fn slug(name: &str) -> String {
    let mut text = String::new();
    for char in name.chars().take(60) {
        if char.is_ascii_alphanumeric() {
            text.push(char.to_ascii_lowercase());
        } else if !text.ends_with('-') {
            text.push('-');
        }
    }
    let text = text.trim_matches('-');
    if text.is_empty() { "unnamed".to_owned() } else { text.to_owned() }
}

/// One word of a shell command, quoted where it has to be.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::sample::hostile;
    use super::*;
    use proptest::prelude::*;

    fn harmless(text: &str) -> bool {
        !text.chars().any(invisible)
    }

    proptest! {
        #[test]
        fn nothing_invisible_survives(data in hostile()) {
            prop_assert!(harmless(&visible(&data)));
        }

        #[test]
        fn markdown_text_is_one_line_without_structure(data in hostile()) {
            let text = markdown(&data);
            prop_assert!(harmless(&text));
            prop_assert!(!text.contains(['|', '<', '>', '\n']));
            for (position, _) in text.match_indices(['`', '*', '[', ']']) {
                let slashes = text[..position].chars().rev().take_while(|&c| c == '\\').count();
                prop_assert!(slashes % 2 == 1, "{:?} is not escaped in {:?}", position, text);
            }
        }

        #[test]
        fn markdown_code_stays_in_its_cell(data in hostile()) {
            let text = markdown_code(&data);
            prop_assert!(harmless(&text));
            prop_assert!(!text.contains(['|', '\n']));
            prop_assert_eq!(text.matches('`').count() % 2, 0);
            if !text.starts_with('`') && text != "(empty)" {
                prop_assert_eq!(text.matches('<').count(), 2);
            }
        }

        #[test]
        fn a_block_ends_where_it_should(data in hostile()) {
            let text = markdown_block("sh", std::slice::from_ref(&data));
            let lines: Vec<&str> = text.lines().collect();
            prop_assert_eq!(lines.len(), 3);
            prop_assert!(!lines[1].contains(lines[2]));
        }

        #[test]
        fn html_has_no_tags_and_ends_no_attribute(data in hostile()) {
            let text = html(&data);
            prop_assert!(harmless(&text));
            prop_assert!(!text.contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn links_stay_here(data in hostile()) {
            let text = link(&data);
            prop_assert!(!text.contains([':', '"', '<', '(', ')', ' ']));
            prop_assert!(!text.starts_with("//"));
        }

        #[test]
        fn slugs_are_plain(data in hostile()) {
            let text = slug(&data);
            prop_assert!(!text.is_empty() && text.len() <= 60);
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let text = visible(&"x".repeat(DATA_CHARS_MAX + 5));
        assert!(text.ends_with("x… (5 more characters)"), "{text}");
    }

    #[test]
    fn ordinary_text_stays_readable() {
        assert_eq!(markdown("A gap of 4.3 s, no loss."), "A gap of 4.3 s, no loss.");
        assert_eq!(markdown("1. x"), "1\\. x");
        assert_eq!(markdown("4.30 s"), "4.30 s");
        assert_eq!(markdown("+210 ms"), "+210 ms");
        assert_eq!(markdown("- x"), "\\- x");
        assert_eq!(markdown("# x"), "\\# x");
        assert_eq!(markdown_code("acks=all"), "`acks=all`");
        assert_eq!(shell_word("broker-restart"), "broker-restart");
        assert_eq!(shell_word("a b'c"), r"'a b'\''c'");
    }
}
