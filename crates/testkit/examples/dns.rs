//! A name server for tests of whole programs.
//!
//! Reads a zone (see `Zone::from_str` in the testkit) from the file named by its one argument, or from standard input up
//! to its end; prints the port of 127.0.0.1 that it answers on, UDP and TCP; and runs until it is killed.

use std::future;
use std::io::{self, Read, Write};
use std::{env, fs};

use postern_testkit::dns::{Zone, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let zone: Zone = zone_text()?.parse().map_err(io::Error::other)?;
    let server = serve(zone).await?;
    writeln!(io::stdout(), "{}", server.address().port())?;
    io::stdout().flush()?;
    future::pending().await
}

fn zone_text() -> io::Result<String> {
    if let Some(path) = env::args_os().nth(1) {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
