//! The many shapes of a payload, and what is wrong with the ones that are poison.
//!
//! The table of poison is this module's own: it says what an order event must be, without asking the
//! pipeline.
//!
//! | payload | |
//! |---|---|
//! | an object with `order_id`, `customer_id` (text, not empty), `amount` (a number), `event_time` (RFC 3339) | good |
//! | the same in any order and spelling, with white space, line breaks and other fields of any shape | good |
//! | no value, nothing, white space, not UTF-8, a byte order mark, not JSON, cut off | poison |
//! | one of the four missing, doubled, empty, null, or of a wrong type; an instant that is none, or has no zone | poison |

use rand::{Rng, RngExt as _};
use rand_chacha::ChaCha8Rng;

/// A number of more digits than any machine word has.
const LONG_NUMBER: &str = "1234567890123456789012345.678901234567890123456789";

/// How a good payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One line, the fields in their usual order.
    Plain,
    /// The fields in another order, with spaces between.
    Shuffled,
    /// Over several lines.
    Pretty,
    /// White space and line ends around it.
    Padded,
    /// Letters beyond ASCII, and the escapes that JSON has for them.
    Foreign,
    /// Numbers that fit into no machine word.
    Numbers,
    /// Fields of fields of fields.
    Nested,
    /// As short as a good payload can be.
    Short,
    /// Names and texts with characters spelled as JSON's escapes that need none.
    Escaped,
    /// An instant with a fraction, and of another zone than UTC.
    Zoned,
    /// An amount below zero, with an exponent.
    Exponent,
    /// Deeper than many a parser goes.
    Deep,
}

impl Shape {
    const ALL: [Shape; 12] = [
        Shape::Plain,
        Shape::Shuffled,
        Shape::Pretty,
        Shape::Padded,
        Shape::Foreign,
        Shape::Numbers,
        Shape::Nested,
        Shape::Short,
        Shape::Escaped,
        Shape::Zoned,
        Shape::Exponent,
        Shape::Deep,
    ];

    /// The shape of the `n`th payload of a load that is to have them all.
    pub(super) fn of_turn(n: u64) -> Shape {
        Shape::ALL[usize::try_from(n % Shape::ALL.len() as u64).unwrap_or(0)]
    }
}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    WrongType,
    Missing,
    Cut,
    NotText,
    Empty,
    Blank,
    NoInstant,
    Doubled,
    EmptyField,
    NoObject,
    NestedField,
    ByteOrderMark,
    NumberForText,
    NoZone,
    NoSuchDay,
    TextForNumber,
    NullField,
}

impl Flaw {
    /// How many there are.
    pub(super) const COUNT: u64 = Flaw::ALL.len() as u64;

    const ALL: [Flaw; 17] = [
        Flaw::WrongType,
        Flaw::NotText,
        Flaw::Missing,
        Flaw::Cut,
        Flaw::Empty,
        Flaw::NoInstant,
        Flaw::Doubled,
        Flaw::Blank,
        Flaw::EmptyField,
        Flaw::NoObject,
        Flaw::NestedField,
        Flaw::ByteOrderMark,
        Flaw::NumberForText,
        Flaw::NoZone,
        Flaw::NoSuchDay,
        Flaw::TextForNumber,
        Flaw::NullField,
    ];

    /// The flaw of the `n`th poison payload of a load that is to have them all.
    pub(super) fn of_turn(n: u64) -> Flaw {
        Flaw::ALL[usize::try_from(n % Flaw::ALL.len() as u64).unwrap_or(0)]
    }
}

/// An order event before it is written.
#[derive(Debug, Clone)]
pub(super) struct Order {
    op: u64,
    order_id: String,
    customer_id: String,
    amount: String,
    event_time: String,
}

impl Order {
    pub(super) fn new(op: u64, order_id: &str, rng: &mut ChaCha8Rng) -> Self {
        let cents: u32 = rng.random_range(100..100_000);
        let customer: u32 = rng.random_range(0..10_000);
        Self {
            op,
            order_id: format!("\"{order_id}\""),
            customer_id: format!("\"CUST-{customer}\""),
            amount: format!("{}.{:02}", cents / 100, cents % 100),
            event_time: format!("\"2026-01-21T10:{:02}:{:02}Z\"", op / 60 % 60, op % 60),
        }
    }

    fn fields(&self) -> Vec<(&str, &str)> {
        vec![
            ("order_id", &self.order_id),
            ("customer_id", &self.customer_id),
            ("amount", &self.amount),
            ("event_time", &self.event_time),
        ]
    }

