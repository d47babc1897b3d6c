//! New recovery codes, and the page that shows them once.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use usher_sign_in::{RECOVERY_CODES, RecoveryCode};
use usher_store::{WriteTx, sign_in};
use usher_types::{Sha256, UserId};
use zeroize::Zeroizing;

use super::{PageError, render};
use crate::{AppState, random};

#[derive(Debug, Template)]
#[template(path = "recovery_codes.html")]
struct CodesPage<'a> {
    team: &'a str,
    heading: &'a str,
    text: &'a str,
    codes: Vec<&'a str>,
    /// Whether the account page is where the person came from.
    account: bool,
}

/// Gives the user new codes, and takes away those there were.
pub(super) async fn renew(tx: &mut WriteTx, user_id: UserId) -> Result<Vec<RecoveryCode>, PageError> {
    let codes: Vec<RecoveryCode> =
        std::iter::repeat_with(|| RecoveryCode::generate(&mut random::rng())).take(RECOVERY_CODES).collect();
    let hashes: Vec<Sha256> = codes.iter().map(RecoveryCode::hash).collect();
    sign_in::set_recovery_codes(tx, user_id, &hashes).await?;
    Ok(codes)
}

/// Where a page of codes leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the terminal.
    Terminal,
    /// Back to the account page.
    Account,
}

/// Shows them, once.
pub(super) fn show(
    app: &AppState,
    heading: &str,
    text: &str,
    codes: &[RecoveryCode],
    next: Next,
) -> Result<Response, PageError> {
    let codes: Vec<Zeroizing<String>> = codes.iter().map(RecoveryCode::reveal).collect();
    let page = CodesPage {
        team: app.team().as_str(),
        heading,
        text,
        codes: codes.iter().map(|code| code.as_str()).collect(),
        account: next == Next::Account,
    };
    render(StatusCode::OK, &page)
}
