//! Trusts: whose identity tokens make a session of a service user.

use axum::{
    Router,
    extract::State,
    routing::{delete, get},
};
use ipnet::IpNet;
use url::Url;
use usher_api::v1::{CreateTrust, Page, Trust};
use usher_audit::{Event, Reported};
use usher_identity::workload::ClaimRules;
use usher_sign_in::oidc::check_url;
use usher_store::{service_users, trusts};
use usher_types::TrustId;

use super::{begin, users};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    random,
};

const MAX_TEXT: usize = 255;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/v1/trusts", get(list).post(create)).route("/v1/trusts/{trust}", delete(remove))
}

fn shown(trust: trusts::Trust) -> Trust {
    Trust {
        id: trust.id,
        service_user: trust.user_name,
        description: trust.description,
        issuer: trust.issuer,
        audience: trust.audience,
        claims: trust.claims.to_map(),
        private_networks: trust.private_networks.iter().map(ToString::to_string).collect(),
        created_by: trust.created_by_name,
        last_used_at: trust.last_used_at,
    }
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<Trust>>, ApiError> {
    let mut reader = app.store().read().await?;
    let items = trusts::list(&mut reader).await?.into_iter().map(shown).collect();
    Ok(Answer::ok(Page { items }))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateTrust>,
) -> Result<Answer<Trust>, ApiError> {
    let invalid = |field: &str, why: String| ApiError::invalid(format!("{field}: {why}"));
    let claims = ClaimRules::parse(&body.claims).map_err(|error| invalid("claims", error.to_string()))?;
    let networks: Result<Vec<IpNet>, _> = body.private_networks.iter().map(|text| text.parse()).collect();
    let private_networks =
        networks.map_err(|_error| invalid("private_networks", "expected networks".to_owned()))?;
    let url: Url = body.issuer.parse().map_err(|_error| invalid("issuer", "not a URL".to_owned()))?;
    if url.query().is_some() || body.issuer.len() > MAX_TEXT {
        return Err(invalid("issuer", "an issuer is a short URL without a query".to_owned()));
    }
    check_url(&url, &private_networks).map_err(|error| invalid("issuer", error.to_string()))?;
    let audience = body.audience.unwrap_or_else(|| app.origin().to_owned());
    if audience.is_empty() || audience.len() > MAX_TEXT || audience.contains(char::is_control) {
        return Err(invalid("audience", format!("expected 1 to {MAX_TEXT} bytes")));
    }
    let mut change = begin(&app, &caller, info).await?;
    let name = body.service_user.as_str();
    let user = service_users::find(&mut change.tx, name).await?;
    let user = user.ok_or_else(|| ApiError::not_found("service user", name))?;
    // SECURITY: whoever gets such a token is that user.
    change.refuse_above_user(&user).await?;
    let trust = trusts::Trust {
        id: TrustId::new(change.info.now, random::bytes()?),
        user_id: user.id,
        user_name: user.user_name,
        description: body.description,
        issuer: body.issuer,
        audience,
        claims,
        private_networks,
        created_by: caller.user().user_id(),
        created_by_name: caller.user().user_name().clone(),
        created_at: change.info.now,
        last_used_at: None,
    };
    trusts::create(&mut change.tx, &trust).await?;
    let reported = |(claim, value): (String, String)| (Reported::new(&claim), Reported::new(&value));
    change
        .audit(Event::TrustCreate {
            trust_id: trust.id,
            user_id: trust.user_id,
            issuer: Reported::new(&trust.issuer),
            audience: Reported::new(&trust.audience),
            claims: trust.claims.to_map().into_iter().map(reported).collect(),
        })
        .await?;
    change.commit().await?;
    Ok(Answer::created(shown(trust)))
}

async fn remove(
    State(app): State<AppState>,
    Path(id): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let trust = match id.parse::<TrustId>() {
        Ok(id) => trusts::by_id(&mut change.tx, id).await?,
        Err(_) => None,
    };
    let trust = trust.ok_or_else(|| ApiError::not_found("trust", &id))?;
    let user = users::find(&mut change.tx, &trust.user_id.to_string()).await?;
    change.refuse_above_user(&user).await?;
    trusts::delete(&mut change.tx, trust.id, change.info.now).await?;
    change.audit(Event::TrustDelete { trust_id: trust.id, user_id: trust.user_id }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
