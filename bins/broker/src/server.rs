//! Accepts connections: TLS with a deadline, a limit on how many, HTTP/1.1 with limits on headers, and an orderly end.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use axum::{Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::{
    AppState,
    export::Exporters,
    housekeeping,
    router::router,
    signatures::Extent,
    tls::{Certificate, TlsError, server_config},
};

/// Room for a request's head: the proof and the token, with space to spare.
const MAX_HEAD: usize = 32 * 1024;

/// Why the broker does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    /// No usable TLS parameters.
    #[error("TLS cannot be configured")]
    TlsConfig(#[source] rustls::Error),
}

/// A broker that listens.
#[derive(Debug)]
pub struct Server {
    app: AppState,
    listener: TcpListener,
    address: SocketAddr,
    certificate: Arc<Certificate>,
}

impl Server {
    /// Binds the configured address and makes the first certificate.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(app: AppState) -> Result<Self, ServeError> {
        let address = app.config().listen;
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Self::on(app, listener).await
    }

    /// Serves on a socket that is bound already.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn on(app: AppState, listener: TcpListener) -> Result<Self, ServeError> {
        let address = app.config().listen;
        let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
        let certificate = Certificate::make(app.config(), &app.authority(), app.now()).await;
        let certificate = certificate.map_err(ServeError::Tls)?;
        Ok(Self { app, listener, address, certificate })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, then lets requests finish for the configured time.
    ///
    /// # Errors
    /// [`ServeError`] when it cannot begin; once it runs, it runs.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { app, listener, certificate, .. } = self;
        let tls = server_config(Arc::clone(&certificate)).map_err(ServeError::TlsConfig)?;
        let acceptor = TlsAcceptor::from(tls);
        let slots = Arc::new(Semaphore::new(app.config().server.max_connections.get()));
        let house = tokio::spawn(housekeeping::run(app.clone(), certificate));
        let exporters = Exporters::start(&app);
        let shared = Arc::new(Shared { router: router(app.clone()), acceptor, app: app.clone() });
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            // Over the limit new connections wait in the kernel's queue.
            let slot = tokio::select! {
                slot = Arc::clone(&slots).acquire_owned() => slot,
                () = &mut stop => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        shared.connection(stream, peer).await;
                        drop(slot);
                    });
                }
                // Out of descriptors, most likely: waiting is better than spinning.
                Err(error) => {
                    tracing::error!(cause = %error, "accept failed");
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        app.stop();
        let deadline = Instant::now() + app.config().server.shutdown_timeout();
        let finished = timeout_at(deadline, async { while connections.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tracing::warn!(connections = connections.len(), "connections did not finish in time");
        }
        connections.shutdown().await;
        house.abort();
        if let Err(error) = app.failures().write_down(app.store(), app.now()).await {
            tracing::error!(cause = %usher_telemetry::Chain(&error), "failures could not be written down");
        }
        housekeeping::count_signatures(&app, Extent::All).await;
        // The last one, so that nothing of this run is left unsigned.
        housekeeping::checkpoint(&app, app.now()).await;
        exporters.finish().await;
        app.store().close().await;
        Ok(())
    }
}

struct Shared {
    router: Router,
    acceptor: TlsAcceptor,
    app: AppState,
}

impl Shared {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        let config = self.app.config();
        // Answers are small; waiting for more of them only adds latency.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let handshake = timeout(config.tls.handshake_timeout(), self.acceptor.accept(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(client_address = %peer, cause = %error, "TLS handshake failed");
            }
            Err(_) => return tracing::debug!(client_address = %peer, "TLS handshake took too long"),
        };
        let router = self.router.clone();
        let service = TowerToHyperService::new(router.map_request(move |request: http::Request<_>| {
            let mut request: http::Request<hyper::body::Incoming> = request;
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(axum::body::Body::new)
        }));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.server.read_timeout())
            .max_buf_size(MAX_HEAD)
            .keep_alive(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut stopping = self.app.stopping();
        tokio::select! {
            result = connection.as_mut() => ended(result, peer),
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                ended(connection.await, peer);
            }
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender lives in the state that we hold; an error cannot be and would only mean the same.
    let _seen = stopping.wait_for(|stopping| *stopping).await.is_ok();
}

fn ended(result: Result<(), hyper::Error>, peer: SocketAddr) {
    if let Err(error) = result {
        tracing::debug!(client_address = %peer, cause = %error, "connection ended");
    }
}
