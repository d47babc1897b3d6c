//! What an identity provider says over SCIM: one request, as its provisioning sends it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::browser;

/// One request.
#[derive(Clone, Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    browser: browser::Settings,
    /// The file that holds the token.
    #[arg(long)]
    token_file: PathBuf,
    /// HTTP method.
    #[arg(long)]
    method: reqwest::Method,
    /// The resource.
    #[arg(long)]
    url: String,
    /// Body, sent as it is.
    #[arg(long)]
    body: String,
}

/// Sends it; status and answer are the outcome.
pub(super) async fn send(request: Request) -> Result<Value> {
    let token = std::fs::read_to_string(&request.token_file)
        .with_context(|| format!("cannot read {}", request.token_file.display()))?;
    let sent = browser::client(&request.browser)?
        .request(request.method, &request.url)
        .bearer_auth(token.trim())
        .header(reqwest::header::CONTENT_TYPE, "application/scim+json")
        .body(request.body);
    let answer = sent.send().await?;
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
    Ok(json!({ "status": status, "body": body }))
}
