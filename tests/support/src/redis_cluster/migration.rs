use std::thread::sleep;
use std::time::Duration;

use redis::Connection;

use super::RedisCluster;
use crate::redis_process::RedisProcess;

/// Keys that move at a time.
const BATCH: usize = 8;

impl RedisCluster {
    /// Moves a slot to another primary, a few keys at a time and with a pause before each time:
    /// meanwhile, keys that are not where they were are asked for at the new primary.
    pub fn migrate_slot(&self, slot: u16, to: usize, pause: Duration) {
        let from = self.server_of(slot);
        assert_ne!(from, to, "the slot is there already");
        let [from_id, to_id] = [from, to].map(|index| self.id_of(index));
        let [mut source, mut target] = [from, to].map(|index| self.connection(index));
        set_slot(slot, "IMPORTING", &from_id, &mut target);
        set_slot(slot, "MIGRATING", &to_id, &mut source);
        loop {
            sleep(pause);
            let keys = keys_in(slot, &mut source);
            if keys.is_empty() {
                break;
            }
            migrate(&keys, &mut source, &self.nodes[to]);
        }
        // First at the new primary: from then on, somebody serves the slot.
        set_slot(slot, "NODE", &to_id, &mut target);
        set_slot(slot, "NODE", &to_id, &mut source);
        for (index, node) in self.up() {
            if ![from, to].contains(&index) && self.itself(index).primary.is_none() {
                set_slot(slot, "NODE", &to_id, &mut node.connection());
            }
        }
    }
}

fn set_slot(slot: u16, state: &str, id: &str, connection: &mut Connection) {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SETSLOT").arg(slot).arg(state).arg(id);
    let () = command.query(connection).expect("CLUSTER SETSLOT");
}

fn keys_in(slot: u16, connection: &mut Connection) -> Vec<Vec<u8>> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("GETKEYSINSLOT").arg(slot).arg(BATCH);
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
