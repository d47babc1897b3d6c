//! What any process of the user may send to the agent's socket, and what it may ask to have signed.
#![no_main]

use usher::ssh_agent::{protocol::Request, session_bind::BoundSession, userauth::AuthenticationRequest};

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    match Request::parse(frame) {
        Ok(Request::SessionBind(bind)) => drop(BoundSession::verify(&bind)),
        Ok(Request::Sign(request)) => drop(AuthenticationRequest::parse(&request.data)),
        Ok(Request::Identities | Request::UnknownExtension | Request::Unsupported) | Err(_) => {}
    }
});
