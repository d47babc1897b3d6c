//! The index of names on disk.

use usher::index::{self, Index};

#[test]
fn names_that_are_gone_stay_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.idx");
    index::update(&path, |index| index.replace("acme", ["web-1".to_owned(), "web-2".to_owned()])).unwrap();
    index::update(&path, |index| index.replace("acme", ["web-2".to_owned()])).unwrap();
    let gone = index::look_up(&path, "web-1").unwrap().unwrap();
    assert!(!gone.present);
    assert!(
        index::look_up(&path, "WEB-2").unwrap().unwrap().present,
        "ssh hands names over as they were typed"
    );
    // One that came back is there again.
    index::remember(&path, "acme", "web-1").unwrap();
    assert!(index::look_up(&path, "web-1").unwrap().unwrap().present);
}

#[test]
fn teams_do_not_take_each_others_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.idx");
    index::update(&path, |index| {
        index.replace("acme", ["web-1".to_owned()]);
        index.replace("beta", ["web-1".to_owned(), "db-1".to_owned()]);
        index.replace("beta", ["db-1".to_owned()]);
    })
    .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "#usher-names-v1\ndb-1\tbeta\t+\nweb-1\tacme,-beta\t+\n");
    let loaded = Index::load(&path).unwrap();
    loaded.save(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert!(index::look_up(&path, "web-1").unwrap().unwrap().teams.contains("acme"));
}

#[test]
fn parallel_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.idx");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let path = &path;
            scope.spawn(move || index::remember(path, "acme", &format!("web-{number}")).unwrap());
        }
    });
    for number in 0..20 {
        assert!(index::look_up(&path, &format!("web-{number}")).unwrap().is_some(), "web-{number}");
    }
}

#[test]
fn no_index_knows_nothing_and_a_foreign_file_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.idx");
    assert_eq!(index::look_up(&path, "web-1").unwrap(), None);
    for text in ["", "\n", "\n\n\n", "web-1", "#usher-names-v1\n", "no tabs here\nat all\n"] {
        std::fs::write(&path, text).unwrap();
        let _ = index::look_up(&path, "web-1").unwrap();
        let _ = Index::load(&path).unwrap();
    }
    std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    assert_eq!(index::look_up(&path, "web-1").unwrap(), None);
}
