//! The report as markdown for GitHub: one file, pictures beside it.

use super::document::{Block, Document, Span, Text};
use super::{ReportError, ReportFile, SuiteReport, content, escape};
use streamlake_judge::verdict::Status;

/// Name of the report to read.
pub(super) const FILE: &str = "kafka-delivery-report.md";

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    Ok(vec![ReportFile::text(FILE, render(&content::report(suite)))])
}

/// The two files of a trial: its JSON, and a page about it beside that.
pub(super) fn beside(name: &str, json: Vec<u8>, document: &Document) -> Vec<ReportFile> {
    vec![
        ReportFile { name: format!("{name}.json"), bytes: json },
        ReportFile::text(&format!("{name}.md"), render(document)),
    ]
}

/// Renders a document.
pub(super) fn render(document: &Document) -> String {
    let mut out = String::new();
    blocks(&document.0, &mut out);
    out
}

fn blocks(blocks: &[Block], out: &mut String) {
    for block in blocks {
        if !out.is_empty() {
            out.push('\n');
        }
        self::block(block, out);
    }
}

fn block(block: &Block, out: &mut String) {
    match block {
        Block::Heading { level, text, anchor } => {
            // GitHub's own anchors depend on the words; ours do not.
            if *level > 1 {
                out.push_str(&format!("<a id=\"{anchor}\"></a>\n\n"));
            }
            out.push_str(&format!("{} {}\n", "#".repeat(usize::from(*level)), line(text)));
        }
        Block::Paragraph(text) => out.push_str(&format!("{}\n", line(text))),
        Block::List { numbered, items } => {
            for (position, item) in items.iter().enumerate() {
                let text = line(&item.text);
                let below = match numbered {
                    true => {
                        out.push_str(&format!("{}. {text}\n", position + 1));
                        "   - "
                    }
                    false => {
                        out.push_str(&format!("- {text}\n"));
                        "  - "
                    }
                };
                for text in &item.below {
                    out.push_str(&format!("{below}{}\n", line(text)));
                }
            }
        }
        Block::Table { head, rows, figures_from } => {
            row(head, out);
            out.push('|');
            for column in 0..head.len() {
                out.push_str(if column >= *figures_from { " ---: |" } else { " --- |" });
            }
            out.push('\n');
            rows.iter().for_each(|cells| row(cells, out));
        }
        Block::Picture { file, alt, .. } => {
            out.push_str(&format!("![{}]({})\n", escape::markdown(alt), escape::link(file)));
        }
        Block::Shell(lines) => out.push_str(&escape::markdown_block("sh", lines)),
        Block::Fold { summary, blocks } => {
            // GitHub reads markdown within HTML only after an empty line.
            out.push_str(&format!("<details>\n<summary>{}</summary>\n", html_line(summary)));
            self::blocks(blocks, out);
            out.push_str("\n</details>\n");
        }
    }
}

fn row(cells: &[Text], out: &mut String) {
    out.push('|');
    for cell in cells {
        out.push_str(&format!(" {} |", line(cell)));
    }
    out.push('\n');
}

fn line(text: &Text) -> String {
    let spans: String = text.0.iter().map(span).collect();
    spans.trim().to_owned()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) => escape::markdown(text),
        Span::Strong(text) => {
            let escaped = escape::markdown(text);
            match escaped.trim() {
                // Two pairs of asterisks around nothing are a line across the page.
                "" => String::new(),
                // Asterisks beside a space mark nothing, and without it the words stick together.
                words => {
                    let before = if escaped.starts_with(' ') { " " } else { "" };
                    let after = if escaped.ends_with(' ') { " " } else { "" };
                    format!("{before}**{words}**{after}")
                }
            }
        }
        Span::Code(text) => escape::markdown_code(text),
        Span::Status(status) => format!("{} {}", mark(*status), status.word()),
        Span::Link { text, to } => {
            format!("[{}]({})", escape::markdown(text), escape::link(to))
        }
    }
}

/// Within `<summary>` GitHub reads HTML only.
fn html_line(text: &Text) -> String {
    let spans = text.0.iter().map(|span| match span {
        Span::Plain(text) | Span::Strong(text) | Span::Code(text) => escape::html(text),
        Span::Link { text, .. } => escape::html(text),
        Span::Status(status) => format!("{} {}", mark(*status), status.word()),
    });
    spans.collect()
}

/// The sign beside a verdict's word; never instead of it.
pub(super) fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "✅",
        Status::Fail => "❌",
        Status::Inconclusive => "⚠",
        Status::NotApplicable => "➖",
    }
}
