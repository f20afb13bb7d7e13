//! What domains publish about TLS: MTA-STS records and policies, and where reports go.

use postern_dns::mta_sts::{self, MAX_AGE_MOST, MX_MOST, Mode, Policy};
use postern_dns::tls_rpt::{self, Rua};

/// Text records and a policy file: nothing panics, what is understood is sound and survives being written, and what is
/// not is explained in one harmless line.
pub fn mta_sts(data: &[u8]) {
    policy(data);
    let texts: Vec<String> = String::from_utf8_lossy(data).split('\n').take(8).map(str::to_owned).collect();
    match mta_sts::record_id(&texts) {
        Ok(Some(id)) => {
            assert!((1..=32).contains(&id.as_str().len()) && id.as_str().is_ascii());
            assert_eq!(mta_sts::record_id(&[format!("v=STSv1; id={id};")]), Ok(Some(id)));
        }
        Ok(None) => {}
        Err(error) => assert_harmless(&error.to_string()),
    }
    match tls_rpt::report_addresses(&texts) {
        Ok(addresses) => addresses.iter().for_each(|address| {
            let (Rua::Mail(text) | Rua::Https(text)) = address;
            assert_harmless(text);
        }),
        Err(error) => assert_harmless(&error.to_string()),
    }
    for text in &texts {
        if let Some(domain) = mta_sts::policy_domain(text) {
            assert_eq!(mta_sts::policy_domain(&domain).as_deref(), Some(&*domain));
            assert!(mta_sts::record_name(&domain).len() <= 253 && domain.is_ascii());
        }
    }
}

fn policy(file: &[u8]) {
    let policy = match Policy::parse(file) {
        Ok(policy) => policy,
        Err(error) => return assert_harmless(&error.to_string()),
    };
    assert!(policy.max_age <= MAX_AGE_MOST && (policy.mode == Mode::None || !policy.mx.is_empty()));
    for pattern in &policy.mx {
        let host = pattern.to_string().replacen('*', "any", 1);
        assert!(policy.allows(&host) && policy.allows(&host.to_ascii_uppercase()), "{host}");
        assert!(!pattern.matches(&format!("one.more.{host}")));
    }
    assert!(policy.mx.len() <= MX_MOST);
    assert_eq!(Policy::parse_written(&policy.to_string()), Ok(policy));
}

fn assert_harmless(words: &str) {
    assert!(words.len() < 4096 && !words.contains(char::is_control), "{words:?}");
}
