//! `[http]`: what is offered over HTTP.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::listener;
use crate::config::model::Http;
use crate::config::reader::{Reader, Section};

pub(super) fn http<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Http> {
    let at = &reader.section(top, "http");
    Some(Http { bind: listener::addresses(reader, at, bound)? })
}
