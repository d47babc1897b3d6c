//! Keys and certificates of connections being made, and who may use which: pure state, told the time and asked
//! questions. No sockets, no clock.
//!
//! An identity belongs to one leg of one route of one connection. It is offered to one socket connection, signs one
//! authentication to the host it was made for, and is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;
use usher_api::v1::{Connection, Leg};
use usher_types::{ServerId, UnixTime};

use super::{
    peer::Lineage,
    protocol::{OfferedIdentity, SignRequest, put_string},
    session_bind::BoundSession,
    userauth::{AuthenticationDataError, AuthenticationRequest},
};

/// Names a connection being made, inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// Names a connection to the agent socket, inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// A key made for one connection. Wiped when the last identity that uses it is gone.
#[derive(Clone)]
pub struct ConnectionKey(Arc<SigningKey>);

impl ConnectionKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &zeroize::Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(SigningKey::from_bytes(seed)))
    }

    /// The public key as `ssh-ed25519 AAAA...`.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        let mut blob = Vec::new();
        put_string(&mut blob, b"ssh-ed25519");
        put_string(&mut blob, self.0.verifying_key().as_bytes());
        format!("ssh-ed25519 {}", data_encoding::BASE64.encode(&blob))
    }

    fn is_subject_of(&self, certificate: &ssh_key::Certificate) -> bool {
        certificate.public_key().ed25519().is_some_and(|key| key.0 == self.0.verifying_key().to_bytes())
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        let mut signature = Vec::new();
        put_string(&mut signature, b"ssh-ed25519");
        put_string(&mut signature, &self.0.sign(data).to_bytes());
        signature
    }
}

impl std::fmt::Debug for ConnectionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionKey([secret])")
    }
}

/// A connection as the broker answered it, with the keys it was asked for.
#[derive(Debug)]
pub struct NewConnection {
    /// The broker's answer.
    pub connection: Connection,
    /// The keys of the request, in its order.
    pub keys: Vec<ConnectionKey>,
    /// Names under which `ssh` may ask for the target's host keys.
    pub names: BTreeSet<String>,
    /// The `usher proxy` that asked.
    pub proxy: Lineage,
}

/// An answer of the broker that cannot be used.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// A certificate is for another key, has no end, or cannot be read.
    #[error("the certificate for `{0}` is not for the key it was asked for")]
    Certificate(String),
    /// A server came without a host key that could be checked.
    #[error("no usable host key for `{0}`")]
    HostKey(String),
    /// No route, or a route without legs.
    #[error("no route")]
    Route,
}

/// Why nothing was signed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SignRefusal {
    /// Not an authentication at all.
    #[error("refused to sign")]
    Data(#[source] AuthenticationDataError),
    /// The certificate's time is over.
    #[error("the certificate has ended")]
    Ended,
    /// Another session, host, account or certificate than the one offered here.
    #[error("the request is not for the {0} this identity was made for")]
    Mismatch(&'static str),
    /// Nothing was offered on this socket connection, or it was used already.
    #[error("no identity is reserved for this connection")]
    NotReserved,
}

/// What a signature was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The connection.
    pub handle: Handle,
    /// The server that was authenticated to.
    pub server: ServerId,
    /// Whether that was the target.
    pub target: bool,
}

#[derive(Debug)]
struct Identity {
    handle: Handle,
    route: usize,
    target: bool,
    server: ServerId,
    account: String,
    host_keys: Vec<Vec<u8>>,
    key: ConnectionKey,
    certificate: Vec<u8>,
    comment: String,
    valid_before: UnixTime,
    reserved: Option<SocketId>,
}

#[derive(Debug)]
struct Pending {
    proxy: Lineage,
    chosen: Option<usize>,
    // Process of each route's `ssh -W`.
    routes: BTreeMap<usize, i32>,
    hosts: BTreeMap<String, Vec<String>>,
}

/// Connections being made and host keys of those made.
#[derive(Debug, Default)]
pub struct Store {
    next: u64,
    identities: Vec<Identity>,
    pending: BTreeMap<Handle, Pending>,
    // Host keys of the newest connection to a name, for checks after it is no longer pending.
    hosts: BTreeMap<String, Vec<String>>,
}

