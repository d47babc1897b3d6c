//! The command line: bad input gets an exit code and a useful sentence, and changes nothing.

use usher_enrollment::PastedToken;
use usher_testkit::{
    fixture,
    namespace::{inside, sh, try_sh},
};
use usher_types::{SecretToken, TokenKind};

use crate::program;

/// Runs the agent; its exit code and everything that it said.
fn agent(arguments: &str) -> (String, String) {
    let (_, text) = try_sh(&format!("{{ {agent} {arguments}; }} 2>&1; echo status=$?", agent = program()));
    let (text, status) = text.rsplit_once("status=").unwrap();
    (status.to_owned(), text.trim().to_owned())
}

fn token(url: &str) -> String {
    let secret = SecretToken::new(TokenKind::Enrollment, fixture::token(1), [7; 32]);
    PastedToken::new(url, None, secret).unwrap().reveal().to_string()
}

#[test]
fn bad_input_is_refused_with_advice() {
    inside(|| {
        let before = sh("cat /etc/passwd /etc/group; ls -A /var/lib/usher-agent");
        sh(
            "echo garbage > /tmp/garbage; printf 'mode = 1' > /tmp/bad.toml; printf 'mode = \"observe\"' > /tmp/loose.toml; chmod 666 /tmp/loose.toml",
        );
        std::fs::write("/tmp/token", token("https://127.0.0.1:1")).unwrap();
        for (arguments, status, word) in [
            ("", "2", "Usage"),
            ("nonsense", "2", "unrecognized"),
            ("enroll", "2", "--token-file"),
            ("enroll --token-file /nowhere", "2", "cannot be read"),
            ("enroll --token-file /tmp/garbage", "2", "not an enrollment token"),
            ("enroll --token-file /tmp/token --name ../x", "2", "server name"),
            ("enroll --token-file /tmp/token --address localhost", "2", "invalid"),
            ("enroll ut1_secret", "2", "unexpected argument"),
            ("status", "5", "not enrolled"),
            ("run", "5", "not enrolled"),
            ("network", "2", "must not run as root"),
            ("config check --config /nowhere.toml", "2", "/nowhere.toml"),
            ("config check --config /tmp/bad.toml", "2", "mode"),
            ("config check --config /tmp/loose.toml", "2", "writable for root only"),
        ] {
            let (code, text) = agent(arguments);
            assert_eq!(code, status, "`{arguments}`: {text}");
            assert!(text.contains(word), "`{arguments}`: {text}");
        }
        assert_eq!(sh("cat /etc/passwd /etc/group; ls -A /var/lib/usher-agent"), before);
        let (code, text) = agent("config check");
        assert_eq!((code.as_str(), text.as_str()), ("0", "the configuration is good"));
        let (_, text) = agent("config default");
        assert!(text.contains("break_glass_users = [\"root\"]"));
    });
}

#[test]
fn only_root_enrolls_and_runs() {
    inside(|| {
        sh("echo x > /tmp/token");
        for command in ["enroll --token-file /tmp/token", "run"] {
            let (ok, text) =
                try_sh(&format!("setpriv --reuid 65534 --clear-groups {agent} {command}", agent = program()));
            assert!(!ok && text.contains("must run as root"), "{text}");
        }
    });
}

#[test]
fn an_enrollment_that_failed_can_be_tried_again_with_the_same_key() {
    inside(|| {
        let text = token("https://127.0.0.1:1");
        std::fs::write("/tmp/token", &text).unwrap();
        let key =
            || sh("stat -c '%U %a %i' /var/lib/usher-agent/agent.key; md5sum /var/lib/usher-agent/agent.key");
        let enroll = "enroll --token-file /tmp/token --address 10.0.0.7";
        let (code, said) = agent(enroll);
        assert_eq!(code, "6", "{said}");
        assert!(said.contains("next: "), "{said}");
        let first = key();
        assert!(first.starts_with("usher-agent 600 "), "{first}");
        let (code, said) = agent(&format!("{enroll} < /dev/null"));
        assert_eq!((code.as_str(), key()), ("6", first));
        let secret = text.trim_start_matches("ut1_");
        assert!(!said.contains(secret), "a secret in a message");
        assert!(!try_sh(&format!("grep -rl {secret} /var/lib/usher-agent /run /etc/usher 2>/dev/null")).0);
        assert_eq!(sh("getent passwd usher-agent | cut -d: -f6,7"), "/var/lib/usher-agent:/usr/sbin/nologin");
        assert_eq!(agent("status").0, "5");
    });
}

#[test]
fn an_enrolled_host_is_not_enrolled_by_accident() {
    inside(|| {
        crate::state::enroll(&[], 1);
        std::fs::write("/tmp/token", token("https://127.0.0.1:1")).unwrap();
        let before = sh("cat /var/lib/usher-agent/enrollment.json; md5sum /var/lib/usher-agent/agent.key");
        let (code, text) = agent("enroll --token-file /tmp/token");
        assert_eq!(code, "1");
        assert!(text.contains("enrolled already") && text.contains("--force-new"), "{text}");
        assert_eq!(
            sh("cat /var/lib/usher-agent/enrollment.json; md5sum /var/lib/usher-agent/agent.key"),
            before
        );
    });
}

#[test]
fn discover_shows_what_would_be_in_the_way() {
    inside(|| {
        sh(
            "useradd -M -u 60005 carol; groupadd -g 63007 staff2; echo carol:60100:10 >> /etc/subuid; groupadd usher-admin",
        );
        let before = sh("cat /etc/passwd /etc/group; ls -lA /var/lib /etc/ssh");
        let (code, text) = agent("discover");
        assert_eq!(code, "0");
        for line in [
            "UID 60005 belongs to `carol`",
            "GID 63007 belongs to the group `staff2`",
            "UIDs 60100 to 60109",
            "`usher-admin` exists",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let (_, json) = agent("discover --output json");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["accounts"].as_array().unwrap().iter().any(|account| account["name"] == "carol"));
        assert_eq!(sh("cat /etc/passwd /etc/group; ls -lA /var/lib /etc/ssh"), before);
        let (_, text) = agent("discover --uid-from 200000 --gid-from 200000");
        assert!(!text.contains("carol`") && !text.contains("staff2`"), "{text}");
    });
}
