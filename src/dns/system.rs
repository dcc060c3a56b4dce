//! What the machine says about names: `/etc/resolv.conf` and `/etc/hosts`, as they are now.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use hickory_resolver::Hosts;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::error::DnsError;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// `/etc/resolv.conf`, read again when it changes.
#[derive(Debug, Default)]
pub(super) struct ResolvConf(Mutex<Option<(Option<SystemTime>, ResolverConfig, ResolverOpts)>>);

impl ResolvConf {
    /// # Errors
    /// When it isn't there, or names no server.
    pub(super) fn read(&self) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
        let changed = std::fs::metadata(RESOLV_CONF).and_then(|metadata| metadata.modified()).ok();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config, options)) = known.as_ref().filter(|(since, ..)| *since == changed) {
            return Ok((config.clone(), options.clone()));
        }
        let (config, options) =
            read_system_conf().map_err(|error| DnsError::ResolvConf(error.to_string()))?;
        *known = Some((changed, config.clone(), options.clone()));
        Ok((config, options))
    }
}

/// The addresses of `name` in `/etc/hosts`; `None` when it isn't there at all.
pub(super) fn addresses_in_hosts(name: &Name) -> Option<Vec<IpAddr>> {
    // Without the file no name stands in it.
    let hosts = Hosts::from_system().ok()?;
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let (v4, v6) = (of(RecordType::A), of(RecordType::AAAA));
    if v4.is_none() && v6.is_none() {
        return None;
    }
    let records = v4.iter().chain(&v6).flat_map(|lookup| lookup.answers().iter());
    Some(records.filter_map(|record| record.data.ip_addr()).collect())
}
