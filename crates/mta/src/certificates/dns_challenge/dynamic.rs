//! Dynamic updates set the record (RFC 2136), signed with a key that the name server has for us.
//!
//! The type to know: [`DynamicUpdate`]. Before it says that the authority may look, every name server of the zone shows the
//! record. A name that is an alias is changed where the alias leads, so that `_acme-challenge` can be delegated to a zone
//! that holds nothing else ([`Aliases`]).
//!
//! What it deliberately does not do: wait for the memories of resolvers (authorities ask the zone's own servers), or remove
//! records that an earlier run left behind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use postern_dns::Resolver;
use postern_dns::update::{Seen, Txt, UpdateError, UpdateFault, Zone, follow};

use super::Publisher;

/// How long others may remember the record: it is of use for minutes.
const TTL: Duration = Duration::from_mins(1);

/// How long the name server may take for an update.
const UPDATE: Duration = Duration::from_secs(30);

/// How long the other name servers of the zone may take to show it.
const VISIBLE: Duration = Duration::from_mins(3);

/// Whether the record goes where an alias leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aliases {
    /// Yes: the authority goes there as well.
    #[default]
    Followed,
    /// No: it goes to the very name.
    Ignored,
}

/// Sets and removes the record by dynamic update.
pub struct DynamicUpdate {
    zone: Zone,
    resolver: Arc<dyn Resolver>,
    aliases: Aliases,
}

impl DynamicUpdate {
    /// Changes this zone. The resolver knows aliases, and the addresses of the zone's name servers.
    pub fn new(zone: Zone, resolver: Arc<dyn Resolver>, aliases: Aliases) -> Self {
        Self { zone, resolver, aliases }
    }

    async fn record(&self, name: &str, value: &str) -> Result<Txt, String> {
        let name = match self.aliases {
            Aliases::Ignored => name.to_owned(),
            Aliases::Followed => follow(&*self.resolver, name)
                .await
                .map_err(|error| format!("whether {name} is an alias could not be looked up: {error}"))?,
        };
        Ok(Txt { name, value: value.to_owned(), ttl: TTL })
    }
}

#[async_trait]
impl Publisher for DynamicUpdate {
    async fn publish(&self, name: &str, value: &str) -> Result<String, String> {
        let record = self.record(name, value).await?;
        let zone =
            self.zone.add_txt(&record, Timestamp::now(), UPDATE).await.map_err(|error| told(&error))?;
        let seen = self.zone.until_visible(&record, &*self.resolver, Timestamp::now(), VISIBLE).await;
        let seen = seen.map_err(|error| told(&error))?;
        Ok(format!("{} was added to the zone {zone}; {}", record.name, listed(&seen)))
    }

    async fn withdraw(&self, name: &str, value: &str) -> Result<String, String> {
        let record = self.record(name, value).await?;
        let zone =
            self.zone.delete_txt(&record, Timestamp::now(), UPDATE).await.map_err(|error| told(&error))?;
        Ok(format!("{} was deleted from the zone {zone}", record.name))
    }
}

fn listed(seen: &[Seen]) -> String {
    seen.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The trouble, and which setting it is about.
fn told(error: &UpdateError) -> String {
    let setting = match error.fault {
        UpdateFault::UnknownKey { .. } => "dns_key_name and dns_algorithm",
        UpdateFault::WrongSecret { .. } => "dns_key_file",
        UpdateFault::NotPrimary { .. } | UpdateFault::NoZone { .. } => "dns_server and dns_zone",
        UpdateFault::NotInZone { .. } => "dns_zone",
        UpdateFault::Unreachable(_) | UpdateFault::Unsupported => "dns_server",
        _ => return error.to_string(),
    };
    format!("{error} (see {setting} of the [[acme]] table)")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use postern_dns::update::{TsigAlgorithm, TsigKey};
    use postern_testkit::dns::{Kind, ScriptedResolver, Zone as Script};
    use postern_testkit::updatable::{UpdatableZones, ZoneKey};

    use super::*;

    const NAME: &str = "_acme-challenge.mail.example.org";
    const VALUE: &str = "-9dSXLnoOKUnuzbDVjS1TkA4Ybsn3cZbPuqkyNZXdnI";
    const SECRET: &str = "c2VjcmV0IGFzIG5vYm9keSBzaGFsbCBzZWUgaXQhISE=";

    fn start() -> UpdatableZones {
        let key = ZoneKey { name: "acme", algorithm: "hmac-sha256", secret: SECRET, may_update: true };
        UpdatableZones::start(&[("example.org", ""), ("acme.example.net", "")], &[key])
    }

    fn zone(server: &UpdatableZones, secret: &str) -> Zone {
        let key = TsigKey::new("acme", TsigAlgorithm::HmacSha256, secret).unwrap();
        Zone { server: server.address, name: None, key }
    }

    fn publisher(zone: Zone, script: Script, aliases: Aliases) -> DynamicUpdate {
        let here = Ipv4Addr::LOCALHOST;
        let script = script.address("ns.example.org", here).address("ns.acme.example.net", here);
        DynamicUpdate::new(zone, Arc::new(ScriptedResolver::new(script)), aliases)
    }

    #[tokio::test]
    async fn what_is_published_can_be_seen_and_is_gone_afterwards() {
        let server = start();
        let publisher = publisher(zone(&server, SECRET), Script::new(), Aliases::Followed);
        let told = publisher.publish(NAME, VALUE).await.unwrap();
        let seen = format!("ns.example.org ({}) shows it", server.address);
        assert_eq!(told, format!("{NAME} was added to the zone example.org; {seen}"));
        let told = publisher.withdraw(NAME, VALUE).await.unwrap();
        assert_eq!(told, format!("{NAME} was deleted from the zone example.org"));
    }

    #[tokio::test]
    async fn a_delegated_name_is_changed_where_its_alias_leads() {
        let server = start();
        let of = |aliases| {
            let script = Script::new().cname(NAME, "mail.acme.example.net");
            publisher(zone(&server, SECRET), script, aliases)
        };
        let followed = of(Aliases::Followed).publish(NAME, VALUE).await.unwrap();
        let where_it_leads = "mail.acme.example.net was added to the zone acme.example.net";
        assert!(followed.starts_with(where_it_leads), "{followed}");
        let ignored = of(Aliases::Ignored).publish(NAME, VALUE).await.unwrap();
        assert!(ignored.starts_with(&format!("{NAME} was added to the zone example.org")), "{ignored}");
    }

    #[tokio::test]
    async fn trouble_names_the_setting_to_mend() {
        let server = start();
        let wrong = publisher(zone(&server, "YW5vdGhlciBzZWNyZXQ="), Script::new(), Aliases::Followed);
        let error = wrong.publish(NAME, VALUE).await.unwrap_err();
        assert!(error.contains("not with this secret") && error.contains("dns_key_file"), "{error}");
        let right = publisher(zone(&server, SECRET), Script::new(), Aliases::Followed);
        let error = right.withdraw("_acme-challenge.elsewhere.test", VALUE).await.unwrap_err();
        assert!(error.contains("has no zone") && error.contains("dns_zone"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_changed_while_nobody_knows_where() {
        let server = start();
        let resolver = ScriptedResolver::new(Script::new().failing(NAME));
        let publisher =
            DynamicUpdate::new(zone(&server, SECRET), Arc::new(resolver.clone()), Aliases::Followed);
        let error = publisher.publish(NAME, VALUE).await.unwrap_err();
        assert!(error.contains("is an alias could not be looked up"), "{error}");
        assert_eq!(resolver.queries(), [(NAME.to_owned(), Kind::Cname)]);
    }
}
