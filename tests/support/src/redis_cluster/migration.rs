use std::thread::sleep;
use std::time::Duration;

use redis::Connection;

use super::RedisCluster;
use super::view::{Node, view};
use crate::redis_process::RedisProcess;
use crate::waiting::wait_until;

/// Keys that move at a time.
const BATCH: usize = 8;

impl RedisCluster {
    /// Moves a slot to another primary, a few keys at a time and with a pause before each time:
    /// meanwhile, keys that are not where they were are asked for at the new primary.
    pub fn migrate_slot(&self, slot: u16, to: usize, pause: Duration) {
        let from = self.begin_migration(slot, to);
        let mut source = self.connection(from);
        loop {
            sleep(pause);
            let keys = keys_in(slot, BATCH, &mut source);
            if keys.is_empty() {
                break;
            }
            migrate(&keys, &mut source, &self.nodes[to]);
        }
        self.end_migration(slot, from, to);
    }

    /// Declares that a slot is on its way to another primary, and returns where it is.
    pub fn begin_migration(&self, slot: u16, to: usize) -> usize {
        let from = self.server_of(slot);
        assert_ne!(from, to, "the slot is there already");
        let [from_id, to_id] = [from, to].map(|index| self.id_of(index));
        let [mut source, mut target] = [from, to].map(|index| self.connection(index));
        set_slot(slot, "IMPORTING", &from_id, &mut target);
        set_slot(slot, "MIGRATING", &to_id, &mut source);
        from
    }

    /// Moves some of the keys of a slot that is on its way; returns whether there were any.
    pub fn migrate_keys(
        &self,
        slot: u16,
        (from, to): (usize, usize),
        is_one: impl Fn(&str) -> bool,
    ) -> bool {
        let mut source = self.connection(from);
        let mut keys = keys_in(slot, usize::MAX >> 1, &mut source);
        keys.retain(|key| is_one(&String::from_utf8_lossy(key)));
        if !keys.is_empty() {
            migrate(&keys, &mut source, &self.nodes[to]);
        }
        !keys.is_empty()
    }

    /// Declares that a slot has arrived.
    pub fn end_migration(&self, slot: u16, from: usize, to: usize) {
        let to_id = self.id_of(to);
        // First at the new primary: from then on, somebody serves the slot.
        for index in [to, from] {
            set_slot(slot, "NODE", &to_id, &mut self.connection(index));
        }
        for (index, node) in self.up() {
            if ![from, to].contains(&index) && self.itself(index).primary.is_none() {
                set_slot(slot, "NODE", &to_id, &mut node.connection());
            }
        }
    }

    /// Makes a replica a primary that serves no slots, as one that has just joined.
    pub fn detach(&self, index: usize) {
        let mut reset = redis::cmd("CLUSTER");
        let () = reset
            .arg("RESET")
            .query(&mut self.connection(index))
            .expect("CLUSTER RESET");
        let [known, new] = [self.nodes[0].port(), self.nodes[index].port()];
        let bus_port = view(&mut self.connection(0)).expect("CLUSTER NODES");
        let bus_port = bus_port.into_iter().find(Node::is_self).expect("itself");
        let mut meet = redis::cmd("CLUSTER");
        meet.arg("MEET").arg("127.0.0.1").arg(known);
        meet.arg(bus_port.bus_port);
        let () = meet
            .query(&mut self.connection(index))
            .expect("CLUSTER MEET");
        wait_until("a primary without slots", || {
            for (_, node) in self.up() {
                let mut connection = node.try_connection()?;
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection)?;
                let nodes = view(&mut connection)?;
                let joined = |node: &Node| {
                    let is_reached = node.is_self() || node.is_reached();
                    node.port == new && node.primary.is_none() && is_reached
                };
                let is_ok = info.contains("cluster_state:ok");
                if !is_ok || nodes.len() != self.nodes.len() || !nodes.iter().any(joined) {
                    return Err("it is not known".into());
                }
            }
            Ok(())
        });
    }
}

fn set_slot(slot: u16, state: &str, id: &str, connection: &mut Connection) {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SETSLOT").arg(slot).arg(state).arg(id);
    let () = command.query(connection).expect("CLUSTER SETSLOT");
}

fn keys_in(slot: u16, at_most: usize, connection: &mut Connection) -> Vec<Vec<u8>> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("GETKEYSINSLOT").arg(slot).arg(at_most);
    command.query(connection).expect("CLUSTER GETKEYSINSLOT")
}

fn migrate(keys: &[Vec<u8>], from: &mut Connection, to: &RedisProcess) {
    let mut command = redis::cmd("MIGRATE");
    command.arg("127.0.0.1").arg(to.port()).arg("").arg(0);
    command.arg(30_000);
    if let Some(login) = to.login() {
        command.arg("AUTH2").arg(&login.user).arg(&login.password);
    }
    command.arg("KEYS").arg(keys);
    let () = command.query(from).expect("MIGRATE");
}
