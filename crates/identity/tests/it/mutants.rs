//! Row 21 of the threat model, for our own tokens: mutants of a proof, one by one, all refused.

use data_encoding::BASE64URL_NOPAD;
use usher_identity::{PrivateKey, dpop::ProofError};
use usher_types::Sha256;

use crate::fixture::{NOW, check, key, nonces, prove, request, session_token};

struct Template {
    key: PrivateKey,
    header: String,
    claims: String,
}

/// JSON that is accepted as it stands, to be changed by text replacement and signed again by the same key.
fn template() -> Template {
    let key = key(1);
    let proof = prove(&key, &request(Some(&session_token(1))));
    let part = |index| {
        let text = proof.split('.').nth(index).unwrap();
        String::from_utf8(BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    Template { key, header, claims }
}

impl Template {
    fn signed(&self, header: &str, claims: &str) -> String {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = BASE64URL_NOPAD.encode(&self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn header(&self, from: &str, to: &str) -> String {
        assert!(self.header.contains(from), "{from} is not in {}", self.header);
        self.signed(&self.header.replacen(from, to, 1), &self.claims)
    }

    fn claims(&self, from: &str, to: &str) -> String {
        assert!(self.claims.contains(from), "{from} is not in {}", self.claims);
        self.signed(&self.header, &self.claims.replacen(from, to, 1))
    }
}

#[track_caller]
fn refused(name: &str, proof: &str) -> ProofError {
    let token = session_token(1);
    check(proof, &request(Some(&token))).expect_err(name)
}

#[test]
fn the_template_itself_is_accepted() {
    let template = template();
    let token = session_token(1);
    let proof = template.signed(&template.header, &template.claims);
    assert!(check(&proof, &request(Some(&token))).is_ok());
}

#[test]
fn refuses_every_other_algorithm_and_type() {
    let template = template();
    for algorithm in
        ["none", "None", "NONE", "", "HS256", "RS256", "PS256", "ES256K", "ES384", "ES512", "EdDSA", "es256"]
    {
        let mutant = template.header(r#""alg":"ES256""#, &format!(r#""alg":"{algorithm}""#));
        assert_eq!(refused(algorithm, &mutant), ProofError::Header);
    }
    for kind in ["JWT", "jwt", "at+jwt", "DPOP+JWT", "application/dpop+jwt", ""] {
        let mutant = template.header(r#""typ":"dpop+jwt""#, &format!(r#""typ":"{kind}""#));
        assert_eq!(refused(kind, &mutant), ProofError::Header);
    }
}

#[test]
fn refuses_headers_with_more_or_less() {
    let template = template();
    let (x, y) = ("\"x\":", "\"y\":");
    let mutants = [
        ("no alg", template.header(r#""alg":"ES256","#, "")),
        ("no typ", template.header(r#""typ":"dpop+jwt","#, "")),
        ("alg twice", template.header(r#""alg":"ES256""#, r#""alg":"none","alg":"ES256""#)),
        ("alg is a number", template.header(r#""alg":"ES256""#, r#""alg":256"#)),
        ("alg is a list", template.header(r#""alg":"ES256""#, r#""alg":["ES256"]"#)),
        ("crit", template.header(r#""alg""#, r#""crit":["b64"],"b64":false,"alg""#)),
        ("kid", template.header(r#""alg""#, r#""kid":"../../key","alg""#)),
        ("jku", template.header(r#""alg""#, r#""jku":"https://x.example","alg""#)),
        ("x5c", template.header(r#""alg""#, r#""x5c":[],"alg""#)),
        ("zip", template.header(r#""alg""#, r#""zip":"DEF","alg""#)),
        ("private member", template.header(r#""kty""#, r#""d":"AAAA","kty""#)),
        ("symmetric key", template.header(r#""kty":"EC""#, r#""kty":"oct""#)),
        ("RSA key", template.header(r#""kty":"EC""#, r#""kty":"RSA""#)),
        ("other curve", template.header(r#""crv":"P-256""#, r#""crv":"P-384""#)),
        ("key twice", template.header(r#""typ""#, r#""jwk":{},"typ""#)),
        ("x twice", template.header(x, r#""x":"AAAA","x":"#)),
        (
            "x and y swapped",
            template.signed(
                &template.header.replace(x, "\"z\":").replace(y, x).replace("\"z\":", y),
                &template.claims,
            ),
        ),
        ("x too short", template.header(x, r#""x":"AA","was":"#)),
        ("no key", template.signed(r#"{"typ":"dpop+jwt","alg":"ES256"}"#, &template.claims)),
        ("array", template.signed(r#"["dpop+jwt","ES256"]"#, &template.claims)),
        ("string", template.signed(r#""ES256""#, &template.claims)),
        ("null", template.signed("null", &template.claims)),
        ("not JSON", template.signed("{", &template.claims)),
        ("more behind", template.signed(&format!("{}x", template.header), &template.claims)),
        (
            "deep",
            template.signed(&format!("{}{}", r#"{"jwk":"#.repeat(500), "}".repeat(500)), &template.claims),
        ),
    ];
    for (name, mutant) in mutants {
        let error = refused(name, &mutant);
        assert!(matches!(error, ProofError::Form | ProofError::Header), "{name}: {error}");
    }
}

#[test]
fn refuses_claims_with_more_or_less() {
    let template = template();
    let ath = Sha256::of(session_token(1).reveal().as_bytes());
    let other = Sha256::of(b"other");
    let seconds = NOW.as_secs();
    let nonce = nonces().issue(NOW);
    let mutants = [
        ("no htm", template.claims(r#""htm":"POST","#, "")),
        ("htm twice", template.claims(r#""htm":"POST""#, r#""htm":"GET","htm":"POST""#)),
        ("htm is a list", template.claims(r#""htm":"POST""#, r#""htm":["POST"]"#)),
        ("htu with query", template.claims("/v1/connections", "/v1/connections?wait=1")),
        ("htu of another host", template.claims("broker.example", "broker.example.attacker.example")),
        ("no qsh", template.claims(r#""qsh""#, r#""qs""#)),
        ("no bsh", template.claims(r#""bsh""#, r#""bs""#)),
        ("no ath", template.claims(&format!(r#","ath":"{ath}""#), "")),
        ("null ath", template.claims(&format!(r#""{ath}""#), "null")),
        ("other ath", template.claims(&ath.to_string(), &other.to_string())),
        ("no iat", template.claims(&format!(r#""iat":{seconds},"#), "")),
        ("iat is text", template.claims(&seconds.to_string(), &format!(r#""{seconds}""#))),
        ("iat is a fraction", template.claims(&seconds.to_string(), &format!("{seconds}.5"))),
        ("iat is huge", template.claims(&seconds.to_string(), &i64::MAX.to_string())),
        ("iat is hugely negative", template.claims(&seconds.to_string(), &i64::MIN.to_string())),
        ("iat does not fit", template.claims(&seconds.to_string(), "1e400")),
        ("iat is null", template.claims(&seconds.to_string(), "null")),
        ("iat twice", template.claims(r#""iat""#, r#""iat":0,"iat""#)),
        ("no jti", template.claims(r#""jti""#, r#""jt""#)),
        ("empty jti", template.claims(r#""jti":""#, r#""jti":"","j":""#)),
        ("long jti", template.claims(r#""jti":""#, r#""jti":"AAAA"#)),
        ("no nonce", template.claims(&format!(r#","nonce":"{nonce}""#), "")),
        ("null nonce", template.claims(&format!(r#""{nonce}""#), "null")),
        ("nonce twice", template.claims(r#""nonce""#, r#""nonce":"x","nonce""#)),
        ("more", template.claims(r#""htm""#, r#""sub":"root","htm""#)),
        ("exp", template.claims(r#""htm""#, r#""exp":0,"htm""#)),
        ("array", template.signed(&template.header, "[]")),
        ("empty", template.signed(&template.header, "{}")),
        ("nothing", template.signed(&template.header, "")),
    ];
    for (name, mutant) in mutants {
        refused(name, &mutant);
    }
}

#[test]
fn refuses_other_shapes_of_the_token() {
    let template = template();
    let proof = template.signed(&template.header, &template.claims);
    let parts: Vec<&str> = proof.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let other_signature = BASE64URL_NOPAD.encode(&key(2).sign(format!("{header}.{claims}").as_bytes()));
    let mutants = [
        ("no signature", format!("{header}.{claims}.")),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{proof}.{signature}")),
        ("detached", format!("{header}..{signature}")),
        ("padding", format!("{proof}==")),
        ("space before", format!(" {proof}")),
        ("newline behind", format!("{proof}\n")),
        ("space inside", proof.replacen('.', ". ", 1)),
        ("other alphabet", format!("{header}.{claims}.{}", "+".repeat(86))),
        ("zero signature", format!("{header}.{claims}.{}", "A".repeat(86))),
        ("short signature", format!("{header}.{claims}.{}", &signature[..84])),
        ("another key's signature", format!("{header}.{claims}.{other_signature}")),
        (
            "claims signed alone",
            format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&template.key.sign(claims.as_bytes()))),
        ),
        ("header and claims swapped", format!("{claims}.{header}.{signature}")),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        (
            "JSON serialization",
            format!(r#"{{"protected":"{header}","payload":"{claims}","signature":"{signature}"}}"#),
        ),
    ];
    for (name, mutant) in mutants {
        refused(name, &mutant);
    }
}

#[test]
fn refuses_another_key_in_the_header() {
    // The thief of a token proves possession of a key of his own: verified for that key, never for the victim's.
    let token = session_token(1);
    let proof = prove(&key(2), &request(Some(&token)));
    assert_ne!(check(&proof, &request(Some(&token))).unwrap().jkt(), key(1).public().thumbprint());

    // The victim's key in the header with the thief's signature.
    let (own, victim) = (key(2), template());
    let signed = victim.signed(&victim.header, &victim.claims);
    let (unsigned, _) = signed.rsplit_once('.').unwrap();
    let forged = format!("{unsigned}.{}", BASE64URL_NOPAD.encode(&own.sign(unsigned.as_bytes())));
    assert_eq!(refused("forged", &forged), ProofError::Signature);
}
