//! What a filter asks for, as a tree over attributes that exist. Text is parsed elsewhere; how a database answers is not
//! known here.

use serde_json::{Map, Value};
use usher_types::UnixTime;

use super::schema::Attribute;

/// A filter (RFC 7644 section 3.4.2.2). `ne` is a negated `eq`, and `eq null` a negated `pr`: the tree has neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of them match; true of none.
    And(Vec<Self>),
    /// One value at least of an attribute that has many matches. Paths inside begin at the value.
    Any {
        /// The attribute.
        attribute: &'static Attribute,
        /// What the value must match.
        filter: Box<Self>,
    },
    /// It does not match.
    Not(Box<Self>),
    /// One of them matches; false of none.
    Or(Vec<Self>),
    /// An attribute passes a test.
    Test {
        /// Where it is: from the resource, or inside [`Any`](Self::Any) from the value, inwards. Never crosses an attribute that
        /// has many values, and ends with one only to test whether there are any.
        path: Vec<&'static Attribute>,
        /// The test.
        test: Test,
    },
}

/// What is asked of one attribute. An attribute that is absent passes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is this flag.
    Flag(bool),
    /// It is there.
    Present,
    /// It compares like this with a text.
    Text(TextTest, String),
    /// It is before, at or after a time.
    Time(Order, UnixTime),
}

/// How texts compare; in lower case, unless the attribute says that case matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextTest {
    /// `co`.
    Contains,
    /// `ew`.
    Ends,
    /// `eq`, `gt`, `ge`, `lt`, `le`.
    Order(Order),
    /// `sw`.
    Starts,
}

/// An order or equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The same.
    Equal,
    /// Behind.
    Greater,
    /// Behind, or the same.
    GreaterOrEqual,
    /// Before.
    Less,
    /// Before, or the same.
    LessOrEqual,
}

impl Order {
    fn holds<T: Ord + ?Sized>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}

impl Filter {
    /// Whether attributes match. Only what is written in them is known here: id, times and groups are the database's.
    #[must_use]
    pub fn matches(&self, of: &Map<String, Value>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(of)),
            Self::Any { attribute, filter } => {
                of.get(attribute.name).and_then(Value::as_array).is_some_and(|values| {
                    values.iter().filter_map(Value::as_object).any(|value| filter.matches(value))
                })
            }
            Self::Not(filter) => !filter.matches(of),
            Self::Or(all) => all.iter().any(|filter| filter.matches(of)),
            Self::Test { path, test } => {
                let Some((last, before)) = path.split_last() else { return false };
                let inner = before.iter().try_fold(of, |of, step| of.get(step.name)?.as_object());
                inner.and_then(|of| of.get(last.name)).is_some_and(|value| test.passes(last, value))
            }
        }
    }

    /// How many tests it has.
    #[must_use]
    pub fn terms(&self) -> usize {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().map(Self::terms).fold(0, usize::saturating_add),
            Self::Any { filter, .. } | Self::Not(filter) => filter.terms(),
            Self::Test { .. } => 1,
        }
    }
}

impl Test {
    fn passes(&self, attribute: &Attribute, value: &Value) -> bool {
        match self {
            Self::Flag(flag) => value.as_bool() == Some(*flag),
            Self::Present => true,
            Self::Text(test, wanted) => value.as_str().is_some_and(|text| {
                if attribute.case_exact {
                    test.passes(text, wanted)
                } else {
                    test.passes(&text.to_ascii_lowercase(), &wanted.to_ascii_lowercase())
                }
            }),
            // Times are kept beside the attributes, not in them.
            Self::Time(..) => false,
        }
    }
}

impl TextTest {
    fn passes(self, text: &str, wanted: &str) -> bool {
        match self {
            Self::Contains => text.contains(wanted),
            Self::Ends => text.ends_with(wanted),
            Self::Order(order) => order.holds(text, wanted),
            Self::Starts => text.starts_with(wanted),
        }
    }
}
