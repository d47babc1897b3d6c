//! The clients of the team's identity providers, one per connector, made when they are first needed and anew when the
//! connector was changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use url::Url;
use usher_keystore::{KeyLabel, Purpose};
use usher_sign_in::oidc::{ExternalIdFrom, Issuer, Provider, ProviderSettings, check_url};
use usher_store::{
    ExternalIdClaim,
    connectors::{Connector, ConnectorSettings, OidcClient},
};
use usher_types::{ConnectorId, Sha256};
use zeroize::Zeroizing;

use crate::{AppState, error::ApiError};

/// Where browsers come back to.
pub(crate) const CALLBACK_PATH: &str = "/oidc/callback";
/// Where providers say that somebody signed out there.
pub(crate) const LOGOUT_PATH: &str = "/oidc/backchannel-logout";

/// The clients that were made.
#[derive(Debug, Default)]
pub(crate) struct Providers(Mutex<BTreeMap<ConnectorId, (Sha256, Arc<Provider>)>>);

/// An issuer, and the private networks in which it may be.
type Asked = (String, Vec<IpNet>);

/// Issuers of workloads' tokens, with their keys as they were read last: by their name and the networks they may be in.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Mutex<BTreeMap<Asked, Arc<Issuer>>>);

/// Most issuers that are remembered; a full list starts anew.
const MOST_ISSUERS: usize = 1000;

impl Issuers {
    /// The issuer of this name.
    pub(crate) fn get(&self, issuer: &str, private_networks: &[IpNet]) -> Result<Arc<Issuer>, ApiError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (issuer.to_owned(), private_networks.to_vec());
        if let Some(issuer) = made.get(&name) {
            return Ok(Arc::clone(issuer));
        }
        let issuer = Issuer::new(issuer, private_networks, tls()?).map_err(ApiError::internal)?;
        let issuer = Arc::new(issuer);
        if made.len() >= MOST_ISSUERS {
            made.clear();
        }
        made.insert(name, Arc::clone(&issuer));
        Ok(issuer)
    }
}

/// To be entered at every provider. One address for all: which one answers is in the sealed state, and `iss` says it too.
pub(crate) fn redirect_uri(app: &AppState) -> String {
    format!("{}{CALLBACK_PATH}", app.origin())
}

/// Whether a connector's issuer can be one, as far as its address says.
///
/// # Errors
/// 400 with what is wrong.
pub(crate) fn check(client: &OidcClient, settings: &ConnectorSettings) -> Result<(), ApiError> {
    let refused = |why: String| ApiError::invalid(format!("issuer: {why}"));
    let url: Url = client.issuer.parse().map_err(|_error| refused("not a URL".to_owned()))?;
    if url.query().is_some() {
        return Err(refused("an issuer has no query".to_owned()));
    }
    check_url(&url, &settings.private_networks).map_err(|error| refused(error.to_string()))
}

impl AppState {
    /// The client of a connector's provider.
    ///
    /// # Errors
    /// 500 when its secret does not open or no client can be made.
    pub(crate) fn provider(
        &self,
        connector: &Connector,
        client: &OidcClient,
    ) -> Result<Arc<Provider>, ApiError> {
        let settings = serde_json::to_vec(&connector.settings).map_err(ApiError::internal)?;
        let secret = client.sealed_secret.as_deref().unwrap_or_default();
        let parts: [&[u8]; 7] =
            [client.issuer.as_bytes(), b"\0", client.client_id.as_bytes(), b"\0", &settings, b"\0", secret];
        let made_from = Sha256::of_parts(&parts);
        let mut made = self.providers().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, provider)) = made.get(&connector.id)
            && *from == made_from
        {
            return Ok(Arc::clone(provider));
        }
        let settings = self.settings(connector, client)?;
        let provider = Arc::new(Provider::new(settings, tls()?).map_err(ApiError::internal)?);
        made.insert(connector.id, (made_from, Arc::clone(&provider)));
        Ok(provider)
    }

    fn settings(&self, connector: &Connector, client: &OidcClient) -> Result<ProviderSettings, ApiError> {
        let client_secret = match &client.sealed_secret {
            Some(sealed) => {
                let label = KeyLabel::new(connector.id.to_string(), Purpose::ClientSecret);
                let secret = self.keystore().open(&label, sealed).map_err(ApiError::internal)?;
                let text = std::str::from_utf8(&secret).map_err(ApiError::internal)?;
                Some(Zeroizing::new(text.to_owned()))
            }
            None => None,
        };
        let settings = connector.settings.clone();
        Ok(ProviderSettings {
            issuer: client.issuer.clone(),
            client_id: client.client_id.clone(),
            client_secret,
            redirect_uri: redirect_uri(self),
            scopes: settings.scopes,
            acr_values: settings.acr_values,
            external_id: match settings.external_id_claim {
                ExternalIdClaim::Oid => ExternalIdFrom::Oid,
                ExternalIdClaim::Sub => ExternalIdFrom::Sub,
            },
            groups_claim: settings.groups_claim,
            private_networks: settings.private_networks,
        })
    }
}

/// Whom the operating system trusts.
fn tls() -> Result<ClientConfig, ApiError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ApiError::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