impl Store {
    /// Takes a connection in.
    ///
    /// # Errors
    /// [`AnswerError`] when the broker's answer does not fit the request; then nothing is kept.
    pub fn add(&mut self, new: NewConnection) -> Result<Handle, AnswerError> {
        let handle = Handle(self.next);
        let mut identities = Vec::new();
        let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (route, legs) in new.connection.routes.iter().enumerate() {
            let last = legs.legs.len().checked_sub(1).ok_or(AnswerError::Route)?;
            for (position, leg) in legs.legs.iter().enumerate() {
                let target = position == last;
                let mut identity = identity(leg, &new.keys, handle, route, target)?;
                identity.comment = format!("usher {} {}", new.connection.id, leg.name);
                identities.push(identity);
                let keys = leg.host_keys.clone();
                if target {
                    hosts.extend(new.names.iter().map(|name| (name.to_ascii_lowercase(), keys.clone())));
                }
                hosts.insert(leg.server_id.to_string(), keys);
            }
        }
        if identities.is_empty() {
            return Err(AnswerError::Route);
        }
        self.next = self.next.saturating_add(1);
        self.identities.append(&mut identities);
        self.hosts.extend(hosts.clone());
        self.pending
            .insert(handle, Pending { proxy: new.proxy, chosen: None, routes: BTreeMap::new(), hosts });
        Ok(handle)
    }

    /// Notes which process makes a route's hops.
    pub fn started(&mut self, handle: Handle, route: usize, pid: i32) {
        if let Some(pending) = self.pending.get_mut(&handle) {
            pending.routes.insert(route, pid);
        }
    }

    /// Settles on a route: only its target identity stays.
    pub fn choose(&mut self, handle: Handle, route: usize) {
        if let Some(pending) = self.pending.get_mut(&handle) {
            pending.chosen = Some(route);
            self.identities.retain(|other| other.handle != handle || (other.route == route && other.target));
        }
    }

    /// Forgets a connection's keys.
    pub fn remove(&mut self, handle: Handle) {
        self.pending.remove(&handle);
        self.identities.retain(|identity| identity.handle != handle);
    }

    /// Forgets keys whose certificates have ended.
    pub fn expire(&mut self, now: UnixTime) {
        self.identities.retain(|identity| now < identity.valid_before);
    }

    /// How many keys are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// The one identity for this socket connection: made for the bound host, reserved by nobody else.
    ///
    /// Without a bound session (ssh before 8.9) there is one only when exactly one could be meant.
    pub fn offer(
        &mut self,
        socket: SocketId,
        bound: Option<&BoundSession>,
        peer: &Lineage,
        now: UnixTime,
    ) -> Option<OfferedIdentity> {
        self.expire(now);
        if let Some(mine) = self.identities.iter().find(|identity| identity.reserved == Some(socket)) {
            return Some(mine.offered());
        }
        let mut candidates: Vec<(Relation, usize)> = Vec::new();
        for (position, identity) in self.identities.iter().enumerate() {
            let made_for_host = bound.is_none_or(|bound| identity.is_for_host(bound));
            if identity.reserved.is_none() && made_for_host && self.is_ready(identity) {
                candidates.push((self.relation(identity, peer), position));
            }
        }
        candidates.retain(|(relation, _)| *relation != Relation::Stranger);
        let best = candidates.iter().map(|(relation, _)| *relation).max()?;
        candidates.retain(|(relation, _)| *relation == best);
        let unsure = bound.is_none() || best == Relation::Unknown;
        let hop =
            candidates.iter().any(|(_, position)| self.identities.get(*position).is_some_and(|i| !i.target));
        // A hop's certificate opens one target: a wrong guess is worth less than none.
        if candidates.len() > 1 && (bound.is_none() || (unsure && hop)) {
            return None;
        }
        // The newest.
        let (_, position) = candidates.last()?;
        let identity = self.identities.get_mut(*position)?;
        identity.reserved = Some(socket);
        Some(identity.offered())
    }

    /// Gives back what a closed socket connection had reserved.
    pub fn release(&mut self, socket: SocketId) {
        for identity in self.identities.iter_mut().filter(|identity| identity.reserved == Some(socket)) {
            identity.reserved = None;
        }
    }

    /// Signs one authentication with the identity reserved for this socket connection, and drops the key.
    ///
    /// # Errors
    /// [`SignRefusal`]; a refusal uses nothing up.
    pub fn sign(
        &mut self,
        socket: SocketId,
        bound: Option<&BoundSession>,
        request: &SignRequest,
        now: UnixTime,
    ) -> Result<(Vec<u8>, Signed), SignRefusal> {
        let reserved = |identity: &Identity| identity.reserved == Some(socket);
        let position = self.identities.iter().position(reserved).ok_or(SignRefusal::NotReserved)?;
        let identity = self.identities.get(position).ok_or(SignRefusal::NotReserved)?;
        identity.check(bound, request, now)?;
        let signature = identity.key.sign(&request.data);
        let signed = Signed { handle: identity.handle, server: identity.server, target: identity.target };
        self.identities.swap_remove(position);
        if signed.target {
            self.identities.retain(|other| other.handle != signed.handle);
        }
        Ok((signature, signed))
    }

