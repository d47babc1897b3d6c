//! Signing in again for servers by name, through the page: one sign-in, the servers on its list, for a while.

use serde_json::{Value, json};

use crate::{
    Broker, Caller,
    broker::{Client, Person},
    team::{enroll_body, ssh_key},
};

/// A broker whose project `shop` wants servers to be named, with three of them.
struct Shop {
    broker: Broker,
    admin: Person,
    client: Client,
}

impl Shop {
    async fn new() -> Self {
        let broker = Broker::start().await;
        let admin = broker.admin().await;
        let client = Client::new();
        let shop = Self { broker, admin, client };
        let mut caller = shop.session("").await;
        for (method, path, body) in [
            ("POST", "/v1/projects", json!({"name": "shop"})),
            ("POST", "/v1/groups", json!({"name": "shop"})),
            ("PUT", "/v1/groups/shop/members/admin", Value::Null),
            (
                "PUT",
                "/v1/projects/shop/groups/shop",
                json!({
                    "server_access": true,
                    "server_admin": true,
                    "conditions": {"authentication": {"named_server": true, "max_age_seconds": 600}},
                }),
            ),
        ] {
            let answer = caller.call(method, path, &body).await;
            assert!((200..300).contains(&answer.status), "{answer:?}");
        }
        let token = json!({"project": "shop", "description": "test", "max_uses": 10});
        let token = caller.call("POST", "/v1/tokens", &token).await;
        let token = usher_enrollment::PastedToken::parse(token.body["token"].as_str().unwrap()).unwrap();
        for (name, last) in [("web-1", 1), ("web-2", 2), ("web-3", 3)] {
            let mut agent = Caller::stranger(&shop.broker);
            let body = enroll_body(&token.token().reveal(), name, last);
            assert_eq!(agent.call("POST", "/v1/enroll", &body).await.status, 200);
        }
        shop
    }

    /// Signed in again on the one device, for these servers.
    async fn session(&self, servers: &str) -> Caller {
        let client = self.client.for_servers(servers);
        self.broker.session_on(&client, &self.admin).await
    }
}

async fn connect(caller: &mut Caller, server: &str) -> (u16, String) {
    let body = json!({"server": server, "purpose": "command", "keys": [ssh_key(901)]});
    let answer = caller.call("POST", "/v1/connections", &body).await;
    (answer.status, if answer.status == 200 { String::new() } else { answer.code().to_owned() })
}

const OPEN: (u16, String) = (200, String::new());

fn stepped_up() -> (u16, String) {
    (401, "insufficient_user_authentication".to_owned())
}

#[tokio::test]
async fn one_sign_in_opens_exactly_the_servers_on_its_list_and_for_a_while() {
    let shop = Shop::new().await;
    let mut fresh = shop.session("").await;
    assert_eq!(connect(&mut fresh, "web-1").await, stepped_up(), "however fresh it is");

    let mut named = shop.session("web-1,web-2,no-such-server").await;
    assert_eq!(connect(&mut named, "web-1").await, OPEN);
    assert_eq!(connect(&mut named, "web-2").await, OPEN);
    assert_eq!(connect(&mut named, "web-3").await, stepped_up());

    // Another one, for another server, takes nothing away.
    let mut more = shop.session("web-3").await;
    for server in ["web-1", "web-2", "web-3"] {
        assert_eq!(connect(&mut more, server).await, OPEN, "{server}");
    }
    // A device has one session.
    assert_eq!(connect(&mut named, "web-1").await, (401, "login_required".to_owned()));

    shop.broker.later(601);
    assert_eq!(connect(&mut more, "web-1").await, stepped_up());

    // Whoever asks the log how this came to be finds one record with all servers.
    let audit = more.get("/v1/audit?type=session.open&limit=100").await;
    let opened: Vec<_> = audit.body["items"].as_array().unwrap().iter().collect();
    let with_two = opened
        .iter()
        .filter(|row| row["event"]["event"]["servers"].as_array().is_some_and(|servers| servers.len() == 2));
    assert_eq!(with_two.count(), 1, "{audit:?}");
}

#[tokio::test]
async fn a_proof_stays_on_the_device_that_it_was_given_on_and_ends_with_signing_out() {
    let shop = Shop::new().await;
    let mut named = shop.session("web-1").await;
    assert_eq!(connect(&mut named, "web-1").await, OPEN);

    let other = Client::new();
    let mut elsewhere = shop.broker.session_on(&other, &shop.admin).await;
    let device = format!("/v1/devices/{}", elsewhere.device_id);
    assert_eq!(named.call("PATCH", &device, &json!({"state": "approved"})).await.status, 200);
    assert_eq!(connect(&mut elsewhere, "web-1").await, stepped_up());

    assert_eq!(named.call("DELETE", "/v1/session", &Value::Null).await.status, 204);
    let mut again = shop.session("").await;
    assert_eq!(connect(&mut again, "web-1").await, stepped_up());
}

#[tokio::test]
async fn the_page_shows_what_it_is_for_and_nothing_else_can_be_put_there() {
    let shop = Shop::new().await;
    let page = |servers: &str| {
        let client = Client::new().for_servers(servers);
        let url = client.authorize_url(&shop.broker.origin);
        async {
            let answer = shop.broker.http.get(url).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let (status, one) = page("web-1").await;
    assert!(status == 200 && one.contains("It is for the server <strong>web-1</strong>"), "{one}");
    let (_, many) = page("web-2,web-1").await;
    assert!(many.contains("2 servers") && many.contains("<code>web-1</code> <code>web-2</code>"), "{many}");
    let (_, none) = page("").await;
    assert!(!none.contains("It is for"));
    let too_many: Vec<String> = (0..501).map(|number| format!("s{number}")).collect();
    for bad in ["<b>x</b>", "web-1,", ",", "web 1", "WEB-1", &too_many.join(","), &"a".repeat(64)] {
        // Back to the client with an error, as any bad parameter.
        assert_eq!(page(bad).await.0, 303, "{bad}");
    }
}
