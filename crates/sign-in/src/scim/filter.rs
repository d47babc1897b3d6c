//! Filters (RFC 7644 section 3.4.2.2): `scim_v2` reads the grammar, here attributes are looked up and comparisons checked.

use scim_v2::filter::{AttrExp, AttrPath, CompValue, CompareOp, Filter as Parsed, ValFilter};
use thiserror::Error;
use usher_identity::scim::{Attribute, Filter, Kind, Order, ResourceType, Test, TextTest};
use usher_types::UnixTime;

use super::{MAX_DEPTH, MAX_TERMS, MAX_TEXT, PathError, resolve, shown};

/// Why a filter is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// The attribute cannot be compared like this.
    #[error("`{0}` cannot be compared like this")]
    Comparison(String),
    /// It is not the text of a filter.
    #[error("this is not a filter")]
    Form,
    /// It compares what there is not.
    #[error("the filter cannot be understood")]
    Path(#[source] PathError),
    /// It is too long, too deep, or has too many parts.
    #[error(
        "the filter is too long or too deep: at most {MAX_TEXT} bytes, {MAX_TERMS} comparisons, {MAX_DEPTH} levels"
    )]
    TooMany,
}

/// Reads a filter over users or groups.
///
/// # Errors
/// [`FilterError`].
pub fn parse_filter(of: ResourceType, text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_TEXT {
        return Err(FilterError::TooMany);
    }
    let parsed: Parsed = text.parse().map_err(|_error| FilterError::Form)?;
    let filter = whole(of, &parsed, MAX_DEPTH)?;
    if filter.terms() > MAX_TERMS { Err(FilterError::TooMany) } else { Ok(filter) }
}

fn whole(of: ResourceType, parsed: &Parsed, depth: usize) -> Result<Filter, FilterError> {
    let deeper = depth.checked_sub(1).ok_or(FilterError::TooMany)?;
    let each = |all: &[Parsed]| -> Result<Vec<Filter>, FilterError> {
        all.iter().map(|part| whole(of, part, deeper)).collect()
    };
    match parsed {
        Parsed::And(all) => Ok(Filter::And(each(all)?)),
        Parsed::Attr(expression) => {
            attribute_test(expression, |path| resolve(of, path).map_err(FilterError::Path))
        }
        Parsed::Not(inner) => Ok(Filter::Not(Box::new(whole(of, inner, deeper)?))),
        Parsed::Or(all) => Ok(Filter::Or(each(all)?)),
        Parsed::ValuePath(path) => {
            let steps = resolve(of, &path.attr).map_err(FilterError::Path)?;
            let attribute = many(&steps)?;
            Ok(Filter::Any { attribute, filter: Box::new(of_value(attribute, &path.filter, deeper)?) })
        }
    }
}

