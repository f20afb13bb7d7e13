//! The client session against scripted servers, adversaries and our own server session.

mod both_ends;
mod delivering;
mod ending;
mod extensions;
mod harness;
mod never_in_clear;
mod opening;
mod signing_in;
