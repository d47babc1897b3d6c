//! `usher-ca` alone: an SSH user certificate, an SSH host certificate and an X.509 client certificate, signed with keys in
//! this process. Whoever embeds it writes the three authorizations; what they do not say, no certificate says.
#![expect(clippy::print_stdout, reason = "an example shows what it made")]

use std::{error::Error, time::Duration};

use usher_ca::{
    Authorization, CheckedKey, HostAuthorization, HostPrincipals, LocalKey as _, PortableEd25519,
    PortableP256, Signer as _, SourceAddresses, SubjectKey, prepare, prepare_host,
    x509::{
        ClientAuthorization, ClientIdentity, CsrToBeSigned, ProvenKey, prepare_authority, prepare_client,
    },
};
use usher_types::{
    ConnectionId, DeviceId, KeyId, Label, LoginName, Period, Principal, ProjectId, ProjectSlug, ServerId,
    TeamSlug, UnixTime, UserId, ValidityWindow,
};

type Made = Result<String, Box<dyn Error>>;

/// Whoever is on call may be `login` on `server` for three minutes. A real one has a private constructor, where the rota is.
struct OnCall {
    team: TeamSlug,
    login: LoginName,
    project: ProjectSlug,
    server: ServerId,
    connection: ConnectionId,
    window: ValidityWindow,
    device: DeviceId,
    user: UserId,
    project_id: ProjectId,
}

impl Authorization for OnCall {
    fn principal(&self) -> Principal {
        Principal::login(&self.login, self.server)
    }
    fn key_id(&self) -> KeyId {
        KeyId::new(&self.project, &self.login, self.device, self.connection)
    }
    fn window(&self) -> ValidityWindow {
        self.window
    }
    fn permit_pty(&self) -> bool {
        true
    }
    fn source_addresses(&self) -> SourceAddresses {
        SourceAddresses::any()
    }
    fn user_id(&self) -> UserId {
        self.user
    }
    fn device_id(&self) -> DeviceId {
        self.device
    }
}

impl ClientAuthorization for OnCall {
    fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            team: self.team.clone(),
            project_id: self.project_id,
            user_id: self.user,
            device_id: self.device,
            server_id: self.server,
            connection_id: self.connection,
        }
    }
    fn window(&self) -> ValidityWindow {
        self.window
    }
}

/// A machine of the inventory may show its names for a month.
struct Inventoried {
    names: HostPrincipals,
    asset: Label,
    period: Period,
}

impl HostAuthorization for Inventoried {
    fn principals(&self) -> HostPrincipals {
        self.names.clone()
    }
    fn key_id(&self) -> Label {
        self.asset.clone()
    }
    fn period(&self) -> Period {
        self.period
    }
}

fn on_call(now: UnixTime) -> Result<OnCall, Box<dyn Error>> {
    Ok(OnCall {
        team: "acme".parse()?,
        login: "alice".parse()?,
        project: "payments".parse()?,
        server: ServerId::new(now, [1; 10]),
        connection: ConnectionId::new(now, [2; 10]),
        window: ValidityWindow::around(now, Duration::from_secs(60), Duration::from_secs(180))?,
        device: DeviceId::new(now, [3; 10]),
        user: UserId::new(now, [4; 10]),
        project_id: ProjectId::new(now, [5; 10]),
    })
}

/// For `ssh`: goes beside the private key, as `id_ed25519-cert.pub`.
fn ssh_user_certificate(now: UnixTime) -> Made {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let authority = CheckedKey::check(PortableEd25519::generate(&mut rng))?;
    let key = PortableEd25519::generate(&mut rng).public_key();
    let subject = SubjectKey::parse(&key.to_openssh())?;
    let prepared = prepare(on_call(now)?, &subject, &authority.public_key(), now, &mut rng)?;
    Ok(prepared.sign_with(&authority)?.to_openssh())
}

/// For `sshd`: `HostCertificate` points to it.
fn ssh_host_certificate(now: UnixTime) -> Made {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let authority = CheckedKey::check(PortableP256::generate(&mut rng))?;
    let names = HostPrincipals::one("web-1.example.com".parse()?).and("192.0.2.7".parse()?);
    let period = Period::around(now, Duration::from_secs(3600), Duration::from_secs(30 * 86400))?;
    let host = Inventoried { names, asset: "rack-7-slot-3".parse()?, period };
    let subject = SubjectKey::parse(&PortableEd25519::generate(&mut rng).public_key().to_openssh())?;
    let prepared = prepare_host(host, &subject, &authority.public_key(), now, &mut rng)?;
    Ok(prepared.sign_with(&authority)?.to_openssh())
}

/// For mutual TLS: behind it the certificate of the authority that the server trusts.
fn x509_client_certificate(now: UnixTime) -> Made {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let authority = CheckedKey::check(PortableP256::generate(&mut rng))?;
    let decade = Period::around(now, Duration::from_secs(3600), Duration::from_secs(3650 * 86400))?;
    let anchor = prepare_authority(&"Payments CA".parse()?, &authority.public_key(), decade, now, &mut rng)?;
    let anchor = anchor.sign_with(&authority)?;
    // On the client's side: a key, and the request that proves it.
    let key = PortableP256::generate(&mut rng);
    let request = CsrToBeSigned::new(key.public_key())?;
    let signature = key.sign_now(request.bytes())?;
    let request = request.seal_pem(&signature)?;
    // Back here.
    let subject = ProvenKey::from_csr_pem(&request)?;
    let prepared = prepare_client(on_call(now)?, &subject, &anchor, now, &mut rng)?;
    Ok(prepared.sign_with(&authority)?.to_pem() + &anchor.to_pem())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Whoever embeds this brings the clock, too.
    let now = UnixTime::from_secs(1_800_000_000);
    println!("{}", ssh_user_certificate(now)?);
    println!("{}", ssh_host_certificate(now)?);
    println!("{}", x509_client_certificate(now)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs() {
        super::main().unwrap();
    }
}
