//! Showing certificates, good and bad.

use usher_ca::{InspectError, inspect};

use crate::forge::{Forged, value};

#[test]
fn shows_a_certificate_that_nobody_should_accept() {
    let mut forged = Forged::good();
    forged.kind = 2;
    forged.principals.clear();
    forged.key_id = b"x\ny".to_vec();
    forged.valid_after = 0;
    forged.valid_before = u64::MAX;
    forged.critical_options = vec![("force-command", value("/bin/sh"))];
    let read = inspect(&forged.to_text()).unwrap();
    assert_eq!(read.certificate_type, "host");
    assert_eq!((read.valid_after, read.valid_before), (None, None));
    let shown = read.to_string();
    assert!(shown.contains("key id            x\\ny\n"), "{shown}");
    assert!(shown.contains("principals        none\n"), "{shown}");
    assert!(shown.contains("critical options  force-command /bin/sh\n"), "{shown}");
    assert!(shown.contains("valid before      no limit\n"), "{shown}");
    let json = serde_json::to_value(&read).unwrap();
    assert_eq!(json["key_id"], "x\ny");
    assert_eq!(json["serial"], "7");
    assert_eq!(json["valid_principals"], serde_json::json!([]));
}

#[test]
fn reads_a_certificate_that_openssh_made() {
    let read = inspect(include_str!("../golden/ssh-keygen.pub")).unwrap();
    assert_eq!(read.key_id, "made by ssh-keygen");
    assert_eq!(read.serial, "4711");
    assert_eq!(read.valid_principals, ["alice", "bob"]);
    assert_eq!(read.critical_options["source-address"], "192.0.2.0/24");
    assert_eq!(read.critical_options["force-command"], "/bin/true");
    assert_eq!(read.extensions.len(), 5);
    assert_eq!(read.signature_algorithm, "ecdsa-sha2-nistp256");
}

#[test]
fn says_so_when_it_is_no_certificate() {
    assert_eq!(inspect("ssh-ed25519 AAAA"), Err(InspectError));
}
