//! What holds of every report, whatever stands in a history: for tests here and elsewhere.
#![allow(clippy::unwrap_used)]

use crate::{Look, SuiteReport, json, render, terminal_summary};

/// No format for people carries what acts on a page, a terminal or a table: no character that a terminal
/// or an eye would obey, and no tag of another's making.
///
/// # Panics
/// If one does.
pub fn assert_harmless(suite: &SuiteReport) {
    let texts = render(suite).unwrap().into_iter();
    let mut texts: Vec<(String, String)> = texts
        .map(|file| (file.name, String::from_utf8(file.bytes).unwrap()))
        .filter(|(name, _)| name != json::FILE)
        .collect();
    for (name, text) in &texts {
        // A fenced block of commands shows what is in it as it is.
        let mut fence = None;
        for line in text.lines() {
            match fence {
                Some(end) if line == end => fence = None,
                None if line.ends_with("```sh") => fence = line.strip_suffix("sh"),
                None => assert!(!line.contains("<script"), "{name} has a script: {line}"),
                Some(_) => {}
            }
        }
    }
    texts.push(("terminal".into(), terminal_summary(suite, Look::default())));
    for (name, text) in texts {
        let wild = text.chars().find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert_eq!(wild, None, "{name}");
    }
}
