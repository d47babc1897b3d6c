//! Who signs in again when several commands need it at once: one leads and names the servers of all, the others wait. If the
//! one gives up, so do those who waited.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Mutex, OwnedMutexGuard};
use usher_types::{HostName, SessionId, TeamSlug};

use super::Agent;
use crate::{
    exit::{Exit, Failure},
    ssh_agent::control::Answer,
};

/// How long the one that leads waits for others, so that it can name their servers too.
const GATHER: Duration = Duration::from_millis(300);

/// What the process remembers of this, by team.
#[derive(Default)]
pub(super) struct StepUps(BTreeMap<TeamSlug, Team>);

impl StepUps {
    /// Servers for which somebody waits who does not lead.
    pub(super) fn wanted(&self) -> BTreeSet<HostName> {
        self.0.values().flat_map(|of_team| &of_team.wanted).cloned().collect()
    }
}

#[derive(Default)]
struct Team {
    turn: Arc<Mutex<()>>,
    wanted: BTreeSet<HostName>,
    given_up: u64,
}

/// Held by the connection of the command that leads.
pub(super) struct Lead {
    team: TeamSlug,
    session: Option<SessionId>,
    turn: OwnedMutexGuard<()>,
}

impl Agent {
    pub(super) async fn step_up(
        &self,
        team: TeamSlug,
        server: HostName,
        lead: &mut Option<Lead>,
    ) -> Result<Answer, Failure> {
        let (turn, given_up, session) = {
            let mut state = self.state();
            let session = state.session_of(&team);
            let of_team = state.step_ups.0.entry(team.clone()).or_default();
            of_team.wanted.insert(server.clone());
            (Arc::clone(&of_team.turn), of_team.given_up, session)
        };
        let turn = turn.lock_owned().await;
        let (now, given_up_now) = {
            let state = self.state();
            let given_up = state.step_ups.0.get(&team).map(|of_team| of_team.given_up);
            (state.session_of(&team), given_up.unwrap_or_default())
        };
        if now != session || given_up_now != given_up {
            // Whoever signs in next must not do it for what nobody waits for any more.
            if let Some(of_team) = self.state().step_ups.0.get_mut(&team) {
                of_team.wanted.remove(&server);
            }
        }
        if now != session {
            return Ok(Answer::Done);
        }
        if given_up_now != given_up {
            return Err(Failure::new(Exit::LoginNeeded, "nobody signed in").next("try again"));
        }
        tokio::time::sleep(GATHER).await;
        let servers = {
            let mut state = self.state();
            state.step_ups.0.get_mut(&team).map(|of_team| std::mem::take(&mut of_team.wanted))
        };
        *lead = Some(Lead { team, session, turn });
        Ok(Answer::Lead { servers: servers.unwrap_or_default() })
    }

    /// The command that led goes on, or is gone.
    pub(super) fn end_lead(&self, lead: Lead) {
        let Lead { team, session, turn } = lead;
        {
            let mut state = self.state();
            let gave_up = state.session_of(&team) == session;
            if let Some(of_team) = state.step_ups.0.get_mut(&team).filter(|_| gave_up) {
                of_team.given_up = of_team.given_up.saturating_add(1);
            }
        }
        // Only now: whoever comes next sees how it ended.
        drop(turn);
    }
}
