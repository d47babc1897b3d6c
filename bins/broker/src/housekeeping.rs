//! What has to happen now and then while the broker serves.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use usher_store::{StoreError, housekeeping, sealed, team};
use usher_telemetry::Chain;
use usher_types::UnixTime;

use crate::{AppState, reconcile, signatures::Extent, state::StartError, tls::Certificate};

/// How old a nonce key gets.
const NONCE_KEY_LIFETIME: Duration = Duration::from_secs(3600);
/// Operators' commands and other brokers change the database behind this process's back.
const EPOCH_PERIOD: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs until it is aborted. Whatever fails is logged and tried again the next time.
pub(crate) async fn run(app: AppState, certificate: Arc<Certificate>) {
    let minutes = each_minute(&app, &certificate);
    tokio::join!(watch_epoch(&app), watch_keys(&app, &certificate), minutes, reconcile::daily(&app));
}

/// Takes over keys that were rotated or retired, here or by another broker, as soon as that is known.
async fn watch_keys(app: &AppState, certificate: &Certificate) {
    let mut changes = app.store().subscribe();
    // Of what changed since the keys were read and before this line nobody would tell.
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        changes.borrow_and_update();
        if let Err(error) = app.reload_keys().await {
            tracing::error!(cause = %Chain(&error), "the team's keys could not be read again");
        }
        if let Err(error) = app.reload_nonces().await {
            tracing::error!(cause = %Chain(&error), "the nonce keys could not be read again");
        }
        renew(app, certificate, app.now()).await;
    }
}

async fn renew(app: &AppState, certificate: &Certificate, now: UnixTime) {
    match certificate.renew(app.config(), &app.authority(), now).await {
        Ok(true) => tracing::info!("a new TLS certificate is served"),
        Ok(false) => {}
        Err(error) => tracing::error!(cause = %Chain(&error), "the TLS certificate could not be renewed"),
    }
}

/// Somebody may have sealed everything anew.
async fn take_seal_key(app: &AppState) -> Result<(), StoreError> {
    let mut reader = app.store().read().await?;
    if let Some(id) = sealed::seal_key(&mut reader).await?
        && !app.keystore().use_seal_key(id)
    {
        tracing::error!(%id, "the database was sealed by another key, which is not here");
    }
    Ok(())
}

async fn watch_epoch(app: &AppState) {
    let mut ticks = interval(EPOCH_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.store().poll_epoch().await {
            tracing::error!(cause = %Chain(&error), "the epoch could not be read");
        }
        if app.signatures().are_only_here(app.keystore()) {
            count_signatures(app, Extent::Due).await;
        }
    }
}

async fn each_minute(app: &AppState, certificate: &Certificate) {
    let mut ticks = interval(MINUTE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = app.now();
        app.limits().forget();
        renew(app, certificate, now).await;
        if let Err(error) = take_seal_key(app).await {
            tracing::error!(cause = %Chain(&error), "the seal key in force is not known");
        }
        if let Err(error) = rotate_nonces(app, now).await {
            tracing::error!(cause = %Chain(&error), "the nonce key could not be rotated");
        }
        if let Err(error) = app.failures().write_down(app.store(), now).await {
            tracing::error!(cause = %Chain(&error), "failures could not be written down");
        }
        if let Err(error) = sweep(app, now).await {
            tracing::error!(cause = %Chain(&error), "expired rows could not be deleted");
        }
        count_signatures(app, Extent::Due).await;
        checkpoint(app, now).await;
    }
}

/// Writes down what outside custody was asked for.
pub(crate) async fn count_signatures(app: &AppState, extent: Extent) {
    if let Err(error) = app.write_down_signatures(extent).await {
        tracing::error!(cause = %Chain(&error), "signatures could not be written down");
    }
}

/// Signs where the audit log is, when it went on since the last time.
pub(crate) async fn checkpoint(app: &AppState, now: UnixTime) {
    let (key_id, key) = app.audit_key();
    let key = &key;
    let sign = |message: Vec<u8>| async move { key.sign_message(&message).await };
    match app.store().checkpoint(&key_id, sign, now).await {
        Ok(Some(_)) => tracing::debug!("audit checkpoint made"),
        Ok(None) => {}
        Err(error) => tracing::error!(cause = %Chain(&error), "no audit checkpoint could be made"),
    }
}

/// Makes a new key when the current one is an hour old, and takes over what another broker made.
async fn rotate_nonces(app: &AppState, now: UnixTime) -> Result<(), StartError> {
    let mut tx = app.store().begin().await?;
    let due = match team::nonce_key_time(&mut tx).await? {
        Some(made) => now.since(made) >= NONCE_KEY_LIFETIME,
        None => true,
    };
    if due {
        let key: [u8; 32] = crate::random::try_bytes().ok_or(StartError::NoKey("nonce"))?;
        team::rotate_nonce_key(&mut tx, &key, now).await?;
        // No decision depends on it, but other brokers are to know it before its nonces reach them.
        tx.wake();
        tx.commit().await?;
    } else {
        drop(tx);
    }
    app.reload_nonces().await
}

async fn sweep(app: &AppState, now: UnixTime) -> Result<(), StoreError> {
    let mut tx = app.store().begin().await?;
    let swept = housekeeping::sweep(&mut tx, now).await?;
    tx.commit().await?;
    tracing::debug!(rows = swept, "expired rows deleted");
    Ok(())
}
