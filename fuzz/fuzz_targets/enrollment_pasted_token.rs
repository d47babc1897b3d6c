//! What an administrator pastes on a server: no panic, and what is accepted means the same after another round.
#![no_main]

use usher_enrollment::PastedToken;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(token) = PastedToken::parse(text) {
        let again = PastedToken::parse(&token.reveal()).unwrap();
        assert_eq!((again.url(), again.pin()), (token.url(), token.pin()));
        assert_eq!(again.token().hash(), token.token().hash());
    }
});
