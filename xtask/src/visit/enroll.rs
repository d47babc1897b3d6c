//! Many agents that redeem one enrollment token at once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use usher_api::v1::{EnrollRequest, HostFacts};
use usher_api_client::{BrokerAddress, CallError, Client};

use super::device;

#[derive(Deserialize)]
struct Pasted {
    url: String,
    pin: Option<String>,
    token: String,
}

fn request(token: &str, name: &str) -> Result<EnrollRequest> {
    Ok(EnrollRequest {
        token: token.to_owned(),
        name: name.parse()?,
        facts: HostFacts {
            addresses: vec![usher_api::v1::Address { ip: "10.77.1.99".parse()?, port: 22 }],
            host_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lWhiSWL2GHGDG8sw1CkyN1l2t2PFFn6M1yHyYDPj3".to_owned(),
            ],
            os: "none".to_owned(),
            sshd_version: "none".to_owned(),
        },
    })
}

/// `count` keys at once; then the winner again, as if its answer had been lost, and a loser again.
pub(super) async fn redeem(pasted: &str, count: usize, name: &str) -> Result<Value> {
    let encoded = pasted.trim().strip_prefix("ut1_").context("not a pasted token")?;
    let json = data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes())?;
    let pasted: Pasted = serde_json::from_slice(&json)?;
    let address: BrokerAddress = match pasted.pin {
        Some(pin) => format!("{}#{pin}", pasted.url).parse()?,
        None => pasted.url.parse()?,
    };
    let request = request(&pasted.token, name)?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (client, request) = (device::fresh_client(&address)?, request.clone());
        tasks.spawn(async move {
            let answer = client.enroll(&request).await;
            (client, answer)
        });
    }
    let (mut winners, mut losers, mut codes) = (Vec::new(), Vec::new(), BTreeMap::<String, u32>::new());
    while let Some(ended) = tasks.join_next().await {
        match ended? {
            (client, Ok(answer)) => winners.push((client, answer)),
            (client, Err(CallError::Api { body, .. })) => {
                *codes.entry(body.code.as_str().to_owned()).or_default() += 1;
                losers.push(client);
            }
            (_, Err(error)) => return Err(anyhow::Error::new(error).context("one of the many got no answer")),
        }
    }
    let servers: BTreeSet<_> = winners.iter().map(|(_, answer)| answer.server_id).collect();
    let Some((winner, first)) = winners.first() else { bail!("nobody won: {codes:?}") };
    let again = winner.enroll(&request).await.context("the winner cannot repeat its request")?;
    let loser: Option<&Client> = losers.first();
    let loser_again = match loser {
        Some(loser) => loser.enroll(&request).await.is_ok(),
        None => false,
    };
    Ok(json!({
        "winners": winners.len(),
        "servers": servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refused": codes,
        "repeated": again.server_id == first.server_id && again.name == first.name,
        "loser_repeated": loser_again,
        "server": first.name.as_str(),
    }))
}
