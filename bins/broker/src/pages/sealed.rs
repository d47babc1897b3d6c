//! What a page gives the browser to bring back: sealed, so that it can be neither read nor changed, and only for a while.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use usher_keystore::{KeyLabel, Purpose};
use usher_types::{Sha256, UnixTime};
use zeroize::Zeroizing;

use crate::{AppState, error::ApiError, random};

/// How long a page may lie open.
pub(super) const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Longest value that is looked at.
const MAX_LENGTH: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    expires_at: UnixTime,
    /// Makes each page its own, so that one page leads to one code.
    unique: String,
    content: T,
}

/// What came back.
pub(super) struct Opened<T> {
    /// What was sealed.
    pub(super) content: T,
    /// Names this very page.
    pub(super) hash: Sha256,
}

/// Seals `content` for the page `form`.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn seal(
    app: &AppState,
    form: &str,
    content: &impl Serialize,
    now: UnixTime,
) -> Result<String, ApiError> {
    seal_for(app, form, content, LIFETIME, now)
}

/// The same for another while.
///
/// # Errors
/// When the system gives no random bytes.
pub(super) fn seal_for(
    app: &AppState,
    form: &str,
    content: &impl Serialize,
    lifetime: Duration,
    now: UnixTime,
) -> Result<String, ApiError> {
    let unique = BASE64URL_NOPAD.encode(&random::bytes::<16>()?);
    let envelope = Envelope { expires_at: now.saturating_add(lifetime), unique, content };
    let bytes = Zeroizing::new(serde_json::to_vec(&envelope).map_err(ApiError::internal)?);
    let sealed = app.keystore().seal(&label(form), &bytes).map_err(ApiError::internal)?;
    Ok(BASE64URL_NOPAD.encode(&sealed))
}

/// Opens what [`seal`] made for the same form; `None` when it is something else or too old.
pub(super) fn open<T: DeserializeOwned>(
    app: &AppState,
    form: &str,
    text: &str,
    now: UnixTime,
) -> Option<Opened<T>> {
    let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|_| text.len() <= MAX_LENGTH)?;
    let bytes = app.keystore().open(&label(form), &sealed).ok()?;
    let envelope: Envelope<T> = serde_json::from_slice(&bytes).ok()?;
    (now < envelope.expires_at).then(|| Opened { hash: Sha256::of(&bytes), content: envelope.content })
}

fn label(form: &str) -> KeyLabel {
    KeyLabel::new(form, Purpose::Page)
}
