//! Connections: one round trip from "I want to be on that server" to routes and certificates.

use serde::{Deserialize, Serialize};
use usher_types::{ConnectionId, LoginName, ServerId, UnixTime};
use utoipa::ToSchema;

/// What a connection is for; decides on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A command, file transfer or tunnel: no terminal.
    Command,
    /// Somebody at a terminal.
    Interactive,
}

/// `POST /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRequest {
    /// The server's name or id.
    pub server: String,
    /// The account; the user's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginName>,
    /// What it is for.
    pub purpose: Purpose,
    /// Bastions (names or ids, nearest to the client first) instead of the configured ones; at most two, empty for a
    /// direct connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Vec<String>>,
    /// One to three Ed25519 public keys (`ssh-ed25519 AAAA...`), made for this connection: the first for the target,
    /// the second and third for the first and second hop. All routes use the same keys.
    pub keys: Vec<String>,
    /// Asks for an X.509 certificate for the target's listener, too: a certificate signing request in PEM (PKCS #10) for
    /// an Ed25519 or P-256 key made for this connection, signed with that key. Nothing in it counts but the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
}

/// Answer to [`ConnectionRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Names this connection in the audit log and in each certificate's key id.
    pub id: ConnectionId,
    /// The target.
    pub server_id: ServerId,
    /// The target's name.
    pub server_name: String,
    /// The account on the target.
    pub login: LoginName,
    /// When the certificates end.
    pub valid_before: UnixTime,
    /// One or two alternatives, the preferred first.
    pub routes: Vec<Route>,
    /// For the request's `csr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// What the target's listener is shown, and what to believe it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientCertificate {
    /// The certificate in PEM; ends with the others.
    pub certificate: String,
    /// Certificates of the authorities that the listener's certificate may come from, in PEM; never empty.
    pub authorities: Vec<String>,
}

/// One way to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Bastions from the client's side on, then the target; never empty.
    pub legs: Vec<Leg>,
}

/// One sshd on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leg {
    /// The server.
    pub server_id: ServerId,
    /// Its name.
    pub name: String,
    /// Account for `ssh -l`: `usher-hop` on a bastion.
    pub account: String,
    /// Where its sshd listens, most likely first; never empty.
    pub addresses: Vec<Address>,
    /// Exactly its host keys (`ssh-ed25519 AAAA...`); accept no other.
    pub host_keys: Vec<String>,
    /// Which of the request's `keys` the certificate is for.
    pub key: usize,
    /// The certificate in OpenSSH format.
    pub certificate: String,
}

/// An IP address and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    /// IPv4 or IPv6, no brackets.
    #[schema(value_type = String)]
    pub ip: std::net::IpAddr,
    /// TCP port.
    pub port: u16,
}
