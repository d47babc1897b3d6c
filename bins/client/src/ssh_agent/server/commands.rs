//! What the background process does for each control request.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::oneshot;
use usher_api::{
    ErrorCode,
    v1::{Connection, ConnectionRequest, TokenExchange, TokenRequest},
};
use usher_telemetry::Chain;
use usher_types::TeamSlug;
use zeroize::Zeroizing;

use super::{Agent, Connecting, Held, Session};
use crate::{
    clock,
    exit::{Exit, Failure},
    random,
    ssh_agent::{
        control::{
            Answer, Call, Connect, Connected, LegPlan, Request, RoutePlan, SignIn, SignedIn, Status, VERSION,
        },
        peer::Lineage,
        store::{ConnectionKey, NewConnection},
        teams::Broker,
    },
};

/// As many keys as a route has legs at most: target and two hops.
const KEYS: usize = 3;
/// How old the index of server names may get while somebody works with a team's servers.
const NAMES_FRESH: Duration = Duration::from_secs(60);
/// Waiting for handshake slots ends with an error after this.
const SLOTS_TIMEOUT: Duration = Duration::from_secs(120);

impl Agent {
    pub(super) async fn command(
        &self,
        request: Request,
        peer: &Lineage,
        held: &mut Held,
    ) -> Result<Answer, Failure> {
        if let Some(lead) = held.lead.take() {
            self.end_lead(lead);
        }
        let connected = &mut held.connected;
        match request {
            Request::Hello => Ok(Answer::Welcome { version: VERSION, pid: std::process::id() }),
            Request::Status => Ok(Answer::Status(self.status())),
            Request::Stop => {
                self.stop.notify_one();
                Ok(Answer::Done)
            }
            Request::KnownHosts { host } => {
                Ok(Answer::HostKeys { keys: self.state().store.known_hosts(&host, peer) })
            }
            Request::Exchange { team, exchange } => self.exchange(team, &exchange).await,
            Request::SignIn { team, sign_in } => self.sign_in(team, sign_in).await,
            Request::SignOut { team } => self.sign_out(&team).await,
            Request::Call { team, call } => self.call(&team, &call).await,
            Request::Connect(connect) => {
                if let Some(previous) = connected.take() {
                    self.forget(previous.handle);
                }
                let (answer, connecting) = self.connect(connect, peer).await?;
                *connected = Some(connecting);
                Ok(Answer::Connected(answer))
            }
            Request::StepUp { team, server } => self.step_up(team, server, &mut held.lead).await,
            Request::Slots { route, wait } => self.take_slots(connecting(connected)?, route, wait).await,
            Request::Started { route, pid } => {
                self.state().store.started(connecting(connected)?.handle, route, pid);
                Ok(Answer::Done)
            }
            Request::Chosen { route } => {
                let connecting = connecting(connected)?;
                let mut state = self.state();
                state.store.choose(connecting.handle, route);
                // Only the chosen target's handshake is still to come.
                let hops = connecting.routes.iter().flatten().copied().collect::<BTreeSet<_>>();
                let target =
                    connecting.routes.get(route).and_then(|_| connecting.targets.get(route)).copied();
                for server in hops.into_iter().filter(|server| Some(*server) != target) {
                    state.slots.release(connecting.handle, server);
                }
                drop(state);
                self.grant(clock::now());
                Ok(Answer::Done)
            }
        }
    }

    fn status(&self) -> Status {
        let state = self.state();
        Status {
            pid: std::process::id(),
            teams: state
                .sessions
                .iter()
                .map(|(team, session)| (team.clone(), session.info.clone()))
                .collect(),
            keys: state.store.len(),
            slots: state.slots.held(),
            most_slots: state.slots.most(),
            waiting: state.step_ups.wanted(),
        }
    }

    async fn sign_in(&self, team: TeamSlug, sign_in: SignIn) -> Result<Answer, Failure> {
        let broker = self.teams.open(&team)?;
        let answer = broker
            .sign_in(TokenRequest {
                code: sign_in.code,
                code_verifier: sign_in.code_verifier,
                redirect_uri: sign_in.redirect_uri,
                device_name: sign_in.device_name,
            })
            .await?;
        let info = SignedIn { user: answer.user, device: answer.device, session: answer.session };
        self.state().sessions.insert(team, Session { broker, info: info.clone() });
        Ok(Answer::SignedIn(Box::new(info)))
    }

