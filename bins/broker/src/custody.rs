//! The keystore as the configuration wants it. Which custody a key is in stands in the database, key by key.

use usher_keystore::{Keystore, SealKey, kms::Kms};
use usher_types::TeamSlug;

use crate::Config;

/// A keystore with the custodies that are configured; nothing is asked of AWS yet.
pub(crate) async fn keystore(config: &Config, seal: SealKey, team: &TeamSlug) -> Keystore {
    let keystore = Keystore::new(seal);
    match &config.kms {
        Some(kms) => keystore.with_kms(Kms::new(kms.settings(team)).await),
        None => keystore,
    }
}