    /// The host keys to accept for `name`: those of the connection that the asking `ssh` is making, else those of the
    /// newest connection to that name.
    #[must_use]
    pub fn known_hosts(&self, name: &str, peer: &Lineage) -> Vec<String> {
        let name = name.to_ascii_lowercase();
        let asked_by = |pending: &&Pending| {
            let ssh_of_proxy = peer.parent().is_some_and(|ssh| pending.proxy.descends_from(ssh));
            let hop = pending.proxy.pid().is_some_and(|proxy| peer.descends_from(proxy));
            ssh_of_proxy || hop
        };
        let own = self.pending.values().rev().filter(asked_by).find_map(|pending| pending.hosts.get(&name));
        own.or_else(|| self.hosts.get(&name)).cloned().unwrap_or_default()
    }

    /// A target's identity waits until its route is chosen: another route has another certificate.
    fn is_ready(&self, identity: &Identity) -> bool {
        let chosen = self.pending.get(&identity.handle).map(|pending| pending.chosen);
        match chosen {
            Some(Some(route)) => identity.target && identity.route == route,
            Some(None) => !identity.target,
            None => false,
        }
    }

    fn relation(&self, identity: &Identity, peer: &Lineage) -> Relation {
        let Some(pending) = self.pending.get(&identity.handle) else { return Relation::Stranger };
        let (Some(peer_pid), Some(proxy_pid)) = (peer.pid(), pending.proxy.pid()) else {
            return Relation::Unknown;
        };
        let own = if identity.target {
            // ssh starts the proxy: it is among the proxy's ancestors.
            pending.proxy.descends_from(peer_pid)
        } else {
            // The proxy starts the hops: they are its descendants, each route's below its own first process.
            let route = pending.routes.get(&identity.route);
            peer.descends_from(proxy_pid)
                && route.is_none_or(|pid| *pid == peer_pid || peer.descends_from(*pid))
        };
        if own { Relation::Own } else { Relation::Stranger }
    }
}

/// How a socket's peer stands to the connection that an identity was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Stranger,
    Unknown,
    Own,
}

impl Identity {
    fn offered(&self) -> OfferedIdentity {
        OfferedIdentity { blob: self.certificate.clone(), comment: self.comment.clone() }
    }

    fn is_for_host(&self, bound: &BoundSession) -> bool {
        self.host_keys.iter().any(|key| key == bound.host_key())
    }

    fn check(
        &self,
        bound: Option<&BoundSession>,
        request: &SignRequest,
        now: UnixTime,
    ) -> Result<(), SignRefusal> {
        if now >= self.valid_before {
            return Err(SignRefusal::Ended);
        }
        let wanted = AuthenticationRequest::parse(&request.data).map_err(SignRefusal::Data)?;
        if request.key_blob != self.certificate || wanted.key_blob != self.certificate {
            return Err(SignRefusal::Mismatch("certificate"));
        }
        if wanted.user != self.account {
            return Err(SignRefusal::Mismatch("account"));
        }
        let Some(bound) = bound else { return Ok(()) };
        if wanted.session_id != bound.session_id() {
            return Err(SignRefusal::Mismatch("session"));
        }
        let named_host = wanted.host_key.as_deref().unwrap_or_else(|| bound.host_blob());
        if named_host != bound.host_blob() || !self.is_for_host(bound) {
            return Err(SignRefusal::Mismatch("host"));
        }
        Ok(())
    }
}

fn identity(
    leg: &Leg,
    keys: &[ConnectionKey],
    handle: Handle,
    route: usize,
    target: bool,
) -> Result<Identity, AnswerError> {
    let unusable = || AnswerError::Certificate(leg.name.clone());
    let certificate = ssh_key::Certificate::from_openssh(&leg.certificate).map_err(|_error| unusable())?;
    let key = keys.get(leg.key).filter(|key| key.is_subject_of(&certificate)).ok_or_else(unusable)?;
    let valid_before = i64::try_from(certificate.valid_before()).map_err(|_error| unusable())?;
    let host_keys: Vec<Vec<u8>> = leg
        .host_keys
        .iter()
        .filter_map(|line| ssh_key::PublicKey::from_openssh(line).ok()?.to_bytes().ok())
        .collect();
    if host_keys.is_empty() {
        return Err(AnswerError::HostKey(leg.name.clone()));
    }
    Ok(Identity {
        handle,
        route,
        target,
        server: leg.server_id,
        account: leg.account.clone(),
        host_keys,
        key: key.clone(),
        certificate: certificate.to_bytes().map_err(|_error| unusable())?,
        comment: String::new(),
        valid_before: UnixTime::from_secs(valid_before),
        reserved: None,
    })
}
