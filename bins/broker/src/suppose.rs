//! What would be decided if somebody asked: the decision itself, over the rows as they are now, about circumstances that are
//! told instead of seen. Signs nothing, writes nothing.

mod diff;

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use usher_api::v1::{
    PolicyTest, PolicyTestCase, PolicyTestDecision, PolicyTestResult, PolicyTestSignIn, Purpose, Verdict,
};
use usher_identity::{AuthenticationMethod, DeviceState, UserStatus};
use usher_policy::{AccessRequest, Asker, Decision, suppose};
use usher_store::{Conn, connections, devices, servers, users};
use usher_types::UnixTime;

use crate::{AppState, admin::conditions, answer::Answer, error::ApiError, extract::Admin};

/// In one request; a longer file is asked in several.
const MOST_CASES: usize = 100;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/v1/policy-test", post(test)).route("/v1/policy-diff", post(diff::diff))
}

async fn test(
    State(app): State<AppState>,
    Admin { info, body, .. }: Admin<PolicyTest>,
) -> Result<Answer<PolicyTestResult>, ApiError> {
    if body.cases.len() > MOST_CASES {
        return Err(ApiError::invalid(format!("cases: at most {MOST_CASES} at once")));
    }
    let mut reader = app.store().read().await?;
    let mut decisions = Vec::with_capacity(body.cases.len());
    for case in &body.cases {
        decisions.push(decide(&mut reader, case, info.now).await?);
    }
    Ok(Answer::ok(PolicyTestResult { decisions }))
}

async fn decide(
    conn: &mut Conn,
    case: &PolicyTestCase,
    now: UnixTime,
) -> Result<PolicyTestDecision, ApiError> {
    let Some(user) = users::find(conn, &case.user).await? else {
        return Ok(denied("unknown_user", format!("there is no user `{}`", shown(&case.user))));
    };
    let Some(server) = servers::find(conn, &case.server).await? else {
        return Ok(denied("unknown_server", format!("there is no server `{}`", shown(&case.server))));
    };
    let now = case.at.unwrap_or(now);
    let PolicyTestSignIn { age_seconds, second_factor, named_server, device } = &case.sign_in;
    // What stands in the way before policy is asked.
    match user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => {
            return Ok(denied("user_disabled", format!("user `{}` is disabled", user.user_name)));
        }
    }
    let approved = devices::of_user(conn, user.id).await?.into_iter().map(|device| device.record);
    let mut approved = approved.filter(|device| match device.state {
        DeviceState::Approved => true,
        DeviceState::Pending | DeviceState::Revoked => false,
    });
    let device = match device {
        Some(name) => approved.find(|device| device.name == *name),
        None => approved.next(),
    };
    let Some(device) = device else {
        return Ok(denied(
            "no_approved_device",
            format!("user `{}` has no such approved device", user.user_name),
        ));
    };
    let facts = connections::facts(conn, user.id, Some(device.id), &server).await?;
    let mut facts = facts.ok_or_else(|| ApiError::not_found("server", &case.server))?;
    let auth_time = now.saturating_sub(Duration::from_secs((*age_seconds).into()));
    facts.named_at = named_server.then_some(auth_time);
    let amr: &[AuthenticationMethod] =
        if *second_factor { &[AuthenticationMethod::MultiFactor] } else { &[AuthenticationMethod::Password] };
    let request = AccessRequest { login: case.login.clone(), purpose: purpose(case.purpose) };
    let device = Some((device.id, &device.name));
    let asker = Asker { user_id: user.id, user_name: &user.user_name, device, auth_time, amr };
    Ok(told(suppose(&asker, &request, &facts, case.from, now)))
}

pub(crate) fn purpose(purpose: Purpose) -> usher_policy::Purpose {
    match purpose {
        Purpose::Command => usher_policy::Purpose::Command,
        Purpose::Interactive => usher_policy::Purpose::Interactive,
    }
}

fn told(decision: Decision<usher_policy::Capabilities>) -> PolicyTestDecision {
    match decision {
        Decision::Allow(capabilities) => PolicyTestDecision {
            login: Some(capabilities.login),
            server_admin: capabilities.server_admin,
            port_forwarding: capabilities.permit_port_forwarding,
            ..bare(Verdict::Allow)
        },
        Decision::Deny(denial) => PolicyTestDecision {
            codes: denial.reasons().map(|reason| reason.code().to_owned()).collect(),
            reasons: denial.reasons().map(ToString::to_string).collect(),
            ..bare(Verdict::Deny)
        },
        Decision::StepUp(step_up) => PolicyTestDecision {
            codes: vec!["step_up".to_owned()],
            reasons: vec![step_up.to_string()],
            asks: conditions::shown_authentication(step_up.wanted()),
            ..bare(Verdict::AllowAfterSignIn)
        },
    }
}

fn denied(code: &str, reason: String) -> PolicyTestDecision {
    PolicyTestDecision { codes: vec![code.to_owned()], reasons: vec![reason], ..bare(Verdict::Deny) }
}

fn bare(verdict: Verdict) -> PolicyTestDecision {
    PolicyTestDecision {
        verdict,
        login: None,
        server_admin: false,
        port_forwarding: false,
        codes: Vec::new(),
        reasons: Vec::new(),
        asks: Default::default(),
    }
}

/// A name that somebody wrote, as an error message may repeat it.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_default).collect()
}
