//! `POST /v1/token` of programs (RFC 8693): an API key, or a workload's identity token, becomes a short session of a service
//! user. The session is bound to the key of the request's proof; whoever steals its token has nothing.

use std::time::Duration;

use usher_api::{
    ErrorCode,
    v1::{SubjectTokenType, TokenExchange, TokenResponse},
};
use usher_audit::{Actor, Code, Event, Record, Reported, ServiceCredential};
use usher_identity::{
    Arrival, AuthenticationError, DeviceRecord, DeviceState, Login as _, PublicKey, UserStatus, open_session,
};
use usher_sign_in::{
    ApiKeyRefusal, StoredApiKey, VerifiedLogin,
    oidc::{Mismatch, TrustTerms, WorkloadError, WorkloadToken, issuer_of},
    verify_api_key,
};
use usher_store::{
    WriteTx, api_keys, devices,
    service_users::{self, Credential},
    sessions, sign_in, team,
    trusts::{self, Trust},
    users,
};
use usher_types::{DeviceId, DeviceName, SecretToken, TokenId, TokenKind, UnixTime};

use crate::{AppState, account, answer::Answer, error::ApiError, random, request::RequestInfo};

const DEFAULT_SECONDS: u32 = 15 * 60;
const LONGEST_SECONDS: u32 = 60 * 60;
/// How exactly the time of last use is known.
const LAST_USE: Duration = Duration::from_secs(60);

/// Who exchanged what.
struct Exchanged {
    login: VerifiedLogin,
    credential: Credential,
    audited: ServiceCredential,
    /// A session does not outlive what it began by.
    until: UnixTime,
}

pub(crate) async fn exchange(
    app: &AppState,
    key: &PublicKey,
    info: &RequestInfo,
    body: TokenExchange,
) -> Result<Answer<TokenResponse>, ApiError> {
    let seconds = body.session_seconds.unwrap_or(DEFAULT_SECONDS);
    if !(1..=LONGEST_SECONDS).contains(&seconds) {
        return Err(ApiError::invalid(format!("session_seconds: use 1 to {LONGEST_SECONDS} (an hour)")));
    }
    // The network is asked before the one writer's turn is taken.
    let token = match body.subject_token_type {
        SubjectTokenType::ApiKey => None,
        SubjectTokenType::Jwt => Some(workload(app, &body, info.now).await?),
    };
    let mut tx = app.store().begin().await?;
    let exchanged = match &token {
        None => by_api_key(&mut tx, &body, info).await,
        Some(token) => by_workload(&mut tx, token, &body, info.now).await,
    };
    let exchanged = match exchanged {
        Ok(exchanged) => exchanged,
        Err(refused) => {
            // What a refusal wrote down stays.
            tx.commit().await?;
            return Err(refused);
        }
    };
    let until = exchanged.until.min(info.now.saturating_add(Duration::from_secs(u64::from(seconds))));
    let answer = open(&mut tx, key, info, body.device_name, exchanged, until).await?;
    tx.commit().await?;
    Ok(Answer::ok(answer).shown_once())
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidGrant, message)
}

async fn by_api_key(
    tx: &mut WriteTx,
    body: &TokenExchange,
    info: &RequestInfo,
) -> Result<Exchanged, ApiError> {
    let unknown =
        || refused("this is no API key of a service user").with_next("ask an administrator for an API key");
    let shown = SecretToken::parse(TokenKind::ApiKey, &body.subject_token)
        .map_err(|error| unknown().with_cause(error))?;
    let stored = api_keys::by_id(tx, shown.id()).await?.ok_or_else(unknown)?;
    let terms = StoredApiKey {
        id: stored.id,
        hash: stored.hash,
        user_id: stored.user_id,
        cidr: stored.cidr,
        expires_at: stored.expires_at,
        revoked_at: stored.revoked_at,
    };
    let login = match verify_api_key(Some(&terms), &shown, info.client_address, info.now) {
        Ok(login) => login,
        Err(ApiKeyRefusal::Unknown) => return Err(unknown()),
        Err(refusal) => {
            // Whoever comes here holds the secret: that is worth a row, and an answer that says why.
            tx.audit(&Record {
                at: info.now,
                actor: Actor::Anonymous,
                client_address: Some(info.client_address),
                event: Event::SignInFail {
                    user_id: Some(stored.user_id),
                    reason: Code::new(refusal.as_str()),
                    count: 1,
                },
            })
            .await?;
            return Err(refused(refusal.to_string())
                .with_next("ask an administrator for a new key: `usher api-key create`"));
        }
    };
    if stored.last_used_at.is_none_or(|last| info.now.since(last) >= LAST_USE) {
        api_keys::used(tx, stored.id, info.now).await?;
    }
    Ok(Exchanged {
        login,
        credential: Credential::ApiKey(stored.id),
        audited: ServiceCredential::ApiKey { token_id: stored.id },
        until: stored.expires_at,
    })
}

/// Checks a workload's token with its issuer, if anything trusts that at all.
async fn workload(app: &AppState, body: &TokenExchange, now: UnixTime) -> Result<WorkloadToken, ApiError> {
    let trusts = trusts_of(&mut *app.store().read().await?, body).await?;
    let trust = trusts.first().ok_or_else(nobody)?;
    let issuer = app.issuers().get(&trust.issuer, &trust.private_networks)?;
    issuer.verify(&body.subject_token, now).await.map_err(|error| match error {
        WorkloadError::Address(_) | WorkloadError::Document => {
            refused("the issuer of this token cannot be asked for its keys").with_cause(error)
        }
        WorkloadError::Client(_) => ApiError::internal(error),
        WorkloadError::Unavailable(_) => {
            ApiError::new(ErrorCode::Unavailable, "the issuer of this token does not answer")
                .with_cause(error)
        }
        WorkloadError::Token(ref why) => {
            let why = why.to_string();
            refused(format!("the token is not good: {why}")).with_cause(error)
        }
    })
}

