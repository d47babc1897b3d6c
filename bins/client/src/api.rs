//! API calls of our own commands. They go through the background process: the session token never leaves it.

use serde::{Serialize, de::DeserializeOwned};
use usher_types::TeamSlug;

use crate::{
    cli::Context,
    exit::{Exit, Failure},
    ssh_agent::{
        control::{Answer, Call, ControlClient, Request, unexpected},
        process,
    },
    workload,
};

/// The broker of one team, in the current session.
#[derive(Debug)]
pub struct Api {
    agent: ControlClient,
    team: TeamSlug,
}

impl Api {
    /// Opens the way to the broker.
    ///
    /// # Errors
    /// When nobody is signed in.
    pub fn open(context: &Context, team: &TeamSlug) -> Result<Self, Failure> {
        workload::session(context, team)?;
        let agent = process::running(&context.environment.runtime)?
            .ok_or_else(|| Failure::not_signed_in(team.as_str()))?;
        Ok(Self { agent, team: team.clone() })
    }

    /// `GET`.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.call("GET", path, "", None::<&()>)
    }

    /// `POST`, `PUT` or `PATCH` with a body.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn send<B: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.call(method, path, "", Some(body))
    }

    /// A call whose answer has no body.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn act(&mut self, method: &str, path: &str) -> Result<(), Failure> {
        self.call::<(), serde_json::Value>(method, path, "", None).map(|_| ())
    }

    /// Any call.
    ///
    /// # Errors
    /// What the broker answered.
    pub fn call<B: Serialize, T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: Option<&B>,
    ) -> Result<T, Failure> {
        let body = body
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| Failure::other(format!("cannot encode the request: {error}")))?;
        let call = Call { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), body };
        let Answer::Called { body } = self.agent.ask(&Request::Call { team: self.team.clone(), call })?
        else {
            return Err(unexpected());
        };
        serde_json::from_value(body).map_err(|error| {
            Failure::new(Exit::Network, format!("the broker's answer cannot be understood: {error}"))
        })
    }
}
