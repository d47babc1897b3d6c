//! The two sockets of the background process: who may connect, which bytes come and go. Decisions are in
//! [`super::store`] and [`super::slots`].

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{Notify, oneshot},
};
use usher_types::{ServerId, SessionId, TeamSlug, UnixTime};

use super::{
    control::{self, SignedIn},
    peer::Lineage,
    protocol,
    session_bind::BoundSession,
    slots::{Slots, Ticket},
    store::{Handle, SocketId, Store},
    teams::{Broker, Teams},
};
use crate::{clock, exit::Failure};

mod commands;
mod step_up;

/// A peer that does not finish its frame is not waited for.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// How often keys and sessions that have ended are looked for.
const TICK: Duration = Duration::from_secs(5);
/// Ticks without a session, a key or a peer after which the process ends.
const IDLE_TICKS: u32 = 24;
/// Open connections to either socket; the next one is closed at once.
const MAX_PEERS: usize = 2048;

/// A signed-in team.
pub(super) struct Session {
    broker: Arc<dyn Broker>,
    info: SignedIn,
}

/// Everything the process knows. Never locked across an await.
#[derive(Default)]
struct State {
    store: Store,
    slots: Slots,
    waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
    sessions: BTreeMap<TeamSlug, Session>,
    /// When each team's list of servers was last asked for.
    names_asked: BTreeMap<TeamSlug, UnixTime>,
    sockets: u64,
    step_ups: step_up::StepUps,
}

impl State {
    fn session_of(&self, team: &TeamSlug) -> Option<SessionId> {
        self.sessions.get(team).map(|session| session.info.session.id)
    }
}

