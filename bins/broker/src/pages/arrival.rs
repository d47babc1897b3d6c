//! What a sign-in is for, and where it leads: a program gets an authorization code at its loopback, a person at a browser
//! a few minutes in which to look after what they sign in with. A page leads to one arrival.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use usher_audit::{Actor, Code, Event, Record};
use usher_identity::Login as _;
use usher_sign_in::{AuthorizationCode, AuthorizationRequest, CodeRecord, VerifiedLogin, issue_code};
use usher_store::{WriteTx, named_proofs, page_sessions, servers, sign_in};
use usher_types::{Sha256, UnixTime};
use zeroize::Zeroizing;

use super::{PageError, authorize, sealed};
use crate::{AppState, error::ApiError, random};

/// How long after a sign-in a person may change what they sign in with.
const ACCOUNT_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Browsers take a cookie with this name from a secure origin only, for this host and all of its paths.
const COOKIE: &str = "__Host-usher-account";

/// What a sign-in is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    /// A session of the program that asked.
    Program(AuthorizationRequest),
    /// The person's own account page.
    Account,
}

impl Goal {
    /// The program's request, when there is one.
    pub(super) fn program(&self) -> Option<&AuthorizationRequest> {
        match self {
            Self::Program(request) => Some(request),
            Self::Account => None,
        }
    }
}

/// Where the browser goes.
pub(super) struct Arrival {
    location: String,
    cookie: Option<Zeroizing<String>>,
}

impl Arrival {
    /// Sends it there.
    pub(super) fn go(&self) -> Result<Response, PageError> {
        let mut response = authorize::redirect(&self.location)?;
        if let Some(cookie) = &self.cookie {
            set_cookie(&mut response, cookie, ACCOUNT_LIFETIME)?;
        }
        Ok(response)
    }
}

/// Turns a login into what it is for; none when the page was answered before.
pub(super) async fn arrive(
    app: &AppState,
    tx: &mut WriteTx,
    login: VerifiedLogin,
    page: Sha256,
    goal: &Goal,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Option<Arrival>, PageError> {
    match goal {
        Goal::Program(request) => {
            let (code, record) = issue_code(login, request, random::bytes()?, now);
            let first = store_code(tx, page, record, request).await?;
            Ok(first.then(|| Arrival { location: location(app, request, &code), cookie: None }))
        }
        Goal::Account => account(tx, &login, page, peer, now).await,
    }
}

async fn account(
    tx: &mut WriteTx,
    login: &VerifiedLogin,
    page: Sha256,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Option<Arrival>, PageError> {
    if !sign_in::use_once(tx, page, now.saturating_add(sealed::LIFETIME)).await? {
        return Ok(None);
    }
    let token = Zeroizing::new(BASE64URL_NOPAD.encode(&random::bytes::<32>()?));
    let user_id = login.user_id();
    page_sessions::open(tx, hash_of(&token), user_id, now.saturating_add(ACCOUNT_LIFETIME)).await?;
    let amr = login.amr().iter().map(|method| Code::new(method.as_str())).collect();
    let actor = Actor::User { user_id, device_id: None, session_id: None };
    let event = Event::PageSessionOpen { user_id, amr };
    tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
    Ok(Some(Arrival { location: "/account".to_owned(), cookie: Some(token) }))
}

/// What is stored of an account page's cookie.
pub(super) fn hash_of(token: &str) -> Sha256 {
    Sha256::of_parts(&[b"usher-page-session\0", token.as_bytes()])
}

/// The hash of the account page's cookie, when the browser brings one.
pub(super) fn page_session(headers: &http::HeaderMap) -> Option<Sha256> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| hash_of(token))
}

/// Takes the account page's cookie back.
pub(super) fn forget_cookie(response: &mut Response) -> Result<(), ApiError> {
    set_cookie(response, "", Duration::ZERO)
}

fn set_cookie(response: &mut Response, value: &str, lifetime: Duration) -> Result<(), ApiError> {
    let seconds = lifetime.as_secs();
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let cookie = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(())
}

/// Stores the code, and which servers the sign-in is for; false when the page was answered before. A name that no server has
/// counts for nothing.
async fn store_code(
    tx: &mut WriteTx,
    page: Sha256,
    record: CodeRecord,
    request: &AuthorizationRequest,
) -> Result<bool, PageError> {
    let code = stored_code(record);
    if !sign_in::insert_code(tx, page, &code).await? {
        return Ok(false);
    }
    let mut ids = BTreeSet::new();
    for name in &request.servers {
        ids.extend(servers::find(tx, name.as_str()).await?.map(|server| server.id));
    }
    if !ids.is_empty() {
        named_proofs::ask(tx, code.code_hash, &ids).await?;
    }
    Ok(true)
}

/// Where the browser brings the code.
fn location(app: &AppState, request: &AuthorizationRequest, code: &AuthorizationCode) -> String {
    let issuer = authorize::issuer(app);
    let parameters = [("code", code.reveal()), ("state", request.state.as_str()), ("iss", issuer.as_str())];
    request.redirect_uri.with_parameters(&parameters)
}

fn stored_code(record: CodeRecord) -> sign_in::StoredCode {
    sign_in::StoredCode {
        code_hash: record.code_hash,
        user_id: record.user_id,
        auth_time: record.auth_time,
        amr: record.amr,
        redirect_uri: record.redirect_uri,
        code_challenge: record.code_challenge,
        dpop_jkt: record.dpop_jkt,
        expires_at: record.expires_at,
        used_at: record.used_at,
        provider: record.provider,
    }
}
