//! `GET /v1/audit` (search, paging, following) and `usher-broker audit` (verify, export, keys).

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use usher_testkit::NOW;

use crate::team::{Caller, Team};

async fn page(team: &Team, caller: &Caller, query: &str) -> Value {
    team.get(caller, &format!("/v1/audit?{query}")).await.ok()
}

fn kinds(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["event"]["event"]["type"].as_str().unwrap()).collect()
}

fn positions(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect()
}

/// Every page of a search.
async fn pages(team: &Team, caller: &Caller, query: &str) -> Vec<i64> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let found = page(team, caller, &format!("{query}{cursor}")).await;
        all.extend(positions(&found));
        let Some(next) = found["next"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn pages_go_both_ways_and_end() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for number in 0..7 {
        team.post(&admin, "/v1/groups", json!({"name": format!("g{number}")})).await.ok();
    }
    let rows = i64::try_from(team.audit().await.len()).unwrap();
    let oldest: Vec<i64> = (1..=rows).collect();
    let newest: Vec<i64> = (1..=rows).rev().collect();
    assert_eq!(pages(&team, &admin, "order=oldest&limit=3").await, oldest);
    assert_eq!(pages(&team, &admin, "limit=1").await, oldest);
    assert_eq!(pages(&team, &admin, "order=newest&limit=3").await, newest);
    assert_eq!(positions(&page(&team, &admin, "after=3&limit=2").await), [4, 5]);
    // Rows that are written meanwhile do not move the pages of a search that goes back.
    let first = page(&team, &admin, "order=newest&limit=2").await;
    team.post(&admin, "/v1/groups", json!({"name": "later"})).await.ok();
    let next = first["next"].as_str().unwrap();
    let second = page(&team, &admin, &format!("order=newest&limit=2&cursor={next}")).await;
    assert_eq!(positions(&second), [rows - 2, rows - 3]);
}

#[tokio::test]
async fn following_shows_what_comes() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    let begin = page(&team, &admin, "order=newest&limit=1").await;
    let mut follow = begin["follow"].as_str().unwrap().to_owned();
    for name in ["sre", "dev"] {
        team.post(&admin, "/v1/groups", json!({"name": name})).await.ok();
        let news = page(&team, &admin, &format!("cursor={follow}&type=group")).await;
        assert_eq!(news["items"].as_array().unwrap().len(), 1);
        assert_eq!(news["items"][0]["event"]["event"]["group_name"], name);
        assert_eq!(news["next"], Value::Null);
        follow = news["follow"].as_str().unwrap().to_owned();
    }
    assert_eq!(kinds(&page(&team, &admin, &format!("cursor={follow}")).await), Vec::<&str>::new());
}