/// The background process's heart; cheap to clone.
#[derive(Clone)]
pub struct Agent {
    state: Arc<Mutex<State>>,
    teams: Arc<dyn Teams>,
    stop: Arc<Notify>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that holds nothing yet.
    #[must_use]
    pub fn new(teams: Arc<dyn Teams>) -> Self {
        Self { state: Arc::default(), teams, stop: Arc::new(Notify::new()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves both sockets until told to stop, or until no session is left and nobody is connected.
    pub async fn serve(self, sockets: Sockets) {
        let peers = Arc::new(tokio::sync::Semaphore::new(MAX_PEERS));
        let mut tick = tokio::time::interval(TICK);
        let mut idle = 0;
        loop {
            let (stream, control) = tokio::select! {
                accepted = sockets.ssh.accept() => (accepted, false),
                accepted = sockets.control.accept() => (accepted, true),
                () = self.stop.notified() => return,
                _ = tick.tick() => {
                    let needed = self.tidy(clock::now()) || peers.available_permits() < MAX_PEERS;
                    idle = if needed { 0 } else { idle + 1 };
                    if idle > IDLE_TICKS {
                        return;
                    }
                    continue;
                }
            };
            let Ok((stream, _)) = stream else {
                // Out of descriptors, most likely: waiting a tick lets some close.
                tick.tick().await;
                continue;
            };
            let Some(peer) = permitted(&stream) else { continue };
            let Ok(permit) = Arc::clone(&peers).try_acquire_owned() else { continue };
            let agent = self.clone();
            tokio::spawn(async move {
                if control {
                    agent.serve_control(stream, peer).await;
                } else {
                    agent.serve_ssh(stream, peer).await;
                }
                drop(permit);
            });
        }
    }

    /// Drops what has ended, and says whether anything is left to hold.
    fn tidy(&self, now: UnixTime) -> bool {
        let mut state = self.state();
        state.store.expire(now);
        state.sessions.retain(|_, session| now < session.info.session.expires_at);
        let holds = !state.sessions.is_empty() || !state.store.is_empty();
        drop(state);
        self.grant(now);
        holds
    }

    /// The OpenSSH agent protocol with one `ssh`.
    async fn serve_ssh(&self, mut stream: UnixStream, peer: Lineage) {
        let socket = {
            let mut state = self.state();
            state.sockets = state.sockets.saturating_add(1);
            SocketId(state.sockets)
        };
        let mut bound = None;
        while let Some(frame) = read_frame(&mut stream, protocol::MAX_FRAME).await {
            let Ok(request) = protocol::Request::parse(&frame) else { break };
            let binds = matches!(request, protocol::Request::SessionBind(_));
            let response = self.answer(socket, &mut bound, &peer, request);
            let refused = response == protocol::Response::Failure;
            // SECURITY: whoever fails to bind would otherwise go on like an `ssh` that cannot bind (before 8.9), for
            // whom less is checked.
            if stream.write_all(&response.encode()).await.is_err() || (binds && refused) {
                break;
            }
        }
        self.state().store.release(socket);
    }

    fn answer(
        &self,
        socket: SocketId,
        bound: &mut Option<BoundSession>,
        peer: &Lineage,
        request: protocol::Request,
    ) -> protocol::Response {
        use protocol::{Request, Response};
        match request {
            Request::Identities => {
                Response::Identities(self.state().store.offer(socket, bound.as_ref(), peer, clock::now()))
            }
            Request::Sign(request) => {
                let signed = self.state().store.sign(socket, bound.as_ref(), &request, clock::now());
                match signed {
                    Ok((signature, signed)) => {
                        tracing::debug!(server_id = %signed.server, "signed an authentication");
                        self.state().slots.release(signed.handle, signed.server);
                        self.grant(clock::now());
                        Response::Signature(signature)
                    }
                    Err(refusal) => {
                        tracing::warn!(reason = %refusal, "refused to sign");
                        Response::Failure
                    }
                }
            }
            // One session per socket connection: a second binding would move a reserved identity to another host.
            Request::SessionBind(_) if bound.is_some() => Response::Failure,
            Request::SessionBind(bind) => match BoundSession::verify(&bind) {
                Ok(session) => {
                    *bound = Some(session);
                    Response::Success
                }
                Err(error) => {
                    tracing::warn!(reason = %error, "refused a session binding");
                    Response::Failure
                }
            },
            Request::UnknownExtension => Response::ExtensionFailure,
            Request::Unsupported => Response::Failure,
        }
    }

    /// Typed requests of one of our own commands. What it connected ends with it.
    async fn serve_control(&self, mut stream: UnixStream, peer: Lineage) {
        let mut held = Held::default();
        while let Some(frame) = read_frame(&mut stream, control::MAX_REQUEST).await {
            let answer = match serde_json::from_slice(&frame) {
                Ok(request) => self.command(request, &peer, &mut held).await,
                Err(_) => Err(Failure::other("the usher background process is of another version")
                    .next("run `usher ssh-agent --stop`, then sign in again")),
            };
            let answer = answer.unwrap_or_else(control::Answer::Failed);
            let Ok(frame) = control::encode(&answer) else { break };
            if stream.write_all(&frame).await.is_err() {
                break;
            }
        }
        if let Some(lead) = held.lead {
            self.end_lead(lead);
        }
        if let Some(connected) = held.connected {
            self.forget(connected.handle);
        }
    }

    fn forget(&self, handle: Handle) {
        let mut state = self.state();
        state.store.remove(handle);
        state.slots.forget(handle);
        drop(state);
        self.grant(clock::now());
    }

    /// Wakes those whose slots came free.
    fn grant(&self, now: UnixTime) {
        let mut state = self.state();
        for ticket in state.slots.grant(now) {
            if let Some(waiter) = state.waiting.remove(&ticket) {
                // Nobody waits any more when the peer is gone; its slots go with its connection.
                let _ = waiter.send(());
            }
        }
    }
}

/// What one control connection holds, and what ends with it.
#[derive(Default)]
struct Held {
    connected: Option<Connecting>,
    lead: Option<step_up::Lead>,
}

/// A connection made over one control socket.
struct Connecting {
    handle: Handle,
    /// Servers of each route.
    routes: Vec<BTreeSet<ServerId>>,
    /// The last server of each route.
    targets: Vec<ServerId>,
}

/// Only processes of the same user; the directory's mode says the same a second time.
fn permitted(stream: &UnixStream) -> Option<Lineage> {
    let credentials = stream.peer_cred().ok()?;
    if credentials.uid() != rustix::process::getuid().as_raw() {
        tracing::warn!(uid = credentials.uid(), "refused a process of another user");
        return None;
    }
    Some(Lineage::of(credentials.pid()))
}

/// One length-prefixed frame; `None` at the end, when it is too long, or when it does not come in time.
async fn read_frame(stream: &mut UnixStream, max: usize) -> Option<Vec<u8>> {
    // Between frames a peer may be silent for as long as it likes.
    let length = usize::try_from(stream.read_u32().await.ok()?).ok()?;
    if length > max {
        return None;
    }
    let mut frame = vec![0_u8; length];
    let read = tokio::time::timeout(FRAME_TIMEOUT, stream.read_exact(&mut frame)).await;
    read.ok()?.ok().map(|_| frame)
}

/// The bound sockets.
#[derive(Debug)]
pub struct Sockets {
    ssh: UnixListener,
    control: UnixListener,
    directory: PathBuf,
}

impl Sockets {
    /// Binds both sockets in a directory that only its owner can enter. The caller holds the directory's lock, so what
    /// is in the way is left over.
    ///
    /// # Errors
    /// When the directory is not private or the sockets cannot be bound.
    pub fn bind(directory: &Path) -> Result<Self, Failure> {
        crate::files::private_directory(directory)?;
        Ok(Self {
            ssh: listen(&directory.join(crate::cli::environment::SSH_SOCKET))?,
            control: listen(&directory.join(crate::cli::environment::CONTROL_SOCKET))?,
            directory: directory.to_owned(),
        })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for name in [crate::cli::environment::SSH_SOCKET, crate::cli::environment::CONTROL_SOCKET] {
            // Left over sockets are replaced at the next start.
            let _ = std::fs::remove_file(self.directory.join(name));
        }
    }
}

fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let failed =
        |error: std::io::Error| Failure::io(format_args!("cannot listen on `{}`", path.display()), &error);
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
