use std::collections::HashMap;
use std::net::SocketAddrV4;

use redis::{Connection, InfoDict};

use super::{RedisSentinels, SENTINELS, SERVERS, sentinel_command, up};
use crate::redis_process::RedisProcess;
use crate::waiting::{Attempt, wait_until};

/// Returns the primary that a sentinel names.
#[derive(Debug)]
pub(super) struct KnownPrimary {
    pub(super) address: SocketAddrV4,
    /// The sentinel with the highest knows best.
    pub(super) epoch: u64,
}

impl RedisSentinels {
    /// Waits until all running sentinels and servers agree on the primary and know each other, so
    /// that the next failover can begin.
    pub fn wait_until_ok(&self) {
        wait_until("a primary with replicas and sentinels", || {
            let primary = self.agreed_primary()?;
            for server in up(&self.servers) {
                check_role(server, primary)?;
            }
            let mut sentinels = up(&self.sentinels);
            sentinels.try_for_each(|sentinel| self.check_known(sentinel, primary))
        });
    }

    /// The primary that all running sentinels name, and that says so itself.
    pub(super) fn agreed_primary(&self) -> Attempt<SocketAddrV4> {
        let known = up(&self.sentinels).map(known_primary);
        let known = known.collect::<Attempt<Vec<_>>>()?;
        let primary = known.first().ok_or("no running sentinel")?.address;
        if known.iter().any(|known| known.address != primary) {
            return Err(format!("sentinels disagree: {known:?}").into());
        }
        let server = self.at(primary);
        if !server.is_up() {
            return Err(format!("{primary} is down").into());
        }
        check_role(server, primary)?;
        Ok(primary)
    }

    /// Checks that a sentinel knows all servers and sentinels, and reaches those that run.
    fn check_known(&self, sentinel: &RedisProcess, primary: SocketAddrV4) -> Attempt<()> {
        let mut connection = sentinel.try_connection()?;
        let master = master(&mut connection)?;
        let counts = [
            ("num-other-sentinels", SENTINELS - 1),
            ("num-slaves", SERVERS - 1),
        ];
        let has = |(name, count): (&str, usize)| master[name] == count.to_string();
        if master["flags"] != "master" || !counts.into_iter().all(has) {
            return Err(format!("a sentinel knows of the primary: {master:?}").into());
        }
        let replicas = sentinel_command("REPLICAS");
        let replicas: Vec<HashMap<String, String>> = replicas.query(&mut connection)?;
        for replica in replicas {
            let is_known = replica["flags"] == "slave"
                && replica["master-link-status"] == "ok"
                && replica["master-port"] == primary.port().to_string();
            if !is_known && self.at(address(&replica)?).is_up() {
                return Err(format!("a sentinel knows of a replica: {replica:?}").into());
            }
        }
        Ok(())
    }
}

pub(super) fn known_primary(sentinel: &RedisProcess) -> Attempt<KnownPrimary> {
    let master = master(&mut sentinel.try_connection()?)?;
    Ok(KnownPrimary {
        address: address(&master)?,
        epoch: master["config-epoch"].parse()?,
    })
}

fn master(connection: &mut Connection) -> redis::RedisResult<HashMap<String, String>> {
    sentinel_command("MASTER").query(connection)
}

fn address(fields: &HashMap<String, String>) -> Attempt<SocketAddrV4> {
    Ok(SocketAddrV4::new(
        fields["ip"].parse()?,
        fields["port"].parse()?,
    ))
}

/// Checks that a server is the primary, or a replica of it that has its data.
pub(super) fn check_role(server: &RedisProcess, primary: SocketAddrV4) -> Attempt<()> {
    let info: InfoDict = redis::cmd("INFO")
        .arg("replication")
        .query(&mut server.try_connection()?)?;
    let wanted = if server.address() == primary {
        vec![("role", "master".to_owned())]
    } else {
        vec![
            ("role", "slave".to_owned()),
            ("master_port", primary.port().to_string()),
            ("master_link_status", "up".to_owned()),
        ]
    };
    let is_so = |(name, value): &(&str, String)| info.get::<String>(name).as_ref() == Some(value);
    match wanted.iter().find(|wanted| !is_so(wanted)) {
        None => Ok(()),
        Some(missing) => Err(format!("{} has not {missing:?}", server.address()).into()),
    }
}
