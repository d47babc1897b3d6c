//! In the product, only grants of the policy crate, and the proof that a server's own agent asks, authorize a certificate.

use std::{fs, path::Path};

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Documentation may show embedders how it is done.
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.extend(code.filter(|line| line.contains("Authorization for ")).map(str::to_owned));
        }
    }
}

#[test]
fn only_grants_and_enrolled_agents_authorize() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for group in ["crates", "bins"] {
        for package in fs::read_dir(root.join(group)).unwrap() {
            sources(&package.unwrap().path().join("src"), &mut found);
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            "impl Authorization for LegGrant {",
            "impl ClientAuthorization for ClientGrant {",
            "impl ServerAuthorization for ListenerGrant {",
        ]
    );
}
