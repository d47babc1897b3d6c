//! The unprivileged half: holds the agent's key, talks to the broker, hands bytes to the root helper. Decides nothing.

use std::{cell::Cell, io::Error, os::fd::AsFd as _, path::Path, sync::Arc, time::Duration};

use rustix::{
    process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal},
    thread::set_no_new_privs,
};
use tokio::{
    net::UnixStream,
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use usher_api::{
    ErrorCode,
    v1::{EnrollRequest, ReportRequest, StateQuery},
};
use usher_api_client::{BrokerAddress, CallError, Client, ClientConfig};
use usher_identity::PrivateKey;
use usher_telemetry::Chain;
use usher_types::Sha256;

use crate::{
    clock,
    exit::Failure,
    message::{self, Answer, BrokerState, Enrolled, Job, Report, Request},
    places,
};

/// Seconds that the broker may hold a question for news.
const WAIT: u32 = 55;
/// Between two reports.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Pauses after a failure double from the first to the longest; a broker that comes back meets its agents spread out.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For a server that the broker does not know any more.
const REMOVED_PAUSE: Duration = Duration::from_secs(300);

/// The hidden command `usher-agent network`: standard input is the socket to the helper.
pub(crate) fn run() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Err(Failure::usage("the network process must not run as root; `usher-agent run` starts it"));
    }
    let fail = |error: &Error| Failure::because("the network process cannot start", error);
    // The key stays in this process, and nothing that it starts can gain rights.
    set_no_new_privs(true).map_err(|errno| fail(&errno.into()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| fail(&errno.into()))?;
    // A helper that is killed takes this process along; the next one starts its own.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| fail(&errno.into()))?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| fail(&error))?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(|error| fail(&error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| fail(&error))?;
    runtime.block_on(async {
        let mut stream = UnixStream::from_std(socket).map_err(|error| fail(&error))?;
        match message::receive(&mut stream).await.map_err(|error| fail(&error))? {
            Job::Enroll { url, pin, request } => {
                let answer = match enroll(&url, pin, &request).await {
                    Ok(answer) => Enrolled::Done(Box::new(answer)),
                    Err(failure) => Enrolled::Failed(failure),
                };
                message::send(&mut stream, &answer).await.map_err(|error| fail(&error))
            }
            Job::Serve { url, pins, logging } => {
                logging.start()?;
                serve(&url, &pins, stream).await
            }
        }
    })
}

fn client(url: &str, pins: impl IntoIterator<Item = Sha256>) -> Result<Client, Failure> {
    let path = Path::new(places::STATE_PATH).join(places::KEY);
    let pem = std::fs::read_to_string(&path).map(zeroize::Zeroizing::new);
    let pem = pem.map_err(|error| Failure::because("the agent's key cannot be read", &error))?;
    let key = PrivateKey::from_pkcs8_pem(&pem)
        .map_err(|error| Failure::because("the agent's key cannot be understood", &error))?;
    let address: BrokerAddress =
        url.parse().map_err(|error| Failure::because("the broker's address", &error))?;
    Client::new(ClientConfig::new(address.url, key, clock::now).with_pins(pins))
        .map_err(|error| Failure::because("the broker cannot be called", &error))
}

async fn enroll(
    url: &str,
    pin: Option<Sha256>,
    request: &EnrollRequest,
) -> Result<usher_api::v1::EnrollResponse, Failure> {
    client(url, pin)?.enroll(request).await.map_err(|error| Failure::from(&error))
}

/// One socket to the helper, one question at a time.
struct Helper(Mutex<UnixStream>);

impl Helper {
    async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let mut stream = self.0.lock().await;
        message::send(&mut stream, request).await?;
        message::receive(&mut stream).await
    }
}

