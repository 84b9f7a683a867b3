//! The model checker: runs the real steps of lookup, lease, fill, eviction, write and single-flight
//! in every possible order, on a store whose commands wait until they are let through.
//!
//! The invariant: a request that starts after the reply to a write never gets an older value, and
//! no older value is stored when all requests have ended.

mod search;
mod world;

use search::search;
use world::{Action, Handler, Scenario};

use crate::store::interleaved::{Broken, Nodes};

fn holds(scenario: &Scenario) {
    let searched = search(scenario);
    println!(
        "{} orders, {} states: {scenario:?}",
        searched.orders, searched.states
    );
    assert!(searched.orders > 50, "{scenario:?}");
    if let Some(violation) = searched.violation {
        panic!("{scenario:?}\n{violation}");
    }
}

fn is_broken(scenario: &Scenario) {
    let searched = search(scenario);
    println!(
        "found after {} orders: {:?}",
        searched.orders, searched.violation
    );
    assert!(searched.violation.is_some(), "{scenario:?}");
}

use Action::{Delete, EvictGroup, EvictKey, GetOrInsert, Put, Read, Set};

fn one_process(requests: &[Action]) -> Scenario {
    Scenario {
        requests: requests.iter().map(|action| (0, *action)).collect(),
        ..Scenario::default()
    }
}

/// Builds a scenario with each request in a process of its own.
fn processes(requests: &[Action]) -> Scenario {
    Scenario {
        requests: requests.iter().copied().enumerate().collect(),
        ..Scenario::default()
    }
}

#[test]
fn reads_of_one_process_while_the_key_is_evicted() {
    holds(&one_process(&[Read, Read, EvictKey]));
}

#[test]
fn reads_of_one_process_while_the_group_is_evicted() {
    holds(&one_process(&[Read, Read, EvictGroup]));
}

#[test]
fn reads_of_two_processes_while_the_key_is_evicted() {
    holds(&processes(&[Read, Read, EvictKey]));
}

#[test]
fn reads_of_two_processes_while_the_group_is_evicted() {
    holds(&processes(&[Read, Read, EvictGroup]));
}

#[test]
fn reads_while_a_response_is_written() {
    holds(&one_process(&[Read, Read, Put]));
    holds(&processes(&[Read, Read, Put]));
}

#[test]
fn two_writes_at_once() {
    holds(&processes(&[Put, Put, Read]));
    holds(&processes(&[Put, EvictKey, Read]));
    holds(&processes(&[Put, EvictGroup, Read]));
}

#[test]
fn an_eviction_of_what_is_stored() {
    holds(&Scenario {
        filled: true,
        ..processes(&[Read, Read, EvictKey])
    });
    holds(&Scenario {
        filled: true,
        ..processes(&[Read, Read, EvictGroup])
    });
}

/// The key contains the query, so that one path has several entries. An eviction that names the handler
/// evicts the key without its query, which evicts all these entries.
#[test]
fn an_eviction_of_a_handler_whose_key_holds_more() {
    for filled in [false, true] {
        let scenario = |requests: Scenario| Scenario {
            filled,
            handler: Handler::Pages,
            ..requests
        };
        holds(&scenario(one_process(&[Read, Read, EvictKey])));
        holds(&scenario(processes(&[Read, Read, EvictKey])));
        holds(&scenario(processes(&[Read, Put, EvictKey])));
    }
    holds(&Scenario {
        filled: true,
        handler: Handler::Pages,
        losses: 1,
        ..processes(&[Read, EvictKey])
    });
}

#[test]
fn reads_whose_extractor_reads_the_row() {
    let early = |requests: Scenario| Scenario {
        handler: Handler::Early,
        ..requests
    };
    holds(&early(one_process(&[Read, Read, EvictKey])));
    for evict in [EvictKey, EvictGroup, Put] {
        holds(&Scenario {
            losses: 1,
            ..early(processes(&[Read, evict]))
        });
    }
    holds(&Scenario {
        filled: true,
        ..early(processes(&[Read, Read, EvictKey]))
    });
    holds(&Scenario {
        failures: 1,
        filled: true,
        ..early(one_process(&[Read, EvictKey]))
    });
}

fn tagged(requests: Scenario) -> Scenario {
    Scenario {
        handler: Handler::Tagged,
        ..requests
    }
}

#[test]
fn responses_that_name_their_group() {
    holds(&tagged(one_process(&[Read, Read, EvictKey])));
    holds(&tagged(one_process(&[Read, Read, EvictGroup])));
    for evict in [EvictKey, EvictGroup, Put] {
        holds(&Scenario {
            filled: true,
            losses: 1,
            ..tagged(processes(&[Read, evict]))
        });
        holds(&Scenario {
            filled: true,
            failures: 1,
            ..tagged(one_process(&[Read, evict]))
        });
    }
    holds(&Scenario {
        filled: true,
        ..tagged(one_process(&[Read, Read, EvictGroup]))
    });
    holds(&Scenario {
        filled: true,
        leaves: 1,
        ..tagged(one_process(&[Read, EvictGroup]))
    });
}

