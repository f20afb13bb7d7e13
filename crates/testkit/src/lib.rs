//! What Postern's tests are made with: scripted DNS, transcripts and the like. Never part of the product.

pub mod dns;
pub mod oauth;
mod program;
pub mod proxy;
pub mod signed;
pub mod transcript;
pub mod updatable;
