//! `qhatu serve` on a free port, asked over HTTP until the test is over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::shop::Shop;

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: String,
    pub(crate) key: Option<&'static str>,
}

impl Server {
    /// Starts it with settings of the environment, and waits until it is ready and has looked for models.
    pub(crate) fn start(shop: &Shop, settings: &[(&str, &str)], key: Option<&'static str>) -> Self {
        let mut command = shop.command(&["serve", "--port", "0"]);
        command.envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        let server = Self { address: address.trim_end_matches('/').to_owned(), child, key };
        while server.ask("GET", "/readyz", None).0 != 200 {
            std::thread::yield_now();
        }
        server.reload();
        server
    }

    /// Lets it look at the registry; what it found.
    pub(crate) fn reload(&self) -> Value {
        let (status, found) = self.ask("POST", "/v1/models/reload", None);
        assert_eq!(status, 200, "{found}");
        found
    }

    /// Status and body of an answer; a body that is no JSON as a text.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let key = self.key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{key}\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
    }

    /// The body of an answer that must be a success.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The same of a body that is sent.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body));
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// That a request is refused with a code, a message and a hint.
    pub(crate) fn refuses(&self, request: (&str, &str, Option<&Value>), code: (u16, &str), parts: &[&str]) {
        let (status, body) = self.ask(request.0, request.1, request.2);
        assert_eq!((status, body["code"].as_str()), (code.0, Some(code.1)), "{request:?}: {body}");
        let said = format!("{} {}", body["message"], body["hint"]);
        for part in parts {
            assert!(said.contains(part), "{part}: {body}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
