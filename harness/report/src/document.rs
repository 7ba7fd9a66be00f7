//! A report as a tree of headings, paragraphs and tables, before it has a format.
//!
//! Text that comes from outside enters through [`Text::data`] or [`Text::code`] and stays text:
//! only renderers write markup, and they escape every span. Prose of our own may mark code and
//! weight, and must be a literal, so that no data can reach that notation.

use streamlake_judge::verdict::Status;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// A heading; 1 is the document's title.
    Heading { level: u8, text: Text, anchor: String },
    /// A paragraph.
    Paragraph(Text),
    /// A list, numbered or not.
    List { numbered: bool, items: Vec<Item> },
    /// A table; each row has as many cells as the head.
    Table { head: Vec<Text>, rows: Vec<Vec<Text>>, figures_from: usize },
    /// A picture: a file beside the report, or drawn where it stands.
    Picture { file: String, svg: String, alt: String },
    /// Commands to copy.
    Shell(Vec<String>),
    /// Blocks that are folded away at first.
    Fold { summary: Text, blocks: Vec<Block> },
}

/// An item of a list, with the items below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Item {
    pub(super) text: Text,
    pub(super) below: Vec<Text>,
}

impl From<Text> for Item {
    fn from(text: Text) -> Self {
        Self { text, below: Vec::new() }
    }
}

/// A run of text within a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Span {
    Plain(String),
    Strong(String),
    Code(String),
    Status(Status),
    Link { text: String, to: String },
}

/// Text with a little emphasis.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Text(pub(super) Vec<Span>);

impl Text {
    /// Our own words: `` `code` `` and `**weight**` are marked as in markdown.
    pub(super) fn prose(words: &'static str) -> Self {
        Self::default().prose_too(words)
    }

    /// Text from outside, or with figures in it: never read for marks.
    pub(super) fn data(text: impl Into<String>) -> Self {
        Self(vec![Span::Plain(text.into())])
    }

    /// A sentence of a checker: what it puts between backticks is code. Data in it can at most become
    /// code too, and stays text.
    pub(super) fn told(text: &str) -> Self {
        if text.matches('`').count() % 2 == 1 {
            return Self::data(text);
        }
        let pieces = text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty());
        Self(
            pieces
                .map(|(position, piece)| match position % 2 {
                    0 => Span::Plain(piece.to_owned()),
                    _ => Span::Code(piece.to_owned()),
                })
                .collect(),
        )
    }

    pub(super) fn code(text: impl Into<String>) -> Self {
        Self(vec![Span::Code(text.into())])
    }

    pub(super) fn strong(text: impl Into<String>) -> Self {
        Self(vec![Span::Strong(text.into())])
    }

    pub(super) fn status(status: Status) -> Self {
        Self(vec![Span::Status(status)])
    }

    /// A link to a file beside the report, or to an anchor in it.
    pub(super) fn link(text: impl Into<String>, to: impl Into<String>) -> Self {
        Self(vec![Span::Link { text: text.into(), to: to.into() }])
    }

    /// Adds our own words.
    pub(super) fn prose_too(mut self, words: &'static str) -> Self {
        for (position, piece) in words.split('`').enumerate() {
            if position % 2 == 1 {
                self.0.push(Span::Code(piece.to_owned()));
                continue;
            }
            for (position, piece) in piece.split("**").enumerate() {
                if piece.is_empty() {
                    continue;
                }
                self.0.push(match position % 2 {
                    0 => Span::Plain(piece.to_owned()),
                    _ => Span::Strong(piece.to_owned()),
                });
            }
        }
        self
    }

    /// Adds text from outside, or with figures in it.
    pub(super) fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Plain(text.into()));
        self
    }

    /// Where what a page tells of was run, and by which harness, if that is known.
    pub(super) fn origin(testbed: &str, commit: &str) -> Self {
        let origin = Text::prose("Testbed ").code_too(testbed);
        match commit {
            "" => origin,
            commit => origin.and(", commit ").code_too(commit),
        }
    }

    pub(super) fn code_too(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    pub(super) fn then(mut self, other: Text) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Puts texts in a row.
    pub(super) fn join(texts: impl IntoIterator<Item = Text>, between: &'static str) -> Self {
        let mut all = Self::default();
        for text in texts {
            if !all.0.is_empty() {
                all.0.push(Span::Plain(between.to_owned()));
            }
            all.0.extend(text.0);
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&'static str> for Text {
    fn from(words: &'static str) -> Self {
        Self::prose(words)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::data(text)
    }
}

/// A document under construction.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document(pub(super) Vec<Block>);

impl Document {
    pub(super) fn heading(&mut self, level: u8, text: impl Into<Text>, anchor: &str) {
        let anchor = super::escape::slug(anchor);
        self.0.push(Block::Heading { level, text: text.into(), anchor });
    }

    pub(super) fn paragraph(&mut self, text: impl Into<Text>) {
        self.0.push(Block::Paragraph(text.into()));
    }

    /// A list; nothing where there are no items.
    pub(super) fn list(&mut self, items: Vec<Text>) {
        if !items.is_empty() {
            self.nested(items.into_iter().map(Item::from).collect());
        }
    }

    /// A list whose items have items below them; nothing where there are none.
    pub(super) fn nested(&mut self, items: Vec<Item>) {
        if !items.is_empty() {
            self.0.push(Block::List { numbered: false, items });
        }
    }

    /// A numbered list; nothing where there are no items.
    pub(super) fn numbered(&mut self, items: Vec<Text>) {
        if !items.is_empty() {
            let items = items.into_iter().map(Item::from).collect();
            self.0.push(Block::List { numbered: true, items });
        }
    }

    /// A table whose columns from `figures_from` on hold figures; nothing where there are no rows.
    pub(super) fn table(
        &mut self,
        head: &[&'static str],
        figures_from: usize,
        rows: Vec<Vec<Text>>,
    ) {
        if rows.is_empty() {
            return;
        }
        debug_assert!(rows.iter().all(|row| row.len() == head.len()), "cells of {head:?}");
        let head = head.iter().map(|&words| Text::prose(words)).collect();
        self.0.push(Block::Table { head, rows, figures_from });
    }

    pub(super) fn picture(&mut self, file: &str, svg: String, alt: String) {
        self.0.push(Block::Picture { file: file.to_owned(), svg, alt });
    }

    pub(super) fn shell(&mut self, lines: Vec<String>) {
        self.0.push(Block::Shell(lines));
    }

    pub(super) fn fold(&mut self, summary: impl Into<Text>, inner: Document) {
        if !inner.0.is_empty() {
            self.0.push(Block::Fold { summary: summary.into(), blocks: inner.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_marks_code_and_weight() {
        assert_eq!(
            Text::prose("a `b|c` **d** e").0,
            vec![
                Span::Plain("a ".into()),
                Span::Code("b|c".into()),
                Span::Plain(" ".into()),
                Span::Strong("d".into()),
                Span::Plain(" e".into()),
            ]
        );
    }

    #[test]
    fn what_a_checker_puts_between_backticks_is_code() {
        let told = Text::told("lost to group `g`, **really**");
        let code = Span::Code("g".into());
        assert_eq!(
            told.0,
            vec![Span::Plain("lost to group ".into()), code, Span::Plain(", **really**".into())]
        );
        assert_eq!(Text::told("an odd ` one").0, vec![Span::Plain("an odd ` one".into())]);
    }

    #[test]
    fn data_is_never_read_for_marks() {
        assert_eq!(Text::data("`x` **y**").0, vec![Span::Plain("`x` **y**".into())]);
    }
}
