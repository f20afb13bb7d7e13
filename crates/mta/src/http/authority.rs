//! The private CA's public face: what `[http] bind` offers to everybody.
//!
//! - `GET /ca/root.pem`, `/ca/root.der`, `/ca/root.crt`: the root certificate, to be trusted by mail programs.
//!
//! What it deliberately does not do: show anything that is not public.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Method, StatusCode};

use super::{Handler, Request, Response};
use crate::config::Config;

/// A root stays for years; an hour is what a new one may take to be seen.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

struct Face {
    folder: PathBuf,
}

/// What answers for the private CA of this installation.
pub(crate) fn handler(config: &Config) -> Arc<dyn Handler> {
    Arc::new(Face { folder: config.data_dir.join("ca") })
}

#[async_trait]
impl Handler for Face {
    async fn answer(&self, request: Request) -> Response {
        // RFC 2585 §4: DER as application/pkix-cert.
        let (file, media_type) = match request.path() {
            "/ca/root.pem" => ("root.pem", "application/x-pem-file"),
            "/ca/root.der" | "/ca/root.crt" => ("root.der", "application/pkix-cert"),
            _ => return Response::not_found(),
        };
        if request.method != Method::GET {
            return Response::only("GET, HEAD");
        }
        let Ok(content) = tokio::fs::read(self.folder.join(file)).await else {
            let error = "there is no private CA here";
            return Response::problem(StatusCode::NOT_FOUND, error, "ask the administrator of this server");
        };
        Response::found(media_type, content).with(CACHE_CONTROL, CACHED)
    }
}