/// The attribute that steps lead to, when it is one with many values.
pub(super) fn many(steps: &[&'static Attribute]) -> Result<&'static Attribute, FilterError> {
    match steps {
        [attribute] if attribute.many => Ok(attribute),
        _ => Err(FilterError::Path(PathError::NotMany(steps.last().map_or("", |last| last.name)))),
    }
}

/// What stands in brackets behind an attribute with many values.
pub(super) fn of_value(
    attribute: &'static Attribute,
    parsed: &ValFilter,
    depth: usize,
) -> Result<Filter, FilterError> {
    let deeper = depth.checked_sub(1).ok_or(FilterError::TooMany)?;
    let each = |all: &[ValFilter]| -> Result<Vec<Filter>, FilterError> {
        all.iter().map(|part| of_value(attribute, part, deeper)).collect()
    };
    match parsed {
        ValFilter::And(all) => Ok(Filter::And(each(all)?)),
        ValFilter::Attr(expression) => attribute_test(expression, |path| {
            let part = attribute.part(&path.name).filter(|_| path.uri.is_none() && path.sub_attr.is_none());
            let unknown = || FilterError::Path(PathError::Unknown(shown(&path.to_string())));
            part.map(|part| vec![part]).ok_or_else(unknown)
        }),
        ValFilter::Not(inner) => Ok(Filter::Not(Box::new(of_value(attribute, inner, deeper)?))),
        ValFilter::Or(all) => Ok(Filter::Or(each(all)?)),
    }
}

fn attribute_test(
    expression: &AttrExp,
    steps: impl Fn(&AttrPath) -> Result<Vec<&'static Attribute>, FilterError>,
) -> Result<Filter, FilterError> {
    match expression {
        AttrExp::Comparison(path, operator, value) => comparison(steps(path)?, operator, value),
        AttrExp::Present(path) => Ok(present(steps(path)?)),
    }
}

fn present(path: Vec<&'static Attribute>) -> Filter {
    through_many(path, |path| Filter::Test { path, test: Test::Present })
}

/// A test behind an attribute with many values is one of any of them.
fn through_many(
    path: Vec<&'static Attribute>,
    test: impl FnOnce(Vec<&'static Attribute>) -> Filter,
) -> Filter {
    match path.split_first() {
        Some((first, further)) if first.many && !further.is_empty() => {
            Filter::Any { attribute: first, filter: Box::new(test(further.to_vec())) }
        }
        _ => test(path),
    }
}

fn comparison(
    mut path: Vec<&'static Attribute>,
    operator: &CompareOp,
    value: &CompValue,
) -> Result<Filter, FilterError> {
    let negated = |filter| Filter::Not(Box::new(filter));
    match (operator, value) {
        (CompareOp::Eq, CompValue::Null) => return Ok(negated(present(path))),
        (CompareOp::Ne, CompValue::Null) => return Ok(present(path)),
        _ => {}
    }
    // A complex attribute stands for its value: `emails co "@example.com"`.
    if let Some(value) =
        path.last().filter(|last| last.kind == Kind::Complex).and_then(|last| last.part("value"))
    {
        path.push(value);
    }
    let last = *path.last().ok_or(FilterError::Form)?;
    let equal = if matches!(operator, CompareOp::Ne) { &CompareOp::Eq } else { operator };
    let test = test(last, equal, value)?;
    Ok(through_many(path, |path| {
        let filter = Filter::Test { path, test };
        if matches!(operator, CompareOp::Ne) { negated(filter) } else { filter }
    }))
}

fn test(attribute: &Attribute, operator: &CompareOp, value: &CompValue) -> Result<Test, FilterError> {
    let wrong = || FilterError::Comparison(attribute.name.to_owned());
    match attribute.kind {
        Kind::Complex => Err(wrong()),
        Kind::Flag => {
            let flag = match value {
                CompValue::False => false,
                CompValue::Str(text) if text.eq_ignore_ascii_case("false") => false,
                CompValue::Str(text) if text.eq_ignore_ascii_case("true") => true,
                CompValue::True => true,
                CompValue::Null | CompValue::Number(_) | CompValue::Str(_) => return Err(wrong()),
            };
            if *operator == CompareOp::Eq { Ok(Test::Flag(flag)) } else { Err(wrong()) }
        }
        Kind::Reference | Kind::Text => {
            let CompValue::Str(text) = value else { return Err(wrong()) };
            // No text that is kept has one, and PostgreSQL takes none.
            if text.contains('\0') {
                return Err(wrong());
            }
            let test = match operator {
                CompareOp::Co => TextTest::Contains,
                CompareOp::Ew => TextTest::Ends,
                CompareOp::Sw => TextTest::Starts,
                other => TextTest::Order(order(other).ok_or_else(wrong)?),
            };
            Ok(Test::Text(test, text.clone()))
        }
        Kind::Time => {
            let CompValue::Str(text) = value else { return Err(wrong()) };
            let time: UnixTime = text.parse().map_err(|_error| wrong())?;
            Ok(Test::Time(order(operator).ok_or_else(wrong)?, time))
        }
    }
}

fn order(operator: &CompareOp) -> Option<Order> {
    match operator {
        CompareOp::Eq => Some(Order::Equal),
        CompareOp::Ge => Some(Order::GreaterOrEqual),
        CompareOp::Gt => Some(Order::Greater),
        CompareOp::Le => Some(Order::LessOrEqual),
        CompareOp::Lt => Some(Order::Less),
        CompareOp::Co | CompareOp::Ew | CompareOp::Ne | CompareOp::Sw => None,
    }
}
