//! Fixed keys, times and rows.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use usher_identity::{
    AuthenticationMethod, DeviceRecord, DeviceState, Login, PrivateKey, UserRecord, UserStatus,
    dpop::{
        Jti, NonceKey, NonceKeys, PortableVerifier, ProofError, ProofRequest, VerifiedProof, make, verify,
    },
};
use usher_types::{DeviceId, SecretToken, TeamRole, Thumbprint, TokenId, TokenKind, UnixTime, UserId};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::generate(&mut ChaCha20Rng::from_seed([seed; 32]))
}

pub(crate) fn nonces() -> NonceKeys {
    NonceKeys::new(NonceKey::new([1; 32]), None)
}

pub(crate) fn session_token(seed: u8) -> SecretToken {
    SecretToken::new(TokenKind::Session, TokenId::new(NOW, [seed; 10]), [seed; 32])
}

/// A request with every part filled in.
pub(crate) fn request(token: Option<&SecretToken>) -> ProofRequest<'_> {
    ProofRequest {
        method: "POST",
        htu: "https://broker.example:8443/v1/connections",
        query: "wait=1",
        body: br#"{"server":"web-1"}"#,
        token,
    }
}

pub(crate) const JTI: Jti = Jti::new([9; 16]);

pub(crate) fn prove(key: &PrivateKey, request: &ProofRequest<'_>) -> String {
    make(key, request, JTI, Some(&nonces().issue(NOW)), NOW)
}

pub(crate) fn check(proof: &str, request: &ProofRequest<'_>) -> Result<VerifiedProof, ProofError> {
    verify(proof, request, &nonces(), NOW, &PortableVerifier)
}

pub(crate) fn alice() -> UserRecord {
    UserRecord {
        id: UserId::new(NOW, [1; 10]),
        user_name: "alice".parse().unwrap(),
        display_name: "Alice".parse().unwrap(),
        unix_user_name: "alice".parse().unwrap(),
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: None,
        created_at: NOW,
    }
}

pub(crate) fn laptop(owner: UserId, jkt: Thumbprint) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::new(NOW, [2; 10]),
        user_id: owner,
        name: "laptop".parse().unwrap(),
        jkt,
        state: DeviceState::Approved,
        created_at: NOW,
    }
}

/// Stands in for a checked password and one-time password.
pub(crate) struct TestLogin(pub(crate) UserId);

impl Login for TestLogin {
    fn user_id(&self) -> UserId {
        self.0
    }

    fn auth_time(&self) -> UnixTime {
        NOW
    }

    fn amr(&self) -> &[AuthenticationMethod] {
        &[AuthenticationMethod::Password, AuthenticationMethod::OneTimePassword]
    }
}
