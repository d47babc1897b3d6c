//! Recovery codes: what stands in for a second factor that is lost, each once. Only their hashes are stored.

use rand_core::CryptoRng;
use usher_types::Sha256;
use zeroize::Zeroizing;

use crate::typed_code::TypedCode;

/// How many a person gets at a time.
pub const RECOVERY_CODES: usize = 10;
/// So many, and their owner is told to make new ones.
pub const FEW_RECOVERY_CODES: u32 = 3;

/// A recovery code: 75 random bits, so a fast hash of it may be stored. Cannot be printed by accident; wiped on drop.
#[derive(Clone, Debug)]
pub struct RecoveryCode(TypedCode<15>);

impl RecoveryCode {
    /// A fresh code.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(TypedCode::generate(rng))
    }

    /// The text for its owner: `XXXXX-XXXXX-XXXXX`.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        self.0.reveal()
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        self.0.hash(b"usher-recovery-code\0")
    }

    /// Reads what a person typed, as [`crate::SetUpCode`] does; `None` when it is no such code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        TypedCode::parse(text).map(Self)
    }
}
