//! Many rows in one `INSERT`: a statement of its own for each would cost more than its row. What the rows are is not
//! known here.

use std::sync::OnceLock;

use crate::{
    Conn, StoreError,
    conn::{Value, query},
};

/// Most rows of one statement, as a power of two.
const LARGEST: u32 = 7;

/// An `INSERT` of one row, `... VALUES ($1, $2) ...`, that is to write many.
///
/// There is a text for each power of two, so that few are ever prepared.
pub(crate) struct Bulk {
    one: &'static str,
    sqlite: OnceLock<Vec<String>>,
    postgres: OnceLock<Vec<String>>,
}

impl Bulk {
    pub(crate) const fn of(one: &'static str) -> Self {
        Self { one, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// Inserts rows in their order; `rows` has the values of one after the other. Answers how many rows were written.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub(crate) async fn insert<'q>(
        &'static self,
        conn: &mut Conn,
        rows: impl IntoIterator<Item = Value<'q>>,
    ) -> Result<u64, StoreError> {
        let texts = if conn.is_sqlite() {
            // Numbers are names to SQLite, and it looks for each among all. A row that is wrong ends the transaction:
            // SQLite need not keep the means to undo the rows before it alone.
            let one = || self.one.replacen("INSERT", "INSERT OR FAIL", 1);
            self.sqlite.get_or_init(|| texts(&one(), |_number| "?".to_owned()))
        } else {
            self.postgres.get_or_init(|| texts(self.one, |number| format!("${number}")))
        };
        let width = self.one.matches('$').count();
        let mut rows: Vec<_> = rows.into_iter().collect();
        let mut written = 0;
        while let Some(power) = rows.len().checked_div(width).and_then(usize::checked_ilog2) {
            let power = power.min(LARGEST);
            let Some(text) = usize::try_from(power).ok().and_then(|power| texts.get(power)) else { break };
            let behind = rows.split_off(width << power);
            let all = rows.into_iter().fold(query(text), |query, value| query.bind(value));
            written += all.execute(conn).await?.rows_affected();
            rows = behind;
        }
        Ok(written)
    }
}

/// `one` for 1, 2, 4 and more rows; `name` says how its n-th value is written.
fn texts(one: &str, name: impl Fn(usize) -> String) -> Vec<String> {
    let (start, rest) = one.split_once("VALUES (").unwrap_or((one, ""));
    let (row, end) = rest.split_once(')').unwrap_or((rest, ""));
    let columns: Vec<&str> = row.split(',').map(str::trim).collect();
    let statement = |power| {
        let mut number = 0_usize;
        let mut row = |_| {
            let written = columns.iter().map(|column| {
                if !column.starts_with('$') {
                    return (*column).to_owned();
                }
                number = number.saturating_add(1);
                name(number)
            });
            format!("({})", written.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<_> = (0..1_usize << power).map(&mut row).collect();
        format!("{start}VALUES {}{end}", rows.join(", "))
    };
    (0..=LARGEST).map(statement).collect()
}