/// The same whether there is such a user, and whether it trusts anybody.
fn nobody() -> ApiError {
    refused("no trust of this service user is about tokens of this issuer")
        .with_next("an administrator lets them in by `usher trust create`")
}

/// What this token's issuer may say about the service user that was named.
async fn trusts_of(conn: &mut usher_store::Conn, body: &TokenExchange) -> Result<Vec<Trust>, ApiError> {
    let user = body.service_user.as_ref();
    let user = user.ok_or_else(|| ApiError::invalid("service_user: name the service user"))?;
    let issuer = issuer_of(&body.subject_token).ok_or_else(|| refused("this is no signed token"))?;
    Ok(trusts::of_issuer(conn, user, &issuer).await?)
}

/// Looks at the trusts again, in the transaction that opens the session, and uses the token up.
async fn by_workload(
    tx: &mut WriteTx,
    token: &WorkloadToken,
    body: &TokenExchange,
    now: UnixTime,
) -> Result<Exchanged, ApiError> {
    let mut mismatch = None;
    for trust in trusts_of(tx, body).await? {
        let terms = TrustTerms { user_id: trust.user_id, audience: trust.audience, rules: trust.claims };
        let login = match token.admit(&terms) {
            Ok(login) => login,
            Err(why) => {
                mismatch.get_or_insert(why);
                continue;
            }
        };
        if !sign_in::use_once(tx, token.id(), token.expires_at()).await? {
            return Err(refused("this token was used before").with_next("get a new one for every exchange"));
        }
        if trust.last_used_at.is_none_or(|last| now.since(last) >= LAST_USE) {
            trusts::used(tx, trust.id, now).await?;
        }
        return Ok(Exchanged {
            login,
            credential: Credential::Trust(trust.id),
            audited: ServiceCredential::Workload {
                trust_id: trust.id,
                subject: Reported::new(token.subject()),
            },
            // The token says who somebody is now; the session's own time says for how long that is believed.
            until: now.saturating_add(Duration::from_secs(u64::from(LONGEST_SECONDS))),
        });
    }
    Err(mismatch.map_or_else(nobody, |why: Mismatch| {
        refused(format!("the token fits no trust of this service user: {why}"))
            .with_next("`usher trust list` shows what a token must say")
    }))
}

async fn open(
    tx: &mut WriteTx,
    key: &PublicKey,
    info: &RequestInfo,
    device_name: DeviceName,
    exchanged: Exchanged,
    until: UnixTime,
) -> Result<TokenResponse, ApiError> {
    let gone = || refused("the service user is gone");
    let user = users::by_id(tx, exchanged.login.user_id()).await?.ok_or_else(gone)?;
    if user.status == UserStatus::Disabled {
        return Err(AuthenticationError::UserDisabled.into());
    }
    let jkt = key.thumbprint();
    let device = match devices::by_key(tx, user.id, &jkt).await? {
        Some(device) => device.record,
        None => {
            let device = DeviceRecord {
                id: DeviceId::new(info.now, random::bytes()?),
                user_id: user.id,
                name: device_name,
                jkt,
                // Its key is in a program's memory and was made for this session: there is nothing to approve that the
                // credential has not said already.
                state: DeviceState::Approved,
                created_at: info.now,
            };
            if !devices::create(tx, &device, &key.to_sec1()).await? {
                return Err(ApiError::internal("a device that was not there is there"));
            }
            let (device_id, user_id) = (device.id, user.id);
            let device_name = device.name.clone();
            let event = Event::DeviceRegister { device_id, user_id, device_name, jkt };
            tx.audit(&account::record(info, &user, device_id, None, event)).await?;
            let event = Event::DeviceApprove { device_id, user_id, automatic: true };
            tx.audit(&account::record(info, &user, device_id, None, event)).await?;
            device
        }
    };
    let token =
        SecretToken::new(TokenKind::Session, TokenId::new(info.now, random::bytes()?), random::bytes()?);
    let terms = team::session_terms(tx).await?;
    let arrival = Arrival::at(info.now).from(info.client_address);
    let mut session = open_session(exchanged.login, &device, &token, terms, arrival)?;
    session.expires_at = session.expires_at.min(until);
    for session_id in sessions::end_of_device(tx, device.id, info.now).await? {
        let event = Event::SessionClose { session_id, user_id: user.id, reason: Code::new("replaced") };
        tx.audit(&account::record(info, &user, device.id, Some(&session), event)).await?;
    }
    sessions::create(tx, &session).await?;
    service_users::opened_by(tx, session.id, exchanged.credential).await?;
    let event =
        Event::SessionExchange { session_id: session.id, user_id: user.id, credential: exchanged.audited };
    tx.audit(&account::record(info, &user, device.id, Some(&session), event)).await?;
    let event = Event::SessionOpen {
        session_id: session.id,
        user_id: user.id,
        device_id: device.id,
        amr: Vec::new(),
        servers: Vec::new(),
    };
    tx.audit(&account::record(info, &user, device.id, Some(&session), event)).await?;
    Ok(TokenResponse {
        session_token: token.reveal().as_str().to_owned(),
        session: account::session_info(&session),
        device: account::device_out(&device, &user.user_name),
        user: account::user_out(tx, &user).await?,
    })
}
