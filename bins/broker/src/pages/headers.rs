//! What every page tells the browser, and which posts it takes.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

/// Styles from here, nothing else; forms go here, and by redirect to the loopback of the program that asked (browsers
/// apply `form-action` to redirects of a form too).
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:*; \
                      frame-ancestors 'none'; base-uri 'none'";

/// The same with the script from here, which asks here.
const POLICY_WITH_SCRIPT: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                                  form-action 'self' http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'";

/// Marks an answer whose page loads the script for passkeys.
#[derive(Clone, Copy)]
pub(super) struct Script;

const FIXED: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    // Not `no-referrer`: browsers then name the origin of a form's post as `null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Adds the headers to every answer and refuses posts that another site caused.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let foreign = request.method() == Method::POST && !same_origin(request.headers());
    let mut response = if foreign {
        (StatusCode::FORBIDDEN, "This form was sent by another site and was not looked at.\n").into_response()
    } else {
        next.run(request).await
    };
    protect(&mut response);
    response
}

/// Adds the headers to one answer.
pub(super) fn protect(response: &mut Response) {
    let script = response.extensions_mut().remove::<Script>();
    let policy = script.map_or(POLICY, |Script| POLICY_WITH_SCRIPT);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    for (name, value) in FIXED {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// Browsers name the origin of every post. Programs need not: what they send carries everything it needs by itself.
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
    let expected = host.and_then(|host| Url::parse(&format!("https://{host}")).ok());
    origin.zip(expected).is_some_and(|(origin, expected)| origin.origin() == expected.origin())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::same_origin;

    fn headers(origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("usher.example.com:8443"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn takes_posts_of_its_own_pages() {
        assert!(same_origin(&headers(Some("https://usher.example.com:8443"))));
        assert!(same_origin(&headers(None)));
    }

    #[test]
    fn refuses_posts_of_other_sites() {
        for origin in [
            "https://evil.example",
            "https://usher.example.com",
            "http://usher.example.com:8443",
            "https://usher.example.com:8443.evil.example",
            "null",
            "",
        ] {
            assert!(!same_origin(&headers(Some(origin))), "{origin}");
        }
        let mut cross = headers(None);
        cross.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(!same_origin(&cross));
    }
}
