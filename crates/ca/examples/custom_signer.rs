//! A signing key that lives somewhere else. Here "somewhere else" is another thread, which gives back what a key management
//! service would: the key as `SubjectPublicKeyInfo`, the signature in DER. It is verified before a certificate leaves.
#![expect(clippy::print_stdout, reason = "an example shows what it made")]

use std::{
    error::Error,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread,
    time::Duration,
};

use p256::{ecdsa::signature::Signer as _, pkcs8::EncodePublicKey as _};
use usher_ca::{
    CaPublicKey, HostAuthorization, HostPrincipals, LocalKey as _, PortableEd25519, SignError, Signature,
    Signer, SubjectKey, issue_host,
};
use usher_types::{Label, Period, UnixTime};

/// A message to sign, and where the answer goes.
type Job = (Vec<u8>, SyncSender<Vec<u8>>);

/// This side of the custodian.
struct Elsewhere {
    public: CaPublicKey,
    jobs: std::sync::mpsc::Sender<Job>,
}

#[async_trait::async_trait]
impl Signer for Elsewhere {
    fn public_key(&self) -> CaPublicKey {
        self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let (reply, answer) = sync_channel(1);
        let gone = |error: Box<dyn Error + Send + Sync>| SignError::Unavailable(error);
        self.jobs.send((message.to_vec(), reply)).map_err(|error| gone(error.to_string().into()))?;
        let der = answer.recv().map_err(|error| gone(error.into()))?;
        Signature::ecdsa_p256_from_der(&der).map_err(|error| SignError::Refused(error.into()))
    }
}

/// The other side: the only place that has the private key.
fn custodian(key: &p256::ecdsa::SigningKey, jobs: &Receiver<Job>) {
    while let Ok((message, reply)) = jobs.recv() {
        let signature: p256::ecdsa::DerSignature = key.sign(&message);
        let _gone = reply.send(signature.as_bytes().to_vec());
    }
}

/// What lets a machine have a certificate; its constructor belongs where the inventory is.
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (now, mut rng) = (UnixTime::from_secs(1_800_000_000), rand_core::UnwrapErr(getrandom::SysRng));
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32])?;
    let public = CaPublicKey::from_spki_der(key.verifying_key().to_public_key_der()?.as_bytes())?;
    let (jobs, inbox) = channel();
    thread::spawn(move || custodian(&key, &inbox));
    let signer = Elsewhere { public, jobs };
    let host = Inventoried {
        names: HostPrincipals::one("web-1.example.com".parse()?),
        asset: "rack-7-slot-3".parse()?,
        period: Period::around(now, Duration::from_secs(60), Duration::from_secs(30 * 86400))?,
    };
    let subject = SubjectKey::parse(&PortableEd25519::generate(&mut rng).public_key().to_openssh())?;
    println!("{}", issue_host(&signer, host, &subject, now, &mut rng).await?.to_openssh());
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs() {
        super::main().unwrap();
    }
}
