//! What may come in is never a panic and never more than one spelling.

use proptest::prelude::*;
use usher_sign_in::{AuthorizationParameters, AuthorizationRequest, RedirectUri, SetUpCode, TotpSecret};
use usher_types::UnixTime;

use crate::NOW;

proptest! {
    #[test]
    fn a_redirect_uri_that_parses_stays_on_the_loopback(text in "(http|https|HTTP|ftp)://[a-z0-9.:@/\\[\\]?#%-]{0,40}") {
        if let Ok(uri) = text.parse::<RedirectUri>() {
            prop_assert!(uri.as_str().starts_with("http://127.0.0.1:") || uri.as_str().starts_with("http://[::1]:"));
            let sent = uri.with_parameters(&[("code", "x")]);
            let sent = url::Url::parse(&sent).unwrap();
            prop_assert!(["127.0.0.1", "[::1]"].contains(&sent.host_str().unwrap()));
        }
    }

    #[test]
    fn any_request_is_an_answer(fields in prop::collection::vec(".{0,60}", 10)) {
        let [response_type, client_id, redirect_uri, code_challenge, code_challenge_method, state, dpop_jkt, device_name, servers, prompt]: [String; 10] =
            fields.try_into().unwrap();
        let parameters = AuthorizationParameters {
            response_type, client_id, redirect_uri, code_challenge, code_challenge_method, state, dpop_jkt, device_name, servers, prompt,
        };
        prop_assert!(AuthorizationRequest::parse(&parameters).is_err());
    }

    #[test]
    fn any_text_is_a_code_or_not(text in ".{0,80}", millis in any::<i64>()) {
        let _code = TotpSecret::new([1; 20]).step_of(&text, UnixTime::from_millis(millis));
        if let Ok(code) = text.parse::<SetUpCode>() {
            prop_assert_eq!(code.reveal().parse::<SetUpCode>().unwrap().hash(), code.hash());
        }
    }

    #[test]
    fn a_code_fits_its_own_window_only(offset in -200_i64..200) {
        let secret = TotpSecret::new([9; 20]);
        let at = UnixTime::from_secs(NOW.as_secs() + offset);
        let step = NOW.as_secs().div_euclid(30);
        let near = (at.as_secs().div_euclid(30) - step).abs() <= 1;
        // Two steps may share a code by chance (one in a million); a found step is then another one.
        match secret.step_of(&secret.code_at(NOW), at) {
            Some(found) => prop_assert!(near || found != step),
            None => prop_assert!(!near),
        }
    }
}
