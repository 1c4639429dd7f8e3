//! A client of the API.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::contract;

/// A caller with a key.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    key: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Api {
    /// Calls `base` (`http://…/v1`) with `key`.
    pub fn new(base: &str, key: &str) -> Self {
        Self { client: client(), base: base.to_owned(), key: key.to_owned() }
    }

    /// The same API with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Where the API is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The answer, if one came whole: the engine may be killed in the middle of it.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<Answer> {
        answered(self.request(Method::POST, path).json(&body)).await.ok()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// A body that need not be JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::POST, path).header("content-type", "application/json").body(body)).await
    }

    /// With another `Authorization`, or none.
    pub async fn post_with_authorization(&self, path: &str, header: Option<&str>) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).body("{}");
        send(header.into_iter().fold(request, |request, value| request.header("authorization", value))).await
    }

    /// With more headers, and a body that need not be JSON.
    pub async fn post_with_headers(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request(Method::POST, path).body(body);
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Beside the API, at the root and without a key.
    pub async fn post_at_the_root(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base.trim_end_matches("/v1"))).body(body);
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Makes a tenant that is not limited by its plan.
    pub async fn tenant(&self, slug: &str) -> Value {
        let tenant = self.put(&format!("/tenants/{slug}"), json!({"name": slug, "plan": "enterprise"})).await;
        tenant.expect(201)
    }

    /// Makes an endpoint of a tenant; `more` is merged over its URL.
    pub async fn endpoint(&self, tenant: &str, url: &str, more: Value) -> Value {
        let mut body = json!({"url": url});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.post(&format!("/tenants/{tenant}/endpoints"), body).await.expect(201)
    }

    /// All items of a list.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{separator}limit=250{cursor}")).await.expect(200);
            items.extend(page["data"].as_array().expect("a list has data").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

/// A client of whatever else there is than the API.
pub fn client() -> Client {
    // Whoever installs it first wins; all of them install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("a client")
}

async fn send(request: RequestBuilder) -> Answer {
    answered(request).await.expect("the API answers")
}

/// The one way of all requests, so that no answer is left out of the contract.
async fn answered(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let (client, request) = request.build_split();
    let request = request?;
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let answer = client.execute(request).await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await?;
    contract::hold(&method, &path, status, &headers, &text);
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, headers, body })
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The problem's code, if it is a problem with this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        let content_type = self.headers["content-type"].to_str().expect("text");
        assert!(content_type.starts_with("application/problem+json"), "{content_type}");
        assert_eq!(self.body["status"], status, "{}", self.body);
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].is_string(), "{member} is missing in {}", self.body);
        }
        self.body["code"].as_str().expect("a problem has a code")
    }
}
