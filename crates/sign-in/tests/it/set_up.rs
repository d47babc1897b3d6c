//! Set-up codes.

use std::collections::BTreeSet;

use usher_sign_in::SetUpCode;

use crate::rng;

#[test]
fn are_twenty_characters_in_four_groups() {
    let code = SetUpCode::generate(&mut rng()).reveal();
    assert_eq!(code.len(), 23);
    assert_eq!(code.split('-').map(str::len).collect::<Vec<_>>(), [5; 4]);
    assert!(
        code.chars()
            .all(|c| c == '-' || c.is_ascii_digit() || (c.is_ascii_uppercase() && !"ILOU".contains(c)))
    );
}

#[test]
fn are_read_as_people_type_them() {
    let code = SetUpCode::generate(&mut rng());
    let text = code.reveal();
    let spoken = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
    for typed in [text.as_str(), &text.replace('-', ""), &spoken, &format!("  {} ", *text)] {
        assert_eq!(typed.parse::<SetUpCode>().unwrap().hash(), code.hash(), "{typed}");
    }
}

#[test]
fn other_text_is_refused() {
    for text in [
        "",
        "ABCDE",
        "ABCDE-ABCDE-ABCDE-ABCDEF",
        "UUUUU-UUUUU-UUUUU-UUUUU",
        "ÄBCDE-ABCDE-ABCDE-ABCDE",
        &"A".repeat(1000),
    ] {
        assert!(text.parse::<SetUpCode>().is_err(), "{text}");
    }
}

#[test]
fn do_not_repeat() {
    let codes: BTreeSet<String> =
        (0..200).map(|_| SetUpCode::generate(&mut rng()).reveal().to_string()).collect();
    assert_eq!(codes.len(), 200);
}
