//! What only the whole broker shows: the first administrator can do everything that a team begins with.

use serde_json::json;

use crate::Broker;

#[tokio::test]
async fn an_administrator_builds_a_team() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    for (method, path, body, status) in [
        ("POST", "/v1/projects", json!({"name": "web"}), 201),
        ("POST", "/v1/groups", json!({"name": "sre"}), 201),
        ("PUT", "/v1/groups/sre/members/admin", json!(null), 204),
        ("PUT", "/v1/projects/web/groups/sre", json!({"server_access": true, "server_admin": true}), 200),
        ("POST", "/v1/tokens", json!({"project": "web", "description": "first"}), 201),
    ] {
        let answer = caller.call(method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    let project = caller.get("/v1/projects/web").await;
    assert_eq!(project.body["next_unix_uid"], 60002, "the administrator got its account: {project:?}");
    let audit = caller.get("/v1/audit").await;
    let kinds: Vec<&str> = audit.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["event"]["event"]["type"].as_str())
        .collect();
    for kind in
        ["team.create", "user.create", "user.set_up", "device.register", "session.open", "project.create"]
    {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
}
