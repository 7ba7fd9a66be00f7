//! The report as one page: everything in it, nothing fetched, no script.

use super::document::{Block, Document, Item, Span, Text};
use super::svg::{self, STYLE as PICTURES};
use super::{ReportError, ReportFile, SuiteReport, content, escape};
use streamlake_judge::verdict::Status;

/// Name of the page.
pub const FILE: &str = "kafka-delivery-report.html";
const STYLE: &str = include_str!("html.css");

pub(super) fn write(suite: &SuiteReport) -> Result<Vec<ReportFile>, ReportError> {
    Ok(vec![ReportFile::text(FILE, page(&content::report(suite)))])
}

/// The page of a document. Should data ever come through as markup after all, the policy keeps it
/// from running or fetching anything.
fn page(document: &Document) -> String {
    let mut body = String::new();
    document.0.iter().for_each(|block| self::block(block, &mut body));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Kafka Delivery Guarantees Report</title>\n<style>\n{STYLE}</style>\n{PICTURES}</head>\n<body>\n\
         <main>\n{body}</main>\n{}</body>\n</html>\n",
        contents(document)
    )
}

/// Links to all chapters and sections. They come last, so that a narrow screen begins with the verdict;
/// a wide one shows them beside it.
fn contents(document: &Document) -> String {
    let mut list = String::from("<nav id=\"contents\" aria-label=\"Contents\">\n<ul>\n");
    for block in &document.0 {
        if let Block::Heading { level: level @ 2..=3, text, anchor } = block {
            let text = words(text);
            list.push_str(&format!(
                "<li class=\"l{level}\"><a href=\"#{anchor}\">{text}</a></li>\n"
            ));
        }
    }
    list.push_str("</ul>\n</nav>\n");
    list
}

fn block(block: &Block, out: &mut String) {
    match block {
        Block::Heading { level, text, anchor } => {
            out.push_str(&format!("<h{level} id=\"{anchor}\">{}</h{level}>\n", line(text)));
            if *level == 1 {
                out.push_str("<p class=\"jump\"><a href=\"#contents\">Contents</a></p>\n");
            }
        }
        Block::Paragraph(text) => out.push_str(&format!("<p>{}</p>\n", line(text))),
        Block::List { numbered, items } => {
            let tag = if *numbered { "ol" } else { "ul" };
            let items: String = items.iter().map(item).collect();
            out.push_str(&format!("<{tag}>\n{items}</{tag}>\n"));
        }
        Block::Table { head, rows, figures_from } => table(head, rows, *figures_from, out),
        Block::Picture { svg, .. } => {
            let svg = svg.replacen(svg::STYLE, "", 1);
            out.push_str(&format!("<figure>\n{svg}</figure>\n"));
        }
        Block::Shell(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| escape::html(line)).collect();
            out.push_str(&format!("<pre><code>{}</code></pre>\n", lines.join("\n")));
        }
        Block::Fold { summary, blocks } => {
            out.push_str(&format!("<details>\n<summary>{}</summary>\n", line(summary)));
            blocks.iter().for_each(|block| self::block(block, out));
            out.push_str("</details>\n");
        }
    }
}

fn item(item: &Item) -> String {
    let below: String =
        item.below.iter().map(|text| format!("<li>{}</li>\n", line(text))).collect();
    match below.is_empty() {
        true => format!("<li>{}</li>\n", line(&item.text)),
        false => format!("<li>{}\n<ul>\n{below}</ul>\n</li>\n", line(&item.text)),
    }
}

fn table(head: &[Text], rows: &[Vec<Text>], figures_from: usize, out: &mut String) {
    let class = |column: usize| if column >= figures_from { " class=\"figure\"" } else { "" };
    out.push_str("<div class=\"table\"><table>\n<thead><tr>");
    for (column, text) in head.iter().enumerate() {
        out.push_str(&format!("<th scope=\"col\"{}>{}</th>", class(column), line(text)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, text) in row.iter().enumerate() {
            out.push_str(&format!("<td{}>{}</td>", class(column), line(text)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
}

fn line(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

/// The words alone, for use within a link.
fn words(text: &Text) -> String {
    let words = text.0.iter().map(|span| match span {
        Span::Plain(text) | Span::Strong(text) | Span::Code(text) => escape::html(text),
        Span::Link { text, .. } => escape::html(text),
        Span::Status(status) => status.word().to_owned(),
    });
    words.collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) => escape::html(text),
        Span::Strong(text) => format!("<strong>{}</strong>", escape::html(text)),
        Span::Code(text) => format!("<code>{}</code>", breakable(&escape::html(text))),
        Span::Status(status) => {
            format!("<span class=\"status {}\">{}</span>", class(*status), status.word())
        }
        Span::Link { text, to } => {
            format!("<a href=\"{}\">{}</a>", escape::link(to), escape::html(text))
        }
    }
}

/// Lets names like `max.in.flight.requests.per.connection` break where a reader would break them.
fn breakable(escaped: &str) -> String {
    escaped.replace('.', ".<wbr>").replace('=', "=<wbr>").replace('_', "_<wbr>")
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::Inconclusive => "doubt",
        Status::NotApplicable => "none",
    }
}
