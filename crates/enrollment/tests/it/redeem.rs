//! Rows 17 and 18: a token is good for what its maker said, and nobody learns more.

use std::time::Duration;

use usher_enrollment::{
    Claim, PriorEnrollment, REPEAT_WINDOW, Redemption, Refusal, RefusalReason, TokenTerms, redeem,
};
use usher_types::{SecretToken, Sha256, TokenId, TokenKind, UnixTime};

use crate::fixture::{NOW, claim, host, secret, server_id, terms};

fn prior(token: &SecretToken, enrolled_at: UnixTime) -> PriorEnrollment {
    PriorEnrollment { server_id: server_id(8), token_id: token.id(), enrolled_at }
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut TokenTerms, &mut Claim), expected: RefusalReason) {
    let (mut terms, mut claim) = (terms(), claim());
    change(&mut terms, &mut claim);
    assert_eq!(redeem(&terms, &secret(1), &claim, None, NOW).unwrap_err().reason(), expected);
}

#[test]
fn makes_a_server_as_the_token_says() {
    let (terms, claim) = (terms(), claim());
    let Redemption::New(admission) = redeem(&terms, &secret(1), &claim, None, NOW).unwrap() else {
        panic!("nothing came before")
    };
    assert_eq!(admission.claimed_name(), &claim.name);
    let server = admission.enroll(server_id(1), host("web-1-2"));
    assert_eq!((server.id(), server.name().as_str()), (server_id(1), "web-1-2"));
    assert_eq!((server.project_id(), server.token_id()), (terms.project_id, terms.id));
    assert_eq!((server.placement(), server.labels()), (&terms.placement, &terms.labels));
    assert_eq!((server.agent_key(), server.enrolled_at()), (claim.agent_key, NOW));
}

#[test]
fn holds_to_every_restriction() {
    refuses(|terms, _| terms.expires_at = NOW, RefusalReason::Expired);
    refuses(|terms, _| terms.uses = 1, RefusalReason::Used);
    refuses(|terms, _| terms.max_uses = 0, RefusalReason::Used);
    refuses(|terms, _| terms.revoked_at = Some(NOW), RefusalReason::Revoked);
    refuses(|_, claim| claim.name = host("db-1"), RefusalReason::Name);
    refuses(|_, claim| claim.peer = "10.1.0.1".parse().unwrap(), RefusalReason::Network);
    refuses(|_, claim| claim.peer = "::1".parse().unwrap(), RefusalReason::Network);
}

#[test]
fn refuses_another_secret_id_or_kind() {
    let reason =
        |presented: &SecretToken| redeem(&terms(), presented, &claim(), None, NOW).unwrap_err().reason();
    assert_eq!(reason(&SecretToken::new(TokenKind::Enrollment, terms().id, [9; 32])), RefusalReason::Secret);
    assert_eq!(reason(&secret(2)), RefusalReason::Unknown);
    assert_eq!(reason(&SecretToken::new(TokenKind::Session, terms().id, [1; 32])), RefusalReason::Unknown);
}

#[test]
fn the_secret_is_compared_before_anything_else() {
    // Who knows only an id learns nothing, not even whether the token has ended.
    let wrong = SecretToken::new(TokenKind::Enrollment, terms().id, [9; 32]);
    let ended = TokenTerms { expires_at: NOW, uses: 1, revoked_at: Some(NOW), ..terms() };
    let elsewhere = Claim { peer: "192.0.2.1".parse().unwrap(), ..claim() };
    let prior = prior(&wrong, NOW);
    let refused = redeem(&ended, &wrong, &elsewhere, Some(&prior), NOW).unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::Secret);
}

#[test]
fn every_refusal_says_the_same() {
    // Row 55: no enumeration of tokens.
    let reasons = [
        RefusalReason::Expired,
        RefusalReason::KeyInUse,
        RefusalReason::Name,
        RefusalReason::Network,
        RefusalReason::Revoked,
        RefusalReason::Secret,
        RefusalReason::Unknown,
        RefusalReason::Used,
    ];
    let mut codes: Vec<&str> = reasons.iter().map(|reason| reason.code()).collect();
    for reason in reasons {
        assert_eq!(Refusal::from(reason).to_string(), Refusal::unknown().to_string());
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), reasons.len(), "but the audit log can tell");
}

#[test]
fn a_lost_answer_can_be_asked_for_again() {
    // The first attempt used the token up, and its time is over by now.
    let (used, claim) = (TokenTerms { uses: 1, ..terms() }, claim());
    let prior = prior(&secret(1), NOW);
    for later in [Duration::ZERO, Duration::from_secs(5), REPEAT_WINDOW] {
        let again = redeem(&used, &secret(1), &claim, Some(&prior), NOW.saturating_add(later)).unwrap();
        assert!(matches!(again, Redemption::Again(server) if server == server_id(8)), "{again:?}");
    }
}

#[test]
fn a_key_makes_one_server() {
    let reason = |prior: &PriorEnrollment, now| {
        redeem(&terms(), &secret(1), &claim(), Some(prior), now).unwrap_err().reason()
    };
    let late = NOW.saturating_add(REPEAT_WINDOW + Duration::from_millis(1));
    assert_eq!(reason(&prior(&secret(1), NOW), late), RefusalReason::KeyInUse);
    assert_eq!(reason(&prior(&secret(2), NOW), NOW), RefusalReason::KeyInUse);
}

#[test]
fn a_revoked_token_answers_nobody() {
    let revoked = TokenTerms { revoked_at: Some(NOW), ..terms() };
    let prior = prior(&secret(1), NOW);
    let refused = redeem(&revoked, &secret(1), &claim(), Some(&prior), NOW).unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::Revoked);
}

#[test]
fn without_restrictions_every_host_may_come() {
    let open = TokenTerms { name_pattern: None, cidr: None, ..terms() };
    let stranger = Claim {
        name: host("anything"),
        agent_key: Sha256::of(b"other"),
        peer: "2001:db8::1".parse().unwrap(),
    };
    assert!(matches!(redeem(&open, &secret(1), &stranger, None, NOW).unwrap(), Redemption::New(_)));
}

#[test]
fn ids_and_secrets_are_two_things() {
    // Same secret under another id is another token.
    let other = SecretToken::new(TokenKind::Enrollment, TokenId::new(NOW, [9; 10]), [1; 32]);
    assert_eq!(other.hash(), secret(1).hash());
    assert!(redeem(&terms(), &other, &claim(), None, NOW).is_err());
}
