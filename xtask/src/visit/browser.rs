//! A browser as far as sign-in needs one: cookies, forms, redirects, one trusted root. No JavaScript, as the pages must
//! work without.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::header;
use serde_json::{Value, json};
use url::Url;

use crate::{clock, totp};

/// How to reach the broker as a browser does.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// The root certificate that was imported, PEM.
    #[arg(long)]
    root: PathBuf,
}

/// What a person types.
#[derive(Clone, Debug, Args)]
pub(crate) struct Credentials {
    /// User name.
    #[arg(long)]
    user: String,
    /// Password.
    #[arg(long)]
    password: String,
    /// Six digits.
    #[arg(long)]
    code: String,
}

/// What came back in the end.
pub(super) struct Page {
    url: Url,
    status: u16,
    html: String,
    /// Where it wants to go, when that is not the broker.
    pub(super) leaves_to: Option<Url>,
}

pub(super) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// Believes the one root, and goes nowhere by itself.
pub(super) fn client(settings: &Settings) -> Result<reqwest::Client> {
    let pem =
        std::fs::read(&settings.root).with_context(|| format!("cannot read {}", settings.root.display()))?;
    let root = reqwest::Certificate::from_pem(&pem)?;
    let none = reqwest::redirect::Policy::none();
    Ok(reqwest::Client::builder().tls_certs_only([root]).redirect(none).no_proxy().build()?)
}

impl Browser {
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        Ok(Self { http: client(settings)?, cookies: BTreeMap::new() })
    }

    pub(super) async fn get(&mut self, url: Url) -> Result<Page> {
        self.go(self.http.get(url.clone()), url).await
    }

    /// Fills in the page's form and sends it.
    pub(super) async fn submit(&mut self, page: &Page, values: &[(&str, &str)]) -> Result<Page> {
        let form = Form::find(&page.html).with_context(|| format!("no form on the page: {}", page.text()))?;
        let url = page.url.join(&form.action)?;
        let mut fields = form.fields;
        for (name, value) in values {
            if !fields.contains_key(*name) {
                bail!("the form at {} has no field `{name}`, only {:?}", page.url, fields.keys());
            }
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        let origin = page.url.origin().ascii_serialization();
        let request = self.http.post(url.clone()).header(header::ORIGIN, origin).form(&fields);
        self.go(request, url).await
    }

    async fn go(&mut self, request: reqwest::RequestBuilder, mut url: Url) -> Result<Page> {
        let mut response = self.send(request).await?;
        for _ in 0..5 {
            let Some(location) = response.headers().get(header::LOCATION) else {
                let status = response.status().as_u16();
                return Ok(Page { url, status, html: response.text().await?, leaves_to: None });
            };
            let next = url.join(location.to_str()?)?;
            if next.origin() != url.origin() {
                let status = response.status().as_u16();
                return Ok(Page { url, status, html: String::new(), leaves_to: Some(next) });
            }
            response = self.send(self.http.get(next.clone())).await?;
            url = next;
        }
        bail!("too many redirects")
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies.join("; ")) };
        let response = request.send().await?;
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(response)
    }
}

impl Page {
    /// What a person reads.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut in_tag = false;
        // What stands before the body is not read: title and style.
        let body = self.html.split_once("<body").map_or(self.html.as_str(), |(_, body)| body);
        for c in body.split_once('>').map_or(body, |(_, rest)| rest).chars() {
            match c {
                '<' => in_tag = true,
                '>' => {
                    in_tag = false;
                    text.push(' ');
                }
                c if !in_tag => text.push(c),
                _ => {}
            }
        }
        unescape(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub(super) fn outcome(&self, name: &str) -> Value {
        json!({ "outcome": name, "status": self.status, "page": self.text() })
    }
}

/// The first form that a page shows without a script.
struct Form {
    action: String,
    fields: BTreeMap<String, String>,
}

impl Form {
    fn find(html: &str) -> Option<Self> {
        let (tag, body) = html.split("<form").skip(1).find_map(|form| {
            let (tag, rest) = form.split_once('>')?;
            let (body, _) = rest.split_once("</form>")?;
            (!tag.split_whitespace().any(|word| word == "hidden")).then_some((tag, body))
        })?;
        let fields = body
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                let tag = input.split('>').next()?;
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            })
            .collect();
        Some(Self { action: attribute(tag, "action").unwrap_or_default(), fields })
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) =
        tag.split_once(&format!(" {name}=\"")).or_else(|| tag.split_once(&format!("\n{name}=\"")))?;
    rest.split('"').next().map(unescape)
}

fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (entity, plain) in [
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, plain);
    }
    text
}

/// Types the credentials on the page at `url`; the page that follows.
pub(super) async fn enter(browser: &mut Browser, credentials: &Credentials, url: &str) -> Result<Page> {
    let page = browser.get(url.parse()?).await?;
    if page.leaves_to.is_some() || page.status != 200 {
        return Ok(page);
    }
    let values = [
        ("user_name", credentials.user.as_str()),
        ("password", credentials.password.as_str()),
        ("code", credentials.code.as_str()),
    ];
    browser.submit(&page, &values).await
}

/// Signs in and delivers the authorization code to the client that waits on the loopback.
pub(super) async fn sign_in(settings: &Settings, credentials: &Credentials, url: &str) -> Result<Value> {
    let mut browser = Browser::new(settings)?;
    let page = enter(&mut browser, credentials, url).await?;
    let Some(client) = page.leaves_to.clone() else { return Ok(page.outcome("refused")) };
    if client.query_pairs().any(|(name, _)| name == "error") {
        return Ok(json!({ "outcome": "refused", "status": page.status, "page": client.as_str() }));
    }
    let answer = browser.http.get(client).send().await.context("the client does not listen")?;
    let status = answer.status().as_u16();
    Ok(Page { url: url.parse()?, status, html: answer.text().await?, leaves_to: None }.outcome("signed-in"))
}

/// Sets password and second factor; prints the TOTP secret.
pub(super) async fn set_up(
    settings: &Settings,
    url: &str,
    code: &str,
    password: &str,
    totp_offset: i64,
) -> Result<Value> {
    let mut browser = Browser::new(settings)?;
    let page = browser.get(url.parse()?).await?;
    let page = browser.submit(&page, &[("code", code)]).await?;
    let Some((_, rest)) = page.html.split_once("id=\"totp-secret\">") else {
        return Ok(page.outcome("refused"));
    };
    let secret: String =
        rest.split('<').next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let step = totp::step_at(clock::now().as_secs() + totp_offset);
    let digits = totp::code(&secret, step)?;
    let values = [("password", password), ("password_again", password), ("totp", digits.as_str())];
    let page = browser.submit(&page, &values).await?;
    if page.status != 200 || Form::find(&page.html).is_some() {
        return Ok(page.outcome("refused"));
    }
    Ok(json!({ "outcome": "done", "status": page.status, "totp_secret": secret, "step": step }))
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn reads_a_form_as_a_browser_does() {
        let html = r#"<p>x</p><form action="/passkey" hidden><input name="key"></form><form method="post" action="/sign-in"><input type="hidden" name="request" value="a&#38;b">
            <label>User <input name="user_name" id="u" required></label><button>Go</button></form><input name="no">"#;
        let form = Form::find(html).unwrap();
        assert_eq!(form.action, "/sign-in");
        assert_eq!(form.fields.len(), 2);
        assert_eq!(form.fields["request"], "a&b");
    }
}