/// Runs until the helper is gone, which ends the process.
async fn serve(url: &str, pins: &[Sha256], stream: UnixStream) -> Result<(), Failure> {
    let client = client(url, pins.iter().copied())?;
    let helper = Arc::new(Helper(Mutex::new(stream)));
    let reporter = Reporter { client: &client, quiet_until: Cell::new(None) };
    let outcome = tokio::select! {
        outcome = poll_state(&client, &reporter, &helper) => outcome,
        outcome = report_regularly(&reporter, &helper) => outcome,
    };
    outcome.map_err(|error| Failure::because("the root helper is gone", &error))
}

/// Asks for news without end. Returns only when the helper is gone.
async fn poll_state(client: &Client, reporter: &Reporter<'_>, helper: &Helper) -> Result<(), Error> {
    let mut pause = FIRST_PAUSE;
    let mut known = helper.ask(&Request::Broker(BrokerState::Unknown)).await?;
    loop {
        let query = StateQuery {
            v: usher_account_lifecycle::state::VERSION,
            generation: known.generation,
            server_generation: known.server_generation,
            wait: WAIT,
        };
        match client.agent_state(&query).await {
            Ok(None) => {
                pause = FIRST_PAUSE;
                known = helper.ask(&Request::Broker(BrokerState::Reachable)).await?;
            }
            Ok(Some(state)) => {
                helper.ask(&Request::Broker(BrokerState::Reachable)).await?;
                let offer = Request::Offer { project: state.project, server: state.server };
                known = helper.ask(&offer).await?;
                reporter.report(known.report.take()).await;
                if known.refused.is_some() {
                    // It would be offered again at once.
                    sleep(jittered(pause)).await;
                    pause = next(pause);
                } else {
                    pause = FIRST_PAUSE;
                }
                client.set_pins(std::mem::take(&mut known.pins));
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the broker gives no state");
                let state = broker_state(&error);
                let removed = matches!(state, BrokerState::Removed { .. });
                helper.ask(&Request::Broker(state)).await?;
                sleep(jittered(if removed { REMOVED_PAUSE } else { pause })).await;
                pause = next(pause);
            }
        }
    }
}

/// Reports without end; also makes the helper look at the host when the broker is away.
async fn report_regularly(reporter: &Reporter<'_>, helper: &Helper) -> Result<(), Error> {
    let mut ticks = interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = helper.ask(&Request::Report).await?;
        reporter.report(answer.report).await;
    }
}

/// Tells the broker what the host looks like, no more often than the broker wants to hear it.
struct Reporter<'a> {
    client: &'a Client,
    quiet_until: Cell<Option<Instant>>,
}

impl Reporter<'_> {
    /// A report that is not taken is not repeated: the next one comes in half a minute and says the same or more.
    async fn report(&self, report: Option<Box<Report>>) {
        let Some(report) = report else { return };
        if self.quiet_until.get().is_some_and(|end| Instant::now() < end) {
            return;
        }
        let request = ReportRequest {
            facts: report.facts,
            applied_generation: report.applied_generation,
            applied_server_generation: report.applied_server_generation,
            conflicts: report.conflicts,
            taken_ids: report.taken_ids,
            trusts: report.trusts,
            clock: clock::now(),
        };
        if let Err(error) = self.client.agent_report(&request).await {
            tracing::warn!(error = %Chain(&error), "the broker did not take a report");
            let quiet = error.retry_after().and_then(|pause| Instant::now().checked_add(pause));
            self.quiet_until.set(quiet);
        }
    }
}

fn broker_state(error: &CallError) -> BrokerState {
    let reason = Chain(error).to_string();
    match error.code() {
        Some(ErrorCode::LoginRequired | ErrorCode::NotFound) => BrokerState::Removed { reason },
        Some(_) | None => BrokerState::Unreachable { reason },
    }
}

fn next(pause: Duration) -> Duration {
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

/// Between half of `pause` and the whole.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness everybody comes back at once, which is bad but works.
    let _ = getrandom::fill(&mut random);
    let half = pause / 2;
    half + half * u32::from(u16::from_be_bytes(random)) / 65_536
}
