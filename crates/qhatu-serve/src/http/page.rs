//! What a browser gets: the console, and Swagger UI over the API's description. All files are part of
//! the binary; no page asks any other host for anything, and the policy in the header holds it to that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use qhatu_schema::ErrorKind;

use super::App;
use super::extract::Path;
use super::fault::Fault;

const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Swagger UI writes styles into its elements.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($folder:literal, $name:literal, $kind:literal) => {
        File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("../../../../console/", $folder, "/", $name)),
        }
    };
}

static CONSOLE: [File; 4] = [
    file!("page", "index.html", "text/html; charset=utf-8"),
    file!("page", "console.css", "text/css; charset=utf-8"),
    file!("page", "console.js", "text/javascript; charset=utf-8"),
    file!("page", "icon.svg", "image/svg+xml"),
];

static DOCS: [File; 6] = [
    file!("swagger-ui", "index.html", "text/html; charset=utf-8"),
    file!("swagger-ui", "initializer.js", "text/javascript; charset=utf-8"),
    file!("swagger-ui", "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    file!("swagger-ui", "swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
    file!("swagger-ui", "swagger-ui.css", "text/css; charset=utf-8"),
    file!("swagger-ui", "LICENSE", "text/plain; charset=utf-8"),
];

/// The console.
pub(crate) async fn console(headers: HeaderMap) -> Response {
    send(&CONSOLE, "index.html", CONSOLE_POLICY, &headers)
}

/// A file of the console.
pub(crate) async fn console_file(Path(name): Path, headers: HeaderMap) -> Response {
    send(&CONSOLE, &name, CONSOLE_POLICY, &headers)
}

/// Browsers ask for it unasked.
pub(crate) async fn favicon(headers: HeaderMap) -> Response {
    send(&CONSOLE, "icon.svg", CONSOLE_POLICY, &headers)
}

/// Swagger UI lives in a folder, so that its files are found beside it.
pub(crate) async fn docs() -> Redirect {
    Redirect::permanent("/docs/")
}

/// Swagger UI.
pub(crate) async fn docs_index(headers: HeaderMap) -> Response {
    send(&DOCS, "index.html", DOCS_POLICY, &headers)
}

/// A file of Swagger UI.
pub(crate) async fn docs_file(Path(name): Path, headers: HeaderMap) -> Response {
    send(&DOCS, &name, DOCS_POLICY, &headers)
}

/// The API's description.
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

fn send(files: &'static [File], name: &str, policy: &'static str, headers: &HeaderMap) -> Response {
    let Some(file) = files.iter().find(|file| file.name == name) else {
        let name: String = name.chars().take(64).collect();
        return Fault::new(ErrorKind::NotFound, format!("there is no file {name:?}")).into_response();
    };
    // The files change with the binary alone.
    let tag = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    let development = cfg!(debug_assertions);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let head = [
        fixed(header::CONTENT_TYPE, file.kind),
        fixed(header::CONTENT_SECURITY_POLICY, policy),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::CACHE_CONTROL, "no-cache"),
        fixed(header::ETAG, tag),
    ];
    if known == Some(tag) && !development {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, file.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_names_another_host() {
        for file in CONSOLE.iter().chain(&DOCS[..2]) {
            let text = std::str::from_utf8(file.bytes).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{}", file.name);
        }
    }
}
