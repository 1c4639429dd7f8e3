//! A vhost per test, at the broker that the environment names.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fairhook_common::queue::rabbit::{QueueType, RabbitQueue, RabbitSettings};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// One test's vhost; gone with it.
pub struct Vhost {
    amqp: Url,
    admin: Url,
    name: String,
}

#[expect(clippy::disallowed_methods, reason = "a test is told by the environment which broker there is")]
fn setting(name: &str) -> Url {
    let Ok(value) = std::env::var(name) else {
        panic!("{name} is not set: run the tests by `make test`, or name a RabbitMQ broker to test against");
    };
    value.parse().unwrap_or_else(|_| panic!("{name} is not a URL"))
}

impl Vhost {
    /// Makes one.
    pub fn new() -> Self {
        let mut amqp = setting("TEST_AMQP_URL");
        let admin = setting("TEST_AMQP_ADMIN");
        let name = format!("test-{}", Uuid::now_v7());
        amqp.set_path(&name);
        let vhost = Self { amqp, admin, name };
        vhost.make();
        vhost
    }

    fn make(&self) {
        self.call("PUT", &format!("/api/vhosts/{}", self.name), "");
        let permissions = format!("/api/permissions/{}/{}", self.name, self.admin.username());
        self.call("PUT", &permissions, r#"{"configure":".*","write":".*","read":".*"}"#);
    }

    /// Loses everything in it, and every connection to it.
    pub fn wipe(&self) {
        self.call("DELETE", &format!("/api/vhosts/{}", self.name), "");
        self.make();
    }

    /// Puts a message into a queue, as anybody might.
    pub fn put(&self, queue: &str, body: &str) {
        let message =
            json!({"properties": {}, "routing_key": queue, "payload": body, "payload_encoding": "string"});
        self.call("POST", &format!("/api/exchanges/{}/amq.default/publish", self.name), &message.to_string());
    }

    /// The bodies of what is ready in a queue, which stays there.
    pub fn look(&self, queue: &str) -> Vec<Value> {
        let get = json!({"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"});
        let answer = self.call("POST", &format!("/api/queues/{}/{queue}/get", self.name), &get.to_string());
        let messages: Vec<Value> = serde_json::from_str(&answer).expect("the management API answers in JSON");
        messages.into_iter().map(|mut message| message["payload"].take()).collect()
    }

    /// The arguments of those who consume a queue.
    pub fn consumers(&self, queue: &str) -> Vec<Value> {
        let answer = self.call("GET", &format!("/api/consumers/{}", self.name), "");
        let all: Vec<Value> = serde_json::from_str(&answer).expect("the management API answers in JSON");
        let of_it = all.into_iter().filter(|consumer| consumer["queue"]["name"] == queue);
        of_it.map(|mut consumer| consumer["arguments"].take()).collect()
    }

    /// The URL to connect to.
    pub fn url(&self) -> &Url {
        &self.amqp
    }

    /// A queue of this vhost.
    pub async fn queue(&self, queue_type: QueueType) -> RabbitQueue {
        connect(self.url(), queue_type).await
    }

    /// One request, without a client library: the tests need a few.
    fn call(&self, method: &str, path: &str, body: &str) -> String {
        let (host, port) = (self.admin.host_str().expect("a host"), self.admin.port().expect("a port"));
        let password = self.admin.password().unwrap_or_default();
        let login = STANDARD.encode(format!("{}:{password}", self.admin.username()));
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect((host, port)).expect("the management API is there");
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("no status");
        assert!(status.starts_with('2'), "{method} {path} was answered {status}");
        body.to_owned()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // A test that failed already must not abort because the broker is gone too.
        if !std::thread::panicking() {
            self.call("DELETE", &format!("/api/vhosts/{}", self.name), "");
        }
    }
}

/// Connects to whatever `url` names.
pub async fn connect(url: &Url, queue_type: QueueType) -> RabbitQueue {
    let settings = RabbitSettings { queue_type, connection_name: "fairhook tests".into(), families: None };
    RabbitQueue::connect(url.as_str(), settings).await.expect("it is a URL")
}