#[test]
#[ignore = "hundreds of thousands of orders take some minutes"]
fn responses_that_name_their_group_for_the_first_time() {
    holds(&tagged(one_process(&[Read, Read, Put])));
    for evict in [EvictKey, EvictGroup, Put] {
        holds(&tagged(processes(&[Read, Read, evict])));
    }
}

#[test]
fn responses_that_name_their_group_and_whose_extractor_reads_the_row() {
    for evict in [EvictKey, EvictGroup] {
        holds(&Scenario {
            filled: true,
            losses: 1,
            handler: Handler::TaggedEarly,
            ..processes(&[Read, evict])
        });
    }
}

#[test]
fn near_caches_of_responses_that_name_their_group() {
    for evict in [EvictGroup, Put] {
        holds(&tagged(with_near_caches(&[0], processes(&[Read, evict]))));
    }
}

#[test]
fn when_nonces_are_read_after_the_run_a_stale_response_is_found() {
    is_broken(&Scenario {
        broken: Broken::ReadsGroupsAfterRun,
        ..tagged(processes(&[Read, EvictGroup]))
    });
}

#[test]
fn clients_that_leave() {
    for write in [EvictKey, EvictGroup, Put] {
        holds(&Scenario {
            leaves: 1,
            filled: true,
            ..one_process(&[Read, write])
        });
    }
    holds(&Scenario {
        leaves: 1,
        ..one_process(&[Read, Read, EvictKey])
    });
}

#[test]
fn values_that_are_made_while_they_are_set_or_evicted() {
    for write in [Set, Delete, EvictGroup] {
        holds(&one_process(&[GetOrInsert, GetOrInsert, write]));
    }
    holds(&processes(&[GetOrInsert, GetOrInsert, Delete]));
    holds(&processes(&[GetOrInsert, Set]));
}

#[test]
fn values_whose_makers_or_writers_leave() {
    holds(&Scenario {
        leaves: 1,
        ..one_process(&[GetOrInsert, GetOrInsert, Delete])
    });
    holds(&Scenario {
        leaves: 1,
        filled: true,
        ..one_process(&[GetOrInsert, Set])
    });
}

#[test]
fn values_that_the_store_loses_or_does_not_take() {
    for write in [Set, Delete, EvictGroup] {
        holds(&Scenario {
            losses: 1,
            ..processes(&[GetOrInsert, write])
        });
        holds(&Scenario {
            failures: 1,
            filled: true,
            ..one_process(&[GetOrInsert, write])
        });
    }
}

#[test]
fn names_that_the_store_loses() {
    for write in [EvictKey, EvictGroup, Put] {
        holds(&Scenario {
            losses: 1,
            ..processes(&[Read, write])
        });
    }
}

#[test]
#[ignore = "three million orders take some minutes"]
fn names_that_the_store_loses_while_reads_join() {
    holds(&Scenario {
        losses: 1,
        ..one_process(&[Read, Read, EvictKey])
    });
}

#[test]
fn lookups_that_share_commands() {
    let sharing = |requests: Scenario| Scenario {
        shares_lookups: true,
        filled: true,
        ..requests
    };
    for write in [EvictKey, EvictGroup, Put] {
        holds(&sharing(one_process(&[Read, Read, write])));
        holds(&Scenario {
            losses: 1,
            ..sharing(one_process(&[Read, write]))
        });
    }
    holds(&sharing(processes(&[Read, Read, EvictKey])));
    holds(&Scenario {
        leaves: 1,
        ..sharing(one_process(&[Read, Read, EvictKey]))
    });
    holds(&Scenario {
        failures: 1,
        ..sharing(one_process(&[Read, EvictKey]))
    });
}

#[test]
fn when_lookups_join_a_sent_command_a_stale_response_is_found() {
    is_broken(&Scenario {
        shares_lookups: true,
        filled: true,
        broken: Broken::JoinsSentLookups,
        ..one_process(&[Read, Read, EvictKey])
    });
}

/// Adds near caches to some processes of a scenario, with copies of the stored response.
fn with_near_caches(near_caches: &[usize], requests: Scenario) -> Scenario {
    Scenario {
        near_caches: near_caches.to_vec(),
        copied: true,
        filled: true,
        ..requests
    }
}

/// Builds a scenario in which a near cache makes its copy while another process evicts.
fn with_an_empty_near_cache() -> Scenario {
    Scenario {
        copied: false,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    }
}

#[test]
fn near_caches_while_another_process_evicts() {
    for write in [EvictKey, EvictGroup, Put] {
        holds(&with_near_caches(&[0], processes(&[Read, write])));
    }
    holds(&with_an_empty_near_cache());
}

#[test]
fn near_caches_in_a_cluster_while_another_process_evicts() {
    for write in [EvictKey, EvictGroup, Put] {
        holds(&Scenario {
            nodes: Nodes::Two,
            ..with_near_caches(&[0], processes(&[Read, write]))
        });
    }
    holds(&Scenario {
        nodes: Nodes::Two,
        ..with_an_empty_near_cache()
    });
}

