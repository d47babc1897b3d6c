//! A token with all restrictions, and a host that meets them.

use usher_enrollment::{Claim, Placement, ServerRole, TokenTerms};
use usher_types::{HostName, Label, ProjectId, SecretToken, ServerId, Sha256, TokenId, TokenKind, UnixTime};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

pub(crate) fn secret(seed: u8) -> SecretToken {
    SecretToken::new(TokenKind::Enrollment, TokenId::new(NOW, [seed; 10]), [seed; 32])
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(crate) fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

pub(crate) fn server_id(seed: u8) -> ServerId {
    ServerId::new(NOW, [seed; 10])
}

pub(crate) fn target(via: Option<&str>) -> Placement {
    Placement::new(ServerRole::Target, None, via.map(label)).unwrap()
}

pub(crate) fn bastion(group: &str, via: Option<&str>) -> Placement {
    Placement::new(ServerRole::Bastion, Some(label(group)), via.map(label)).unwrap()
}

/// One use, names `web-*`, from 10.0.0.0/16, until one second after `NOW`.
pub(crate) fn terms() -> TokenTerms {
    TokenTerms {
        id: secret(1).id(),
        hash: secret(1).hash(),
        project_id: ProjectId::new(NOW, [3; 10]),
        placement: target(Some("edge")),
        labels: [(label("tier"), label("web"))].into(),
        name_pattern: Some("web-*".parse().unwrap()),
        cidr: Some("10.0.0.0/16".parse().unwrap()),
        expires_at: UnixTime::from_secs(NOW.as_secs() + 1),
        max_uses: 1,
        uses: 0,
        revoked_at: None,
    }
}

pub(crate) fn claim() -> Claim {
    Claim { name: host("web-1"), agent_key: Sha256::of(b"agent key"), peer: "10.0.3.4".parse().unwrap() }
}
