//! Enrollment tokens as administrators see them. Redeeming one belongs to `servers`.

use usher_enrollment::TokenTerms;
use usher_types::{Label, ProjectSlug, TokenId, UnixTime, UserId, UserName};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements, to_json},
    servers::{read_placement, role_text},
};

statements! {
    BY_ID = "SELECT t.id, t.project_id, p.slug, t.description, t.secret_hash, t.created_by, t.created_by_name, t.created_at,
        t.expires_at, t.max_uses, t.uses, t.role, t.bastion_group, t.via, t.labels, t.name_pattern, t.cidr, t.revoked_at
        FROM enrollment_tokens t JOIN projects p ON p.id = t.project_id WHERE t.id = $1";
    LIST = "SELECT t.id, t.project_id, p.slug, t.description, t.secret_hash, t.created_by, t.created_by_name, t.created_at,
        t.expires_at, t.max_uses, t.uses, t.role, t.bastion_group, t.via, t.labels, t.name_pattern, t.cidr, t.revoked_at
        FROM enrollment_tokens t JOIN projects p ON p.id = t.project_id ORDER BY t.created_at, t.id";
    CREATE = "INSERT INTO enrollment_tokens (id, project_id, description, secret_hash, created_by, created_by_name,
            created_at, expires_at, max_uses, uses, role, bastion_group, via, labels, name_pattern, cidr)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    REVOKE = "UPDATE enrollment_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
}

/// An enrollment token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is good for.
    pub terms: TokenTerms,
    /// The project's name.
    pub project: ProjectSlug,
    /// What it is called.
    pub description: Label,
    /// Who made it.
    pub created_by: UserId,
    /// What that user was called then.
    pub created_by_name: UserName,
    /// When it was made.
    pub created_at: UnixTime,
}

impl Token {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            terms: TokenTerms {
                id: row.parse("id")?,
                hash: row.parse("secret_hash")?,
                project_id: row.parse("project_id")?,
                placement: read_placement(row)?,
                labels: row.json("labels")?,
                name_pattern: row.parse_opt("name_pattern")?,
                cidr: row.parse_opt("cidr")?,
                expires_at: row.time("expires_at")?,
                max_uses: row.number("max_uses")?,
                uses: row.number("uses")?,
                revoked_at: row.time_opt("revoked_at")?,
            },
            project: row.parse("slug")?,
            description: row.parse("description")?,
            created_by: row.parse("created_by")?,
            created_by_name: row.parse("created_by_name")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// One token. The secret it was presented with is the caller's to compare.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<Token>, StoreError> {
    let row = query(BY_ID).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(Token::read).transpose()
}

/// All tokens, oldest first.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Token>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Token::read).collect()
}

/// Stores a new token.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn create(tx: &mut WriteTx, token: &Token) -> Result<(), StoreError> {
    let terms = &token.terms;
    query(CREATE)
        .bind(terms.id.to_string())
        .bind(terms.project_id.to_string())
        .bind(token.description.as_str())
        .bind(terms.hash.to_string())
        .bind(token.created_by.to_string())
        .bind(token.created_by_name.as_str())
        .bind(token.created_at.as_millis())
        .bind(terms.expires_at.as_millis())
        .bind(i64::from(terms.max_uses))
        .bind(i64::from(terms.uses))
        .bind(role_text(&terms.placement))
        .bind(terms.placement.bastion_group().map(Label::as_str))
        .bind(terms.placement.via().map(Label::as_str))
        .bind(to_json(&terms.labels, "labels")?)
        .bind(terms.name_pattern.as_ref().map(ToString::to_string))
        .bind(terms.cidr.as_ref().map(ToString::to_string))
        .execute(tx)
        .await?;
    Ok(())
}

/// Revokes a token; false when it was revoked before. Servers that it made stay.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn revoke(tx: &mut WriteTx, id: TokenId, now: UnixTime) -> Result<bool, StoreError> {
    let done = query(REVOKE).bind(id.to_string()).bind(now.as_millis()).execute(tx).await?;
    Ok(done.rows_affected() == 1)
}
