//! Connectors: which identity providers people sign in by.

use axum::{Router, extract::State, routing::get};
use usher_api::{
    ErrorCode,
    v1::{self, CreateConnector, Page, UpdateConnector},
};
use usher_audit::{Code, ConnectorProperties, Event, Reported};
use usher_keystore::{KeyLabel, Purpose};
use usher_store::{
    Conn, ConnectorState, ExternalIdClaim, JoinRule,
    connectors::{self, Connector, ConnectorSettings, DeleteConnectorError, OidcClient, WriteConnectorError},
};
use usher_types::{ConnectorId, Sha256};

use super::begin;
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Path},
    providers, random,
};

const MAX_TEXT: usize = 255;
const MAX_LIST: usize = 32;
const MAX_SECRET: usize = 1024;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/connectors", get(list).post(create))
        .route("/v1/connectors/{connector}", get(show).patch(update).delete(delete))
}

/// Finds a connector by name or id.
pub(super) async fn find(conn: &mut Conn, name: &str) -> Result<Connector, ApiError> {
    connectors::find(conn, name).await?.ok_or_else(|| ApiError::not_found("connector", name))
}

fn shown(app: &AppState, connector: Connector) -> v1::Connector {
    let has_client_secret = connector.oidc.as_ref().is_some_and(|client| client.sealed_secret.is_some());
    let (issuer, client_id) = connector.oidc.map(|client| (client.issuer, client.client_id)).unzip();
    let settings = connector.settings;
    v1::Connector {
        id: connector.id,
        name: connector.name,
        issuer,
        client_id,
        has_client_secret,
        redirect_uri: providers::redirect_uri(app),
        backchannel_logout_uri: format!("{}{}", app.origin(), providers::LOGOUT_PATH),
        scopes: settings.scopes,
        acr_values: settings.acr_values,
        external_id_claim: match settings.external_id_claim {
            ExternalIdClaim::Oid => v1::ExternalIdClaim::Oid,
            ExternalIdClaim::Sub => v1::ExternalIdClaim::Sub,
        },
        groups_claim: settings.groups_claim,
        private_networks: settings.private_networks.iter().map(ToString::to_string).collect(),
        join_rule: match connector.join_rule {
            JoinRule::FirstLogin => v1::JoinRule::FirstLogin,
            JoinRule::Scim => v1::JoinRule::Scim,
        },
        state: match connector.state {
            ConnectorState::Active => v1::ConnectorState::Active,
            ConnectorState::Disabled => v1::ConnectorState::Disabled,
        },
        created_at: connector.created_at,
    }
}

