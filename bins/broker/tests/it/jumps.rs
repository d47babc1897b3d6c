//! The broker's clock jumps: nothing fails, and no certificate is good at another time than the broker's.

use serde_json::json;
use usher_testkit::NOW;
use usher_types::UnixTime;

use crate::team::{Team, ssh_key};

#[tokio::test]
async fn a_clock_that_jumps_gives_typed_answers_and_certificates_of_its_own_time() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "shop").await;
    let alice = team.person(&admin, "alice", &["shop"]).await;
    team.enroll(&team.token(&admin, "shop", json!({})).await, "web-1", 1).await;
    let (hour, day) = (3600, 86_400);
    let mut issued = 0;
    for shift in [0, hour, -hour, 11 * hour, -30 * day, 0, 400 * day, -1, 0] {
        let now = UnixTime::from_secs(NOW.as_secs() + shift);
        team.clock.set(now);
        let body = json!({"server": "web-1", "purpose": "command", "keys": [ssh_key(901)]});
        let reply = team.post(&alice, "/v1/connections", body).await;
        assert!(!reply.status.is_server_error(), "{shift}: {reply:?}");
        if !reply.status.is_success() {
            continue;
        }
        issued += 1;
        let ends: UnixTime = serde_json::from_value(reply.ok()["valid_before"].clone()).unwrap();
        assert_eq!(ends, UnixTime::from_secs(now.as_secs() + 180), "{shift}");
        team.post(&admin, "/v1/groups", json!({"name": format!("g{issued}")})).await.ok();
    }
    // Back where it was everything works, whatever was written down in between.
    assert!(issued >= 3);
    usher_store::audit::verify(&mut team.store().read().await.unwrap(), &[]).await.unwrap();
}
