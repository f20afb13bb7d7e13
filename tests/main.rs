//! The end-to-end suite: the real `postern` program between real mail programs.
//!
//! Each module is one scenario or one family of claims; each test starts its own daemon in a temporary directory with a
//! generated configuration, on ports the system gives, with the peers it needs: Postfix's `smtp-sink`, a whole Postfix, Exim or
//! OpenSMTPD, Dovecot's LMTP, or a scripted peer where no program behaves badly enough. Clients are the
//! programs of [`support::clients`], and Thunderbird. `./test` installs or unpacks them.
//!
//! Nothing waits for a fixed time: [`support::wait_for`] polls for a fact until a deadline that is only reached by a failure.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test program has no callers and may panic"
)]
#![allow(
    clippy::unnecessary_debug_formatting,
    clippy::format_push_string,
    reason = "Debug quotes paths as TOML wants them"
)]

mod support;

mod accept_simulator;
mod acme;
mod any_port;
mod app_passwords;
mod bans;
mod bounces;
mod broken_store;
mod bursts;
mod ca_http;
mod ca_people;
mod cert_commands;
mod cert_request;
mod certificate_watch;
mod certificates;
mod check_server;
mod clients;
mod config_check;
mod connectors;
mod crashes;
mod dane;
mod delivery;
mod demo;
mod devices;
mod directories;
mod directories_dovecot;
mod directories_ldap;
mod directories_oauth;
mod directories_passwd_file;
mod directories_saslauthd;
mod directories_sql;
mod doctor;
mod drain;
mod full_disk;
mod hard_destinations;
mod inbound_demands;
mod ipv6;
mod ladder;
mod limits;
mod line_endings;
mod local_domains;
mod matrix;
mod mta_sts;
mod mx;
mod next_hops;
mod open_relay;
mod postern_to_postern;
mod private_ca;
mod probe;
mod proxy_protocol;
mod queue_commands;
mod queue_why;
mod rate_limits;
mod refusals;
mod reload;
mod requiretls;
mod retries;
mod reuse;
mod route;
mod scram;
mod senders;
mod sessions;
mod tls_reports;
mod troubles;
mod users;
mod why;
