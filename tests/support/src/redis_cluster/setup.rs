use super::view::{Node, view};
use super::{NODES, PRIMARIES, RedisCluster};
use crate::certificates::Certificates;
use crate::ports::{BUS_DISTANCE, free_ports_with_bus};
use crate::redis_process::{RedisProcess, text};
use crate::temp_dir::TempDir;
use crate::waiting::{start_on_free_ports, wait_until};

const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Starts a cluster whose nodes have options such as
    /// `["--requirepass", "secret", "--masterauth", "secret"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as(options, |_| ())
    }

    /// Starts a cluster whose nodes use TLS, also with each other, and are named `localhost`.
    pub fn start_with_tls(certificates: &Certificates) -> Self {
        let files = certificates.options();
        let others = [
            ["--tls-cluster", "yes"],
            ["--tls-replication", "yes"],
            ["--cluster-announce-hostname", "localhost"],
            ["--cluster-preferred-endpoint-type", "hostname"],
        ];
        let files = files.iter().map(String::as_str);
        let options: Vec<_> = files.chain(others.into_iter().flatten()).collect();
        Self::start_as(&options, RedisProcess::use_tls)
    }

    fn start_as(options: &[&str], configure: impl Fn(&mut RedisProcess)) -> Self {
        let cluster = start_on_free_ports("a Redis Cluster", || {
            let directory = TempDir::new();
            let mut nodes = Vec::new();
            for port in free_ports_with_bus::<NODES>() {
                let mut node = node(&directory, port, options);
                configure(&mut node);
                node.start()?;
                nodes.push(node);
            }
            meet(&nodes)?;
            Ok(Self {
                nodes,
                _directory: directory,
            })
        });
        cluster.wait_until_all_have_met();
        for replica in PRIMARIES..NODES {
            let primary = cluster.id_of(replica - PRIMARIES);
            let mut command = redis::cmd("CLUSTER");
            command.arg("REPLICATE").arg(primary);
            let () = command
                .query(&mut cluster.connection(replica))
                .expect("CLUSTER REPLICATE");
        }
        cluster.wait_until_ok();
        cluster
    }

    fn wait_until_all_have_met(&self) {
        wait_until("a cluster whose nodes know each other", || {
            for node in &self.nodes {
                let nodes = view(&mut node.try_connection()?)?;
                let reached = |node: &Node| node.is_self() || node.is_reached();
                if nodes.len() < NODES || !nodes.iter().all(reached) {
                    return Err("somebody is unknown".into());
                }
            }
            Ok(())
        });
    }
}

fn node(directory: &TempDir, port: u16, options: &[&str]) -> RedisProcess {
    let file = directory.path().join(format!("nodes-{port}.conf"));
    let own = [
        ["--cluster-enabled", "yes"],
        ["--cluster-config-file", text(&file)],
        ["--cluster-node-timeout", "1000"],
        // A replica takes over however long it was without its primary.
        ["--cluster-replica-validity-factor", "0"],
        ["--repl-diskless-sync-delay", "0"],
        // A node that is started again is empty.
        ["--rdb-del-sync-files", "yes"],
    ];
    let options = [own.as_flattened(), options].concat();
    RedisProcess::new(directory.path(), port, "", &options)
}

/// Shares the slots among the primaries, and lets everybody meet everybody, which is faster than
/// gossip.
fn meet(nodes: &[RedisProcess]) -> redis::RedisResult<()> {
    let cluster = || redis::cmd("CLUSTER");
    for (index, node) in nodes.iter().enumerate() {
        let mut connection = node.try_connection()?;
        let mut epoch = cluster();
        epoch.arg("SET-CONFIG-EPOCH").arg(index + 1);
        let () = epoch.query(&mut connection)?;
        if index < PRIMARIES {
            let first = |index| SLOTS * index / PRIMARIES;
            // Redis 6.2 has no `ADDSLOTSRANGE`.
            let slots: Vec<_> = (first(index)..first(index + 1)).collect();
            let () = cluster()
                .arg("ADDSLOTS")
                .arg(slots)
                .query(&mut connection)?;
        }
        for port in nodes[..index].iter().map(RedisProcess::port) {
            let mut meet = cluster();
            meet.arg("MEET").arg("127.0.0.1").arg(port);
            meet.arg(port + BUS_DISTANCE);
            let () = meet.query(&mut connection)?;
        }
    }
    Ok(())
}
