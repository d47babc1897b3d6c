//! Bodies of requests and answers: no panic, and what is accepted means the same after another round. Requests refuse a field
//! that they do not know.
#![no_main]

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use usher_api::{ErrorResponse, v1};

fn round<T: Serialize + DeserializeOwned + PartialEq>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let written = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&written).unwrap();
    assert!(again == value, "{}", String::from_utf8_lossy(&written));
    Some(value)
}

fn request<T: Serialize + DeserializeOwned + PartialEq>(json: &[u8]) {
    let Some(value) = round::<T>(json) else { return };
    let mut object = serde_json::to_value(&value).unwrap();
    object.as_object_mut().unwrap().insert("usher_fuzz".to_owned(), Value::Null);
    assert!(serde_json::from_value::<T>(object).is_err());
}

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    request::<v1::ConnectionRequest>(json);
    request::<v1::CreateGroup>(json);
    request::<v1::CreateProject>(json);
    request::<v1::CreateToken>(json);
    request::<v1::CreateUser>(json);
    request::<v1::EnrollRequest>(json);
    request::<v1::ReportRequest>(json);
    request::<v1::RetireKeys>(json);
    request::<v1::RotateKey>(json);
    request::<v1::SetLock>(json);
    request::<v1::SetProjectGroup>(json);
    request::<v1::StateQuery>(json);
    request::<v1::TokenRequest>(json);
    request::<v1::UpdateDevice>(json);
    request::<v1::UpdateProject>(json);
    request::<v1::UpdateServer>(json);
    request::<v1::UpdateTeamSettings>(json);
    request::<v1::UpdateUser>(json);
    // What agents and clients read from a broker.
    round::<ErrorResponse>(json);
    round::<v1::AuditPage>(json);
    round::<v1::Connection>(json);
    round::<v1::EnrollResponse>(json);
    round::<v1::Me>(json);
    round::<v1::Page<v1::Server>>(json);
    round::<v1::ReportResponse>(json);
    round::<v1::StateResponse>(json);
    round::<v1::TokenResponse>(json);
});