    /// SECURITY: the key of the session is not the one on the disk, and is gone with this process.
    async fn exchange(&self, team: TeamSlug, exchange: &TokenExchange) -> Result<Answer, Failure> {
        let broker = self.teams.open_with_new_key(&team)?;
        let answer = broker.exchange(exchange).await?;
        let info = SignedIn { user: answer.user, device: answer.device, session: answer.session };
        self.state().sessions.insert(team, Session { broker, info: info.clone() });
        Ok(Answer::SignedIn(Box::new(info)))
    }

    async fn sign_out(&self, team: &TeamSlug) -> Result<Answer, Failure> {
        // Forgotten first: whatever the broker answers, this process cannot use the session any more.
        let session = self.state().sessions.remove(team);
        let Some(session) = session else { return Err(Failure::not_signed_in(team.as_str())) };
        let ended = session.broker.end_session().await;
        let needed = {
            let state = self.state();
            !state.sessions.is_empty() || !state.store.is_empty()
        };
        if !needed {
            self.stop.notify_one();
        }
        match ended {
            Err(failure) if failure.exit != Exit::LoginNeeded => {
                Err(failure.context("signed out here, but the broker could not be told"))
            }
            _ => Ok(Answer::Done),
        }
    }

    fn broker(&self, team: &TeamSlug) -> Result<Arc<dyn Broker>, Failure> {
        let state = self.state();
        let session =
            state.sessions.get(team).filter(|session| clock::now() < session.info.session.expires_at);
        session
            .map(|session| Arc::clone(&session.broker))
            .ok_or_else(|| Failure::not_signed_in(team.as_str()))
    }

    /// A session that the broker no longer knows is of no use here, unless another has taken its place.
    fn note(&self, team: &TeamSlug, broker: &Arc<dyn Broker>, failure: Failure) -> Failure {
        if failure.code == Some(ErrorCode::LoginRequired) && !self.is_replaced(team, broker) {
            self.state().sessions.remove(team);
        }
        failure
    }

    /// Whether somebody has signed in again since.
    fn is_replaced(&self, team: &TeamSlug, broker: &Arc<dyn Broker>) -> bool {
        self.state().sessions.get(team).is_some_and(|session| !Arc::ptr_eq(&session.broker, broker))
    }

    async fn call(&self, team: &TeamSlug, call: &Call) -> Result<Answer, Failure> {
        let mut broker = self.broker(team)?;
        let mut called = broker.call(call).await;
        if called.is_err() && self.is_replaced(team, &broker) {
            broker = self.broker(team)?;
            called = broker.call(call).await;
        }
        let body = called.map_err(|failure| self.note(team, &broker, failure))?;
        self.freshen_names(team, &broker);
        Ok(Answer::Called { body })
    }

    /// Keeps the index of names that `usher resolve` reads, and the roots that the broker is believed by, as fresh as the
    /// work with the team is: servers come, a device is approved, a root is rotated, without anybody asking. In the
    /// background, and at most once a minute.
    fn freshen_names(&self, team: &TeamSlug, broker: &Arc<dyn Broker>) {
        let now = clock::now();
        let asked = self.state().names_asked.get(team).copied();
        if asked.is_some_and(|asked| now.since(asked) < NAMES_FRESH) {
            return;
        }
        self.state().names_asked.insert(team.clone(), now);
        let (agent, team, broker) = (self.clone(), team.clone(), Arc::clone(broker));
        tokio::spawn(async move {
            let list = Call {
                method: "GET".to_owned(),
                path: "/v1/servers".to_owned(),
                query: String::new(),
                body: None,
            };
            let servers = broker.call(&list).await.ok().and_then(|page| serde_json::from_value(page).ok());
            let Some(servers) = servers else {
                // Not approved yet, most likely: the next call may be luckier.
                agent.state().names_asked.remove(&team);
                return;
            };
            let pins = broker.learn_pins().await.unwrap_or_default();
            let teams = Arc::clone(&agent.teams);
            let kept = tokio::task::spawn_blocking(move || {
                let (pins, names) = (teams.keep_pins(&team, &pins), teams.keep_names(&team, &servers));
                pins.and(names)
            });
            if let Ok(Err(failure)) = kept.await {
                tracing::warn!(%failure, "what the broker said was not written down");
            }
        });
    }