async fn list(State(app): State<AppState>, _caller: Admin) -> Result<Answer<Page<v1::Connector>>, ApiError> {
    let connectors = connectors::list(&mut *app.store().read().await?).await?;
    let items = connectors.into_iter().map(|connector| shown(&app, connector)).collect();
    Ok(Answer::ok(Page { items }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    _caller: Admin,
) -> Result<Answer<v1::Connector>, ApiError> {
    let connector = find(&mut *app.store().read().await?, &name).await?;
    Ok(Answer::ok(shown(&app, connector)))
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateConnector>,
) -> Result<Answer<v1::Connector>, ApiError> {
    let mut connector = Connector {
        id: ConnectorId::new(info.now, random::bytes()?),
        name: body.name,
        oidc: None,
        settings: ConnectorSettings::default(),
        join_rule: join_rule(body.join_rule),
        state: ConnectorState::Active,
        created_at: info.now,
    };
    change(&app, &mut connector, body.settings)?;
    let mut change = begin(&app, &caller, info).await?;
    connectors::create(&mut change.tx, &connector).await?;
    change
        .audit(Event::ConnectorCreate {
            connector_id: connector.id,
            connector_name: connector.name.clone(),
            settings: properties(&connector)?,
        })
        .await?;
    change.commit().await?;
    Ok(Answer::created(shown(&app, connector)))
}

async fn update(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<UpdateConnector>,
) -> Result<Answer<v1::Connector>, ApiError> {
    let mut begun = begin(&app, &caller, info).await?;
    let before = find(&mut begun.tx, &name).await?;
    let mut connector = before.clone();
    connector.join_rule = body.join_rule.map_or(connector.join_rule, join_rule);
    connector.state = match body.state {
        None => connector.state,
        Some(v1::ConnectorState::Active) => ConnectorState::Active,
        Some(v1::ConnectorState::Disabled) => ConnectorState::Disabled,
    };
    let secret_changed = body.settings.client_secret.is_some();
    change(&app, &mut connector, body.settings)?;
    let now = begun.info.now;
    connectors::update(&mut begun.tx, &connector, now).await?;
    begun
        .audit(Event::ConnectorUpdate {
            connector_id: connector.id,
            settings: properties(&connector)?,
            before: properties(&before)?,
            secret_changed,
        })
        .await?;
    begun.commit().await?;
    Ok(Answer::ok(shown(&app, connector)))
}

async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let connector = find(&mut change.tx, &name).await?;
    connectors::delete(&mut change.tx, &connector).await?;
    let event = Event::ConnectorDelete { connector_id: connector.id, connector_name: connector.name };
    change.audit(event).await?;
    change.commit().await?;
    Ok(Answer::empty())
}

fn join_rule(rule: v1::JoinRule) -> JoinRule {
    match rule {
        v1::JoinRule::FirstLogin => JoinRule::FirstLogin,
        v1::JoinRule::Scim => JoinRule::Scim,
    }
}

/// Takes over what is set, once all of it is good.
fn change(
    app: &AppState,
    connector: &mut Connector,
    settings: v1::ConnectorSettings,
) -> Result<(), ApiError> {
    let is_text =
        |text: &str| (1..=MAX_TEXT).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    let list = |name: &str, list: Vec<String>| {
        let good = list.len() <= MAX_LIST && list.iter().all(|text| is_text(text));
        let wrong = || ApiError::invalid(format!("{name}: use at most {MAX_LIST} texts without spaces"));
        good.then_some(list).ok_or_else(wrong)
    };
    let into = &mut connector.settings;
    if let Some(scopes) = settings.scopes {
        into.scopes = list("scopes", scopes)?;
    }
    if let Some(values) = settings.acr_values {
        into.acr_values = list("acr_values", values)?;
    }
    if let Some(claim) = settings.external_id_claim {
        into.external_id_claim = match claim {
            v1::ExternalIdClaim::Oid => ExternalIdClaim::Oid,
            v1::ExternalIdClaim::Sub => ExternalIdClaim::Sub,
        };
    }
    if let Some(claim) = settings.groups_claim {
        into.groups_claim = if claim.is_empty() { None } else { list("groups_claim", vec![claim])?.pop() };
    }
    if let Some(networks) = settings.private_networks {
        let parse = |text: String| {
            text.parse()
                .map_err(|_error| ApiError::invalid(format!("private_networks: `{text}` is no network")))
        };
        into.private_networks =
            list("private_networks", networks)?.into_iter().map(parse).collect::<Result<_, _>>()?;
    }
    client(app, connector, settings.issuer, settings.client_id, settings.client_secret)?;
    if let Some(oidc) = &connector.oidc {
        providers::check(oidc, &connector.settings)?;
    }
    Ok(())
}

fn client(
    app: &AppState,
    connector: &mut Connector,
    issuer: Option<String>,
    client_id: Option<String>,
    secret: Option<String>,
) -> Result<(), ApiError> {
    let (old_issuer, old_client_id, old_secret) = match connector.oidc.take() {
        Some(client) => (Some(client.issuer), Some(client.client_id), client.sealed_secret),
        None => (None, None, None),
    };
    let moved = issuer.is_some() && issuer != old_issuer;
    let (issuer, client_id) = (issuer.or(old_issuer), client_id.or(old_client_id));
    let sealed_secret = match secret {
        Some(secret) if secret.is_empty() => None,
        Some(secret) if secret.len() > MAX_SECRET => {
            return Err(ApiError::invalid("client_secret: too long"));
        }
        Some(secret) => {
            let label = KeyLabel::new(connector.id.to_string(), Purpose::ClientSecret);
            Some(app.keystore().seal(&label, secret.as_bytes()).map_err(ApiError::internal)?)
        }
        // SECURITY: a secret goes to the issuer that it was entered for, not to one that came later.
        None if moved => None,
        None => old_secret,
    };
    connector.oidc = match (issuer, client_id) {
        (Some(issuer), Some(client_id)) => {
            let good = (1..=MAX_TEXT).contains(&client_id.len())
                && client_id.chars().all(|c| (' '..='~').contains(&c));
            if !good || issuer.len() > MAX_TEXT {
                return Err(ApiError::invalid("client_id, issuer: use 1 to 255 characters"));
            }
            Some(OidcClient { issuer, client_id, sealed_secret })
        }
        (None, None) if sealed_secret.is_none() => None,
        _ => return Err(ApiError::invalid("`issuer` and `client_id` go together")),
    };
    Ok(())
}

/// As the audit log names them.
fn properties(connector: &Connector) -> Result<ConnectorProperties, ApiError> {
    let settings = serde_json::to_vec(&connector.settings).map_err(ApiError::internal)?;
    let client = connector.oidc.as_ref();
    Ok(ConnectorProperties {
        issuer: client.map(|client| Reported::new(&client.issuer)),
        client_id: client.map(|client| Reported::new(&client.client_id)),
        external_id_claim: Code::new(connector.settings.external_id_claim.as_str()),
        join_rule: Code::new(&connector.join_rule.as_str().replace('-', "_")),
        active: connector.state == ConnectorState::Active,
        settings: Sha256::of(&settings),
    })
}

impl From<WriteConnectorError> for ApiError {
    fn from(error: WriteConnectorError) -> Self {
        match error {
            WriteConnectorError::InUse { .. } => Self::new(ErrorCode::InUse, error.to_string())
                .with_next("connect the other provider under a name of its own"),
            WriteConnectorError::GroupsBegin(_)
            | WriteConnectorError::IssuerTaken(_)
            | WriteConnectorError::Taken(_) => Self::new(ErrorCode::AlreadyExists, error.to_string()),
            WriteConnectorError::LooksLikeId(_) => Self::invalid(error.to_string()),
            WriteConnectorError::Store(source) => source.into(),
        }
    }
}

impl From<DeleteConnectorError> for ApiError {
    fn from(error: DeleteConnectorError) -> Self {
        match error {
            DeleteConnectorError::InUse { .. } => Self::new(ErrorCode::InUse, error.to_string()),
            DeleteConnectorError::Store(source) => source.into(),
        }
    }
}
