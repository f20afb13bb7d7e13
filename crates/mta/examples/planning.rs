//! How long planning a destination takes with warm caches: MX, addresses, TLSA records under DNSSEC, the MTA-STS
//! record and the policy that it names, and the join of all demands. For `bench/run`; prints microseconds a plan.
//!
//! The names are those of a scripted name server on loopback whose answers say that they are secure.

use std::time::{Duration, Instant};

use postern_dns::mta_sts::Policy;
use postern_mta::bench::Planning;
use postern_mta::config::{File, Surroundings};
use postern_testkit::dns::{Zone, serve};

const DESTINATIONS: usize = 500;
const ROUNDS: usize = 200;
/// The id that each domain's MTA-STS record has.
const POLICY: &str = "20261121";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = serve(zone()).await?;
    let folder = tempfile::tempdir()?;
    let planning = Planning::new(configuration(server.address(), folder.path())?)?;
    let names: Vec<String> = (0..DESTINATIONS).map(|number| format!("d{number}.test")).collect();
    for name in &names {
        let policy = format!("version: STSv1\nmode: enforce\nmx: *.{name}\nmax_age: 604800\n");
        planning.keep_policy(name, POLICY.parse()?, Policy::parse(policy.as_bytes())?).await?;
        let demands = planning.plan(name).await;
        assert_eq!(
            demands, 6,
            "two hosts, each with the demands of the connector, its TLSA records and the MTA-STS policy: {name}"
        );
    }
    let mut rounds: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for name in &names {
            std::hint::black_box(planning.plan(name).await);
        }
        rounds.push(start.elapsed());
    }
    rounds.sort();
    let median = rounds[ROUNDS / 2].as_secs_f64() * 1e6 / f64::from(u32::try_from(DESTINATIONS)?);
    println!("{median:.2}");
    Ok(())
}

/// Each domain has an MTA-STS record and two mail hosts of its own with addresses of both families and TLSA records.
fn zone() -> Zone {
    let mut zone = Zone::new().all_secure().ttl(3600);
    for number in 0..DESTINATIONS {
        let domain = format!("d{number}.test");
        zone = zone.txt(&format!("_mta-sts.{domain}"), &format!("v=STSv1; id={POLICY};"));
        for (preference, host) in [(10, format!("a.{domain}")), (20, format!("b.{domain}"))] {
            zone = zone
                .mx(&domain, preference, &host)
                .address(&host, [127, 0, 0, 1])
                .address(&host, [0, 0, 0, 0, 0, 0, 0, 1])
                .tlsa(&format!("_25._tcp.{host}"), 3, 1, 1, &[7; 32]);
        }
    }
    zone
}

fn configuration(
    dns: std::net::SocketAddr,
    folder: &std::path::Path,
) -> Result<postern_mta::config::Config, Box<dyn std::error::Error>> {
    let text = format!(
        "hostname = 'bench.test'\ndata_dir = '{}'\n[dns]\nservers = ['{dns}']\n[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['127.0.0.1:0']\n",
        folder.display()
    );
    let file = File::parse(&text, "bench").map_err(|problems| format!("{problems:?}"))?;
    Ok(file.resolve(&Surroundings::default()).map_err(|problems| format!("{problems:?}"))?)
}
