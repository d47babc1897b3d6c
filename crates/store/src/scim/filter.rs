//! Filters as SQL. The tree has only attributes of the schema, whose names are ours; what somebody compares with is bound. No
//! condition is ever NULL, so that `NOT` means what it says on both engines.

use usher_identity::scim::{Attribute, Filter, Kind, Order, ResourceType, Test, TextTest};
use usher_types::ConnectorId;

use super::{ListError, Listing, key};
use crate::{
    Conn,
    conn::{Value, dynamic},
    row::{Columns as _, Row},
};

/// A statement in the making.
struct Sql {
    of: ResourceType,
    is_sqlite: bool,
    text: String,
    values: Vec<Value<'static>>,
    /// How many values of attributes that have many have names already.
    rows: usize,
}

/// Where an attribute is.
enum Column {
    /// Always there, and always this.
    Always,
    /// A flag that is true when the condition holds; always there.
    Condition(&'static str),
    /// JSON.
    Json(String),
    /// A column, whose texts are compared as they are stored.
    Stored(&'static str),
    /// A column whose texts are compared without case.
    Folded(&'static str),
    /// A column with names brought into the form of [`key`].
    Key(&'static str),
}

/// Lists what a filter asks for: `count` is a statement that counts in column `total`, `select` one that reads, both up
/// to a `WHERE` on the connector, which is `$1`.
pub(super) async fn list(
    conn: &mut Conn,
    of: ResourceType,
    connector: ConnectorId,
    listing: &Listing,
    count: &'static str,
    select: &'static str,
) -> Result<(u64, Vec<Row>), ListError> {
    let connector = connector.to_string();
    let mut condition = Sql::new(of, conn.is_sqlite(), &connector);
    if let Some(filter) = &listing.filter {
        condition.text.push_str(" AND ");
        condition.filter(filter, &From::Resource)?;
    }
    let counting = dynamic(format!("{count}{}", condition.text), condition.values.clone());
    let total = counting.fetch_one(conn).await;
    let total = total.map_err(crate::StoreError::from)?.number("total")?;
    if listing.count == 0 || total <= u64::from(listing.skip) {
        return Ok((total, Vec::new()));
    }
    let mut page = condition;
    page.order(listing)?;
    let rows = dynamic(format!("{select}{}", page.text), page.values).fetch_all(conn).await;
    Ok((total, rows.map_err(crate::StoreError::from)?))
}

/// From where a path begins.
enum From {
    /// One of the values of an attribute that has many, in this JSON.
    Json(String),
    /// A member of a group.
    Member,
    /// The resource.
    Resource,
    /// A group of a user.
    UserGroup,
}

impl Sql {
    fn new(of: ResourceType, is_sqlite: bool, connector: &str) -> Self {
        let values = vec![Value::from(connector.to_owned())];
        Self { of, is_sqlite, text: String::new(), values, rows: 0 }
    }

    /// A place for a value.
    fn bind(&mut self, value: impl Into<Value<'static>>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn filter(&mut self, filter: &Filter, from: &From) -> Result<(), ListError> {
        match filter {
            Filter::And(all) => self.joined(all, " AND ", "1 = 1", from),
            Filter::Any { attribute, filter } => self.any(attribute, filter),
            Filter::Not(filter) => {
                self.text.push_str("NOT (");
                self.filter(filter, from)?;
                self.text.push(')');
                Ok(())
            }
            Filter::Or(all) => self.joined(all, " OR ", "1 = 0", from),
            Filter::Test { path, test } => self.test(path, test, from),
        }
    }

    fn joined(&mut self, all: &[Filter], word: &str, none: &str, from: &From) -> Result<(), ListError> {
        if all.is_empty() {
            self.text.push_str(none);
            return Ok(());
        }
        self.text.push('(');
        for (index, filter) in all.iter().enumerate() {
            if index > 0 {
                self.text.push_str(word);
            }
            self.filter(filter, from)?;
        }
        self.text.push(')');
        Ok(())
    }

    /// One of an attribute's values at least matches.
    fn any(&mut self, attribute: &'static Attribute, filter: &Filter) -> Result<(), ListError> {
        let (rows, from) = match (self.of, attribute.name) {
            (ResourceType::Group, "members") => {
                ("group_members m WHERE m.group_id = s.group_id".to_owned(), From::Member)
            }
            (ResourceType::User, "groups") => (
                "group_members m JOIN groups g ON g.id = m.group_id \
                 WHERE m.user_id = s.user_id AND g.connector_id = s.connector_id"
                    .to_owned(),
                From::UserGroup,
            ),
            (ResourceType::Group | ResourceType::User, name) => {
                self.rows += 1;
                let row = format!("v{}", self.rows);
                let rows = if self.is_sqlite {
                    format!("json_each(s.attributes, '$.\"{name}\"') AS {row} WHERE 1 = 1")
                } else {
                    format!(
                        "jsonb_array_elements(s.attributes::jsonb -> '{name}') AS {row}(value) WHERE 1 = 1"
                    )
                };
                (rows, From::Json(format!("{row}.value")))
            }
        };
        self.text.push_str(&format!("EXISTS (SELECT 1 FROM {rows} AND "));
        self.filter(filter, &from)?;
        self.text.push(')');
        Ok(())
    }

    fn test(&mut self, path: &[&'static Attribute], test: &Test, from: &From) -> Result<(), ListError> {
        let Some(last) = path.last() else { return self.joined(&[], "", "1 = 0", from) };
        if path.len() == 1 && last.many && matches!(test, Test::Present) {
            return self.any(last, &Filter::And(Vec::new()));
        }
        let column = self.column(path, from)?;
        let condition = match test {
            Test::Flag(flag) => match (&column, flag) {
                (Column::Condition(condition), true) => (*condition).to_owned(),
                (Column::Condition(condition), false) => format!("NOT ({condition})"),
                (Column::Json(json), flag) => {
                    let flag =
                        if self.is_sqlite { i64::from(*flag).to_string() } else { format!("'{flag}'") };
                    format!("({json} IS NOT NULL AND {json} = {flag})")
                }
                _ => return Err(ListError::Attribute(last.name)),
            },
            Test::Present => match &column {
                Column::Always | Column::Condition(_) => "1 = 1".to_owned(),
                Column::Folded(column) | Column::Key(column) | Column::Stored(column) => {
                    format!("{column} IS NOT NULL")
                }
                Column::Json(json) => format!("{json} IS NOT NULL"),
            },
            Test::Text(test, wanted) => self.text_test(last, &column, *test, wanted)?,
            Test::Time(order, time) => {
                let Column::Stored(column) = column else { return Err(ListError::Attribute(last.name)) };
                let time = self.bind(time.as_millis());
                format!("{column} {} {time}", operator(*order))
            }
        };
        self.text.push_str(&condition);
        Ok(())
    }

    fn text_test(
        &mut self,
        attribute: &Attribute,
        column: &Column,
        test: TextTest,
        wanted: &str,
    ) -> Result<String, ListError> {
        if attribute.kind == Kind::Time {
            return Err(ListError::Attribute(attribute.name));
        }
        let (text, wanted) = match column {
            Column::Folded(column) => (format!("lower({column})"), wanted.to_ascii_lowercase()),
            Column::Json(json) if attribute.case_exact => (json.clone(), wanted.to_owned()),
            Column::Json(json) => (format!("lower({json})"), wanted.to_ascii_lowercase()),
            Column::Key(column) => ((*column).to_owned(), key(wanted)),
            Column::Stored(column) => ((*column).to_owned(), wanted.to_owned()),
            Column::Always | Column::Condition(_) => return Err(ListError::Attribute(attribute.name)),
        };
        let wanted = self.bind(wanted);
        let position = if self.is_sqlite { "instr" } else { "strpos" };
        let condition = match test {
            TextTest::Contains => format!("{position}({text}, {wanted}) > 0"),
            TextTest::Ends => format!(
                "length({text}) >= length({wanted}) \
                 AND substr({text}, length({text}) - length({wanted}) + 1) = {wanted}"
            ),
            TextTest::Order(order) => format!("{text} {} {wanted}", operator(order)),
            TextTest::Starts => format!("substr({text}, 1, length({wanted})) = {wanted}"),
        };
        Ok(format!("({text} IS NOT NULL AND {condition})"))
    }

    /// Where an attribute is kept.
    fn column(&self, path: &[&'static Attribute], from: &From) -> Result<Column, ListError> {
        let names: Vec<&str> = path.iter().map(|step| step.name).collect();
        let unknown = || ListError::Attribute(path.last().map_or("", |last| last.name));
        match (from, self.of, names.as_slice()) {
            (From::Resource, ResourceType::User, ["id"]) => Ok(Column::Stored("s.user_id")),
            (From::Resource, ResourceType::Group, ["id"]) => Ok(Column::Stored("s.group_id")),
            (From::Resource, _, ["externalId"]) => Ok(Column::Stored("s.external_id")),
            (From::Resource, ResourceType::User, ["meta", "created"]) => Ok(Column::Stored("u.created_at")),
            (From::Resource, ResourceType::Group, ["meta", "created"]) => Ok(Column::Stored("g.created_at")),
            (From::Resource, _, ["meta", "lastModified"]) => Ok(Column::Stored("s.changed_at")),
            (From::Resource, _, ["meta"]) => Ok(Column::Always),
            (From::Resource, _, ["meta", _]) => Err(unknown()),
            (From::Resource, ResourceType::User, ["userName"]) => Ok(Column::Key("s.user_name_key")),
            // The state of now, whoever made it so.
            (From::Resource, ResourceType::User, ["active"]) => Ok(Column::Condition("u.status = 'active'")),
            (From::Resource, ResourceType::User, _) => Ok(Column::Json(self.json("s.attributes", &names))),
            (From::Resource, ResourceType::Group, ["displayName"]) => Ok(Column::Folded("g.display_name")),
            (From::Member, _, ["value"]) => Ok(Column::Stored("m.user_id")),
            (From::UserGroup, _, ["value"]) => Ok(Column::Stored("m.group_id")),
            (From::UserGroup, _, ["display"]) => Ok(Column::Folded("g.display_name")),
            (From::Json(json), _, _) => Ok(Column::Json(self.json(json, &names))),
            (From::Member | From::Resource | From::UserGroup, _, _) => Err(unknown()),
        }
    }

    fn json(&self, json: &str, names: &[&str]) -> String {
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        if self.is_sqlite {
            format!("json_extract({json}, '$.{}')", quoted.join("."))
        } else {
            format!("(({json}::jsonb #>> '{{{}}}') COLLATE \"C\")", quoted.join(","))
        }
    }

    /// What has no value stands behind what has one.
    fn order(&mut self, listing: &Listing) -> Result<(), ListError> {
        let id = match self.of {
            ResourceType::Group => "s.group_id",
            ResourceType::User => "s.user_id",
        };
        let direction = if listing.descending { "DESC" } else { "ASC" };
        self.text.push_str(" ORDER BY ");
        if let Some(path) = &listing.sort_by {
            let by = self.sorting(path)?;
            self.text.push_str(&format!("({by} IS NULL) {direction}, {by} {direction}, "));
        }
        let (count, skip) = (self.bind(i64::from(listing.count)), self.bind(i64::from(listing.skip)));
        self.text.push_str(&format!("{id} {direction} LIMIT {count} OFFSET {skip}"));
        Ok(())
    }

    fn sorting(&self, path: &[&'static Attribute]) -> Result<String, ListError> {
        let last = path.last().map_or("", |last| last.name);
        // RFC 7644 section 3.4.2.3: by the primary value, or the first.
        let (path, many) = match path {
            [first, further @ ..] if first.many => {
                let value = further.first().copied().or_else(|| first.part("value"));
                (vec![value.ok_or(ListError::Attribute(last))?], Some(*first))
            }
            _ => (path.to_vec(), None),
        };
        if path.last().is_some_and(|last| last.kind == Kind::Complex) {
            return Err(ListError::Attribute(last));
        }
        if let Some(many) = many {
            if self.of == ResourceType::Group || many.name == "groups" {
                return Err(ListError::Attribute(many.name));
            }
            return Ok(self.first_value(many, &path));
        }
        match self.column(&path, &From::Resource)? {
            Column::Condition(condition) => Ok(format!("CASE WHEN {condition} THEN 1 ELSE 0 END")),
            Column::Folded(column) => Ok(format!("lower({column})")),
            Column::Json(json) => Ok(format!("lower({json})")),
            Column::Key(column) | Column::Stored(column) => Ok(column.to_owned()),
            Column::Always => Err(ListError::Attribute(last)),
        }
    }

    fn first_value(&self, many: &Attribute, part: &[&'static Attribute]) -> String {
        let names: Vec<&str> = part.iter().map(|step| step.name).collect();
        let (value, primary) = (self.json("v.value", &names), self.json("v.value", &["primary"]));
        let name = many.name;
        if self.is_sqlite {
            format!(
                "(SELECT lower({value}) FROM json_each(s.attributes, '$.\"{name}\"') AS v \
                 ORDER BY CASE WHEN {primary} = 1 THEN 0 ELSE 1 END, v.key LIMIT 1)"
            )
        } else {
            format!(
                "(SELECT lower({value}) FROM jsonb_array_elements(s.attributes::jsonb -> '{name}') \
                 WITH ORDINALITY AS v(value, key) \
                 ORDER BY CASE WHEN {primary} = 'true' THEN 0 ELSE 1 END, v.key LIMIT 1)"
            )
        }
    }
}

fn operator(order: Order) -> &'static str {
    match order {
        Order::Equal => "=",
        Order::Greater => ">",
        Order::GreaterOrEqual => ">=",
        Order::Less => "<",
        Order::LessOrEqual => "<=",
    }
}