    async fn connect(&self, connect: Connect, peer: &Lineage) -> Result<(Connected, Connecting), Failure> {
        let mut broker = self.broker(&connect.team)?;
        let keys = (0..KEYS)
            .map(|_| Ok(ConnectionKey::from_seed(&Zeroizing::new(random::bytes()?))))
            .collect::<Result<Vec<_>, Failure>>()?;
        let request = ConnectionRequest {
            server: connect.server.clone(),
            login: connect.login,
            purpose: connect.purpose,
            csr: None,
            via: connect.via,
            keys: keys.iter().map(ConnectionKey::to_openssh).collect(),
        };
        let mut connected = broker.connect(&request).await;
        if connected.is_err() && self.is_replaced(&connect.team, &broker) {
            broker = self.broker(&connect.team)?;
            connected = broker.connect(&request).await;
        }
        let connection = connected.map_err(|failure| {
            let failure = self.note(&connect.team, &broker, failure);
            // The broker does not tell what is missing from what is hidden; neither do we.
            if failure.code == Some(ErrorCode::NotFound) && failure.next.is_none() {
                return failure.next("`usher servers` shows what you may reach");
            }
            failure
        })?;
        self.freshen_names(&connect.team, &broker);
        let answer = plan(&connection);
        let names = [
            connect.host,
            connect.server,
            connection.server_name.clone(),
            format!("{}.{}.usher", connection.server_name, connect.team),
        ];
        let connecting = |handle| Connecting {
            handle,
            routes: answer
                .routes
                .iter()
                .map(|route| route.legs.iter().map(|leg| leg.server_id).collect())
                .collect(),
            targets: answer
                .routes
                .iter()
                .filter_map(|route| route.legs.last())
                .map(|leg| leg.server_id)
                .collect(),
        };
        let new = NewConnection { connection, keys, names: names.into_iter().collect(), proxy: peer.clone() };
        let handle = self.state().store.add(new).map_err(|error| {
            Failure::new(Exit::Network, format!("the broker's answer cannot be used: {}", Chain(&error)))
        })?;
        let connecting = connecting(handle);
        Ok((answer, connecting))
    }

    async fn take_slots(&self, connecting: &Connecting, route: usize, wait: bool) -> Result<Answer, Failure> {
        let servers = connecting.routes.get(route).cloned().ok_or_else(|| Failure::other("no such route"))?;
        let (sender, mut receiver) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            let ticket = state.slots.ask(connecting.handle, servers);
            state.waiting.insert(ticket, sender);
            ticket
        };
        self.grant(clock::now());
        let granted = if wait {
            tokio::time::timeout(SLOTS_TIMEOUT, &mut receiver).await.is_ok()
        } else {
            receiver.try_recv().is_ok()
        };
        if !granted {
            let mut state = self.state();
            state.slots.cancel(ticket);
            state.waiting.remove(&ticket);
            if wait {
                return Err(Failure::new(
                    Exit::Network,
                    "too many connections to this server are signing in",
                )
                .next("try again when the others are through"));
            }
        }
        Ok(Answer::Slots { granted })
    }
}

fn connecting(connected: &Option<Connecting>) -> Result<&Connecting, Failure> {
    connected.as_ref().ok_or_else(|| Failure::other("connect first"))
}

fn plan(connection: &Connection) -> Connected {
    let routes = connection.routes.iter().map(|route| RoutePlan {
        legs: route
            .legs
            .iter()
            .map(|leg| LegPlan {
                server_id: leg.server_id,
                name: leg.name.clone(),
                account: leg.account.clone(),
                addresses: leg.addresses.clone(),
            })
            .collect(),
    });
    Connected {
        id: connection.id,
        server: connection.server_name.clone(),
        login: connection.login.clone(),
        routes: routes.collect(),
    }
}