#[tokio::test]
async fn filters_find_what_is_meant() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    team.project(&admin, "prod").await;
    team.person(&admin, "alice", &["prod"]).await;
    team.person(&admin, "bob", &[]).await;
    let token = team.token(&admin, "prod", json!({})).await;
    let agent = team.enroll(&token, "web-1", 9).await;
    let disabled = json!({"status": "disabled"});
    team.send(&admin, "PATCH", "/v1/users/bob", &disabled.to_string(), team.jti()).await.ok();
    let search = async |query: &str| {
        let found = page(&team, &admin, query).await;
        kinds(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(search("type=user.disable").await, ["user.disable"]);
    assert_eq!(search("type=project_group").await, ["project_group.set"]);
    assert_eq!(search("user=bob").await, ["user.create", "user.set_up_code", "user.disable"]);
    assert_eq!(search("user=alice&type=group").await, ["group.add_member"]);
    assert_eq!(search("server=web-1").await, ["server.enroll"]);
    assert_eq!(search(&format!("actor={}", agent.id)).await, ["server.enroll"]);
    assert_eq!(search("actor=admin&type=token").await, ["token.create"]);
    assert_eq!(search("actor=bob").await, Vec::<String>::new());
    assert_eq!(search("actor=system&limit=2").await, ["log.start", "log.start"]);
    assert_eq!(
        search("project=prod").await,
        [
            "project.create",
            "ca_key.create",
            "ca_key.create",
            "project_group.set",
            "token.create",
            "server.enroll"
        ]
    );
    assert_eq!(search("text=WEB-1").await, ["server.enroll"]);
    let day = std::time::Duration::from_secs(24 * 3600);
    let (earlier, later) = (NOW.saturating_sub(day), NOW.saturating_add(day));
    let between = format!("text=web-1%22&since={earlier}&until={later}");
    assert_eq!(search(&between).await, ["server.enroll"]);
    assert_eq!(search(&format!("order=newest&{between}")).await, ["server.enroll"]);
    assert_eq!(search(&format!("since={later}")).await, Vec::<String>::new());
    assert_eq!(search(&format!("order=newest&until={earlier}")).await, Vec::<String>::new());
}

#[tokio::test]
async fn bad_searches_are_refused() {
    let team = Team::new().await;
    let admin = team.session("admin").await;
    for (query, code) in [
        ("cursor=x", "invalid_request"),
        ("order=newest&cursor=1.x", "invalid_request"),
        ("order=newest&after=1", "invalid_request"),
        ("after=1&cursor=1", "invalid_request"),
        ("since=yesterday", "invalid_request"),
        ("type=no.such", "not_found"),
        ("user=nobody", "not_found"),
        ("server=..%2F", "not_found"),
        ("project=nowhere", "not_found"),
        ("limit=0", "invalid_request"),
        ("sql=1", "invalid_request"),
    ] {
        team.get(&admin, &format!("/v1/audit?{query}")).await.error(code);
    }
    let long = "x".repeat(300);
    team.get(&admin, &format!("/v1/audit?text={long}")).await.error("invalid_request");
}

/// The built program.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn audit(directory: &Path, arguments: &[&str]) -> Ended {
    let place = directory.to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_usher-broker"))
        .arg("audit")
        .args(arguments)
        .args(["--data-dir", place])
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A team whose log has rows of several writers and checkpoints: what an orderly stop leaves.
async fn stopped() -> tempfile::TempDir {
    let broker = crate::Broker::start().await;
    broker.admin().await;
    broker.stop().await
}

async fn tamper(directory: &Path, sql: &'static str) {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("usher.db"));
    let done = sqlx::query(sql).execute(&mut options.connect().await.unwrap()).await.unwrap();
    assert!(done.rows_affected() > 0);
}

/// Threat 25.
#[tokio::test]
async fn verify_names_what_is_wrong_and_ends_with_nine() {
    let directory = stopped().await;
    let data = directory.path().join("data");
    let good = audit(&data, &["verify", "--output", "json"]);
    let report = good.json();
    assert_eq!((good.code, &report["good"], &report["fault_count"]), (0, &json!(true), &json!(0)));
    assert_eq!(
        (&report["schema"], &report["source"], &report["trust"]),
        (&json!(1), &json!("database"), &json!("named"))
    );
    assert_eq!(report["unsigned_rows"], 0);
    assert!(report["last_checkpoint"]["number"].as_u64().unwrap() >= 1, "{report}");

    tamper(&data, "UPDATE audit SET body = (SELECT body FROM audit WHERE position = 2) WHERE position = 3")
        .await;
    let bad = audit(&data, &["verify"]);
    assert_eq!(bad.code, 9);
    assert!(
        bad.stdout.contains("NOT good") && bad.stdout.contains("changed, at position 3"),
        "{}",
        bad.stdout
    );
    assert!(
        bad.stderr.starts_with("error: the audit log is not as it was written: 1 fault found"),
        "{}",
        bad.stderr
    );
    let report = audit(&data, &["verify", "--output", "json"]).json();
    let fault = &report["faults"][0];
    assert_eq!(
        (&report["good"], &fault["what"], &fault["fault"]),
        (&json!(false), &json!("row"), &json!("changed"))
    );
    assert_eq!((&fault["sequence"], &fault["position"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn keys_are_given_from_outside_by_thumbprint_or_file() {
    let directory = stopped().await;
    let data = directory.path().join("data");
    let keys = audit(&data, &["keys", "--output", "json"]).json();
    let key = &keys["keys"][0];
    let thumbprint = key["thumbprint"].as_str().unwrap();
    let pem = directory.path().join("audit.pem");
    std::fs::write(&pem, key["public_key"].as_str().unwrap()).unwrap();
    for key in [thumbprint, pem.to_str().unwrap()] {
        let report = audit(&data, &["verify", "--key", key, "--output", "json"]);
        assert_eq!((report.code, &report.json()["trust"]), (0, &json!("given")), "{}", report.stderr);
    }
    for other in ["A".repeat(43), format!("-{}", "A".repeat(42))] {
        let report = audit(&data, &["verify", "--key", &other, "--output", "json"]);
        assert_eq!((report.code, &report.json()["faults"][0]["fault"]), (9, &json!("untrusted")));
    }
    assert_eq!(audit(&data, &["verify", "--key", "/nonexistent"]).code, 1);
}

#[tokio::test]
async fn an_export_proves_itself_without_the_database() {
    let directory = stopped().await;
    let data = directory.path().join("data");
    let keys = audit(&data, &["keys", "--output", "json"]).json();
    let key = keys["keys"][0]["thumbprint"].as_str().unwrap().to_owned();
    let export = audit(&data, &["export"]);
    assert_eq!(export.code, 0, "{}", export.stderr);
    let file = directory.path().join("audit.jsonl");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        audit(
            directory.path(),
            &["verify", "--file", file.to_str().unwrap(), "--key", &key, "--output", "json"],
        )
    };
    let good = check(&export.stdout);
    assert_eq!((good.code, &good.json()["source"]), (0, &json!("file")), "{} {}", good.stdout, good.stderr);
    assert_eq!(good.json()["rows"], audit(&data, &["verify", "--output", "json"]).json()["rows"]);
    let lines: Vec<&str> = export.stdout.lines().collect();
    // A line that a crash cut off, and the same lines again: that is how exporters end and begin.
    let torn =
        format!("{}\n{}\n{}", lines[..3].join("\n"), lines[3].get(..20).unwrap(), lines[1..].join("\n"));
    let torn = check(&torn);
    assert_eq!((torn.code, &torn.json()["unreadable_lines"]), (0, &json!(1)), "{}", torn.stdout);
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().join("\n");
    assert_eq!(check(&without(3)).json()["faults"][0]["fault"], "removed");
    let edited = export.stdout.replacen("operator", "system", 1);
    assert_eq!(check(&edited).json()["faults"][0]["fault"], "changed");
    // The end of the file is cut, but a checkpoint in it names the row.
    let row = lines.iter().rposition(|line| line.contains("\"type\":\"row\"")).unwrap();
    assert_eq!(check(&without(row)).json()["faults"][0]["fault"], "truncated");
    // A part of the log is good as a part.
    assert_eq!(check(&lines[4..].join("\n")).code, 0);
}

#[tokio::test]
async fn a_copy_kept_elsewhere_shows_that_the_end_was_cut_with_its_checkpoints() {
    let directory = stopped().await;
    let data = directory.path().join("data");
    let file = directory.path().join("audit.jsonl");
    std::fs::write(&file, audit(&data, &["export"]).stdout).unwrap();
    tamper(&data, "DELETE FROM audit_checkpoints").await;
    tamper(&data, "DELETE FROM audit WHERE position = (SELECT MAX(position) FROM audit)").await;
    assert_eq!(audit(&data, &["verify"]).code, 0, "nothing in the database says so");
    let report = audit(&data, &["verify", "--against", file.to_str().unwrap(), "--output", "json"]);
    assert_eq!((report.code, &report.json()["faults"][0]["fault"]), (9, &json!("truncated")));
}

#[tokio::test]
async fn an_export_goes_on_where_it_ended() {
    let directory = stopped().await;
    let data = directory.path().join("data");
    let cursor = directory.path().join("cursor");
    let arguments = ["export", "--cursor", cursor.to_str().unwrap()];
    let whole = audit(&data, &["export"]).stdout;
    assert_eq!(audit(&data, &arguments).stdout, whole);
    assert_eq!(audit(&data, &arguments).stdout, "");
    let place = data.to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_usher-broker");
    let output =
        Command::new(program).args(["user", "set-up-code", "admin", "--data-dir", place]).output().unwrap();
    assert!(output.status.success());
    let more = audit(&data, &arguments).stdout;
    assert_eq!(more.lines().count(), 2, "log.start and user.set_up_code: {more}");
    std::fs::write(&cursor, "broken").unwrap();
    assert_eq!(audit(&data, &arguments).code, 1);
    let rows = |text: &str| text.lines().filter(|line| line.contains("\"type\":\"row\"")).count();
    assert_eq!(rows(&audit(&data, &["export", "--after", "3"]).stdout), rows(&whole) + 2 - 3);
    assert_eq!(
        audit(&data, &["export", "--since", "2020-01-01T00:00:00Z"]).stdout.lines().count(),
        whole.lines().count() + 2
    );
}