#[test]
fn near_caches_in_a_cluster_while_commands_fail() {
    for write in [EvictKey, Put] {
        // One process only: while an eviction is pending, other processes may serve the old response.
        holds(&Scenario {
            nodes: Nodes::Two,
            failures: 1,
            ..with_near_caches(&[0], one_process(&[Read, write]))
        });
    }
}

#[test]
fn near_caches_in_a_cluster_while_the_store_loses_names() {
    holds(&Scenario {
        nodes: Nodes::Two,
        losses: 1,
        ..with_near_caches(&[0], processes(&[Read, Put]))
    });
}

#[test]
fn when_the_other_connections_are_not_proved_a_stale_copy_is_found() {
    is_broken(&Scenario {
        nodes: Nodes::Two,
        broken: Broken::OtherConnectionsAreNotProved,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    });
}

#[test]
#[ignore = "millions of orders take many minutes"]
fn several_near_caches_reads_and_evictions() {
    holds(&with_near_caches(&[0, 1], processes(&[Read, EvictKey])));
    let two_reads = || Scenario {
        requests: vec![(0, Read), (0, Read), (1, EvictKey)],
        ..with_an_empty_near_cache()
    };
    holds(&two_reads());
    holds(&Scenario {
        shares_lookups: true,
        ..two_reads()
    });
    holds(&Scenario {
        requests: vec![(0, Read), (1, EvictKey), (2, EvictKey)],
        ..with_near_caches(&[0], Scenario::default())
    });
}

#[test]
fn near_caches_while_their_own_process_evicts() {
    for write in [EvictKey, EvictGroup, Put] {
        holds(&with_near_caches(&[0], one_process(&[Read, write])));
    }
}

#[test]
fn near_caches_whose_lookups_share_commands() {
    holds(&Scenario {
        shares_lookups: true,
        ..with_an_empty_near_cache()
    });
}

#[test]
fn near_caches_while_clients_leave_and_commands_fail() {
    for write in [EvictKey, Put] {
        holds(&Scenario {
            leaves: 1,
            ..with_near_caches(&[0], processes(&[Read, write]))
        });
        // One process only: while an eviction is pending, other processes may serve the old response.
        holds(&Scenario {
            failures: 1,
            ..with_near_caches(&[0], one_process(&[Read, write]))
        });
    }
}

#[test]
fn near_caches_while_the_store_loses_names() {
    holds(&Scenario {
        losses: 1,
        ..with_near_caches(&[0], processes(&[Read, Put]))
    });
}

#[test]
#[ignore = "many orders take some minutes"]
fn near_caches_while_the_store_loses_names_during_an_eviction() {
    holds(&Scenario {
        losses: 1,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    });
}

#[test]
#[ignore = "millions of orders take many minutes"]
fn when_silent_members_are_removed_at_once_a_stale_copy_is_found() {
    is_broken(&Scenario {
        requests: vec![(0, Read), (0, Read), (1, EvictKey), (2, EvictKey)],
        broken: Broken::SilentMembersAreRemoved,
        ..with_near_caches(&[0], Scenario::default())
    });
}

#[test]
fn without_acknowledgements_a_stale_copy_is_found() {
    is_broken(&Scenario {
        broken: Broken::AcknowledgementsAreNotAwaited,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    });
}

#[test]
fn without_the_check_of_tokens_a_stale_copy_is_found() {
    is_broken(&Scenario {
        broken: Broken::TokensAreNotChecked,
        ..with_an_empty_near_cache()
    });
}

#[test]
fn when_proofs_do_not_end_a_stale_copy_is_found() {
    is_broken(&Scenario {
        broken: Broken::ProofsDoNotEnd,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    });
}

#[test]
fn when_members_are_not_registered_a_stale_copy_is_found() {
    is_broken(&Scenario {
        broken: Broken::MembersAreNotRegistered,
        ..with_near_caches(&[0], processes(&[Read, EvictKey]))
    });
}

#[test]
fn commands_that_the_store_does_not_take_and_replies_that_are_lost() {
    for write in [EvictKey, EvictGroup, Put] {
        for filled in [false, true] {
            holds(&Scenario {
                failures: 1,
                filled,
                ..one_process(&[Read, write])
            });
        }
    }
    holds(&Scenario {
        failures: 1,
        filled: true,
        ..one_process(&[Read, Read, EvictKey])
    });
}

#[test]
fn without_the_check_of_the_lease_a_stale_response_is_found() {
    is_broken(&Scenario {
        broken: Broken::LeaseIsNotChecked,
        ..processes(&[Read, EvictKey])
    });
}

#[test]
fn when_reads_join_by_their_key_only_a_stale_response_is_found() {
    for evict in [EvictKey, EvictGroup] {
        is_broken(&Scenario {
            broken: Broken::JoinsByKeyOnly,
            ..one_process(&[Read, Read, evict])
        });
    }
}

#[test]
fn when_responses_are_stored_without_a_proof_a_stale_response_is_found() {
    for evict in [EvictKey, EvictGroup] {
        is_broken(&Scenario {
            handler: Handler::Early,
            broken: Broken::StoresWithoutProof,
            ..processes(&[Read, evict])
        });
    }
}
