//! Who asks: a token, for a connector that is used, from where it may be used. Everything that is wrong with one is answered
//! alike.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, header};
use usher_api::ErrorCode;
use usher_store::{
    Conn, ConnectorState,
    scim::tokens::{self, ScimToken},
};
use usher_types::{SecretToken, Sha256, TokenKind, UnixTime};

use super::{Address, error::ScimError};
use crate::{AppState, error::ApiError};

/// How exactly the time of last use is known.
const LAST_USE: Duration = Duration::from_secs(60);

/// A connector's provider, as far as its token says.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) token: ScimToken,
    pub(super) address: Address,
}

/// Reads and checks the token of a request.
pub(super) async fn recognise(
    app: &AppState,
    headers: &HeaderMap,
    address: IpAddr,
    now: UnixTime,
) -> Result<Caller, ScimError> {
    let Some(token) = find(app, headers, address, now).await? else {
        app.failures().count(ErrorCode::TokenRefused.as_str(), address, now);
        app.limits().scim_refusal(address)?;
        return Err(ScimError::unauthorized());
    };
    app.limits().scim(token.id)?;
    if token.last_used_at.is_none_or(|last| now.since(last) >= LAST_USE) {
        let mut tx = app.store().begin().await?;
        tokens::used(&mut tx, token.id, now).await?;
        tx.commit().await?;
    }
    Ok(Caller { token, address })
}

async fn find(
    app: &AppState,
    headers: &HeaderMap,
    address: IpAddr,
    now: UnixTime,
) -> Result<Option<ScimToken>, ApiError> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| SecretToken::parse(TokenKind::Scim, token.trim()).ok())?
    });
    let Some(shown) = shown else { return Ok(None) };
    let mut reader = app.store().read().await?;
    let token = tokens::by_id(&mut reader, shown.id()).await?;
    Ok(token.filter(|token| is_good(token, shown.hash(), address, now)))
}

fn is_good(token: &ScimToken, hash: Sha256, address: IpAddr, now: UnixTime) -> bool {
    token.hash == hash
        && token.revoked_at.is_none()
        && now < token.expires_at
        && token.connector_state == ConnectorState::Active
        && token.cidr.as_ref().is_none_or(|cidr| cidr.contains(address))
}

/// Looks at the token again, in the transaction that changes something in its name.
pub(super) async fn check_again(conn: &mut Conn, caller: &Caller, now: UnixTime) -> Result<(), ScimError> {
    let token = tokens::by_id(conn, caller.token.id).await?;
    let good = token.is_some_and(|token| is_good(&token, caller.token.hash, caller.address, now));
    if good { Ok(()) } else { Err(ScimError::unauthorized()) }
}