    /// The payload in a shape, filled up to a length where the shape does not forbid it.
    pub(super) fn good(&self, shape: Shape, bytes: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let op = self.op.to_string();
        let mut fields = vec![("op", op.as_str())];
        let spelled = self.spelled(shape);
        fields.extend(spelled.fields());
        if shape == Shape::Escaped {
            fields
                .iter_mut()
                .filter(|field| field.0 == "amount")
                .for_each(|f| f.0 = "am\\u006funt");
        }
        let deep = format!("{}1{}", "[{\"a\":".repeat(150), "}]".repeat(150));
        let long = LONG_NUMBER;
        let nested = format!("{}1{}", "[{\"a\":".repeat(40), "}]".repeat(40));
        match shape {
            Shape::Foreign => fields.extend([
                ("город", "\"Žlutý kůň 🐎 \u{2028}\""),
                ("escaped", r#""\ud83d\ude00 \ud800 \u0000""#),
            ]),
            Shape::Numbers => {
                fields.extend([("big", long), ("huge", "1e400"), ("tiny", "-0.0e-999")]);
            }
            Shape::Nested => {
                fields.extend([("deep", nested.as_str()), ("note", "{}"), ("note", "[]")])
            }
            Shape::Deep => fields.push(("deep", deep.as_str())),
            _ => {}
        }
        match shape {
            Shape::Plain
            | Shape::Foreign
            | Shape::Numbers
            | Shape::Nested
            | Shape::Escaped
            | Shape::Zoned
            | Shape::Exponent
            | Shape::Deep => filled(&fields, (",", ":"), bytes, rng),
            Shape::Shuffled => {
                let turn = usize::try_from(rng.next_u32()).unwrap_or(0) % fields.len();
                fields.rotate_left(turn);
                filled(&fields, (" ,\t", "  : "), bytes, rng)
            }
            Shape::Pretty => filled(&fields, (",\n  ", ": "), bytes, rng),
            Shape::Padded => {
                let inner = filled(&fields, (",\r\n", ":"), bytes.saturating_sub(6), rng);
                [b" \n", inner.as_slice(), b"\r\n\t "].concat()
            }
            Shape::Short => filled(&fields, (",", ":"), 0, rng),
        }
    }

    /// The same order with its fields as a shape spells them.
    fn spelled(&self, shape: Shape) -> Self {
        let mut spelled = self.clone();
        match shape {
            // The key is the text, not its spelling.
            Shape::Escaped => {
                spelled.order_id = self.order_id.replace('-', "\\u002d");
                let spelled_out = "\\u00e9\\u4E16\\ud83d\\ude00";
                spelled.customer_id = format!("\"C\\/\\\"{spelled_out}{}\"", self.op);
            }
            Shape::Zoned => {
                spelled.event_time = self.event_time.replace("Z\"", ".123456789+05:30\"");
            }
            Shape::Exponent => spelled.amount = format!("-{}E-2", self.amount),
            _ => {}
        }
        spelled
    }

    /// The payload with a flaw.
    pub(super) fn poison(mut self, flaw: Flaw, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let op = self.op.to_string();
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let doubled = self.order_id.clone();
        match flaw {
            // The odd spaces tell a dead letter that was decoded and encoded again from one that was not.
            Flaw::WrongType => self.amount = " \"a lot\" ".to_owned(),
            Flaw::NoInstant => self.event_time = "\"yesterday\"".to_owned(),
            Flaw::EmptyField => self.customer_id = "\"\"".to_owned(),
            Flaw::NestedField => self.amount = deep,
            Flaw::NumberForText => self.order_id = self.op.to_string(),
            Flaw::NoZone => self.event_time = self.event_time.replace('Z', ""),
            Flaw::NoSuchDay => self.event_time = "\"2026-02-30T10:00:00Z\"".to_owned(),
            Flaw::TextForNumber => self.amount = format!("\"{}\"", self.amount),
            Flaw::NullField => self.customer_id = "null".to_owned(),
            _ => {}
        }
        let mut fields = vec![("op", op.as_str())];
        fields.extend(self.fields());
        match flaw {
            Flaw::Missing => drop(fields.remove(3)),
            Flaw::Doubled => fields.push(("order_id", &doubled)),
            _ => {}
        }
        let whole = filled(&fields, (",", ":"), 0, rng);
        match flaw {
            Flaw::Cut => whole[..whole.len() - 12].to_vec(),
            Flaw::NotText => [whole.as_slice(), b"\xff\xfe\x80"].concat(),
            Flaw::Empty => Vec::new(),
            Flaw::Blank => b" \t\r\n ".to_vec(),
            Flaw::NoObject => format!("\"{op} is no order\"").into_bytes(),
            Flaw::ByteOrderMark => ["\u{feff}".as_bytes(), &whole].concat(),
            _ => whole,
        }
    }
}

/// An object of these fields, with noise in a last field so that it gets its length.
fn filled(
    fields: &[(&str, &str)],
    (between, after_name): (&str, &str),
    bytes: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<u8> {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{name}\"{after_name}{value}")).collect();
    let mut text = format!("{{{}", fields.join(between));
    let room = bytes.saturating_sub(text.len() + between.len() + after_name.len() + 11);
    if room > 0 {
        text.push_str(&format!("{between}\"filler\"{after_name}\""));
        text.extend((0..room).map(|_| char::from(rng.random_range(b'a'..=b'z'))));
        text.push('"');
    }
    text.push('}');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::workload::op_of;
    use rand::SeedableRng as _;
    use streamlake::record::{Schema, validate};

    /// The table is this module's own; that the pipeline has the same one is what it promises.
    #[test]
    fn the_pipeline_has_the_same_table() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (n, shape) in Shape::ALL.into_iter().enumerate() {
            let order = Order::new(n as u64, "ORD-1", &mut rng);
            let payload = order.good(shape, 300, &mut rng);
            let text = String::from_utf8_lossy(&payload).into_owned();
            assert!(validate(Schema::Order, Some(&payload)).is_ok(), "{shape:?}: {text}");
            assert_eq!(op_of(&payload), Some(n as u64), "{text}");
            assert_eq!(
                payload.len() == 300,
                shape != Shape::Short && payload.len() <= 300,
                "{text}"
            );
        }
        for flaw in Flaw::ALL {
            let payload = Order::new(1, "ORD-1", &mut rng).poison(flaw, &mut rng);
            let text = String::from_utf8_lossy(&payload).into_owned();
            assert!(validate(Schema::Order, Some(&payload)).is_err(), "{flaw:?}: {text}");
        }
    }
}
