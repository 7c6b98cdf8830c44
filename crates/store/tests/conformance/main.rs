//! The contract, as cases that run on every backend.
//!
//! A case is a function over a [`harness::Harness`]; [`suite`] makes a test of each for each backend. What
//! only one backend has stands beside them: `cluster` and `protection` for etcd, `kill` for the embedded one.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod decorated;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod model;
#[cfg(test)]
mod protection;
#[cfg(test)]
mod reopened;

/// Makes a test of each case: `shared` with a harness on a shared engine, `own` with one of its own, and
/// `outages` with one whose engine is a process that can be killed and stopped below its stores.
macro_rules! suite {
    (shared $harness:expr) => {
        suite!(@cases $harness;
        reads: get_of_nothing, get_shows_the_last_write, ids_may_hold_odd_characters,
            ids_that_are_refused, collections_are_apart, reserved_collection_is_refused,
            get_many_keeps_the_order, get_many_of_many, get_many_of_nothing,
            bodies_are_kept_byte_for_byte;
        writes: revisions_grow, absent_creates_once, absent_again_after_a_delete,
            revision_must_match, revision_of_nothing, revision_zero_is_never_there,
            delete_of_nothing, delete_with_conditions, conflict_names_the_current_revision,
            big_bodies, too_big_bodies_are_refused, bodies_that_are_no_objects_are_refused,
            one_of_many_racers_wins, counters_lose_no_increment, revisions_are_shared_by_clients;
        batches: each_has_its_own_answer, more_than_a_transaction_holds, more_bytes_than_a_request,
            writes_to_one_document_keep_their_order, bad_writes_do_not_stop_good_ones,
            a_batch_while_held, a_batch_with_a_dead_lease, an_empty_batch, batches_race;
        lists: of_nothing, all_in_byte_order, by_prefix, by_id, prefix_edges, pages_join_up,
            pages_are_true_at_one_revision, limit_of_all, filters, filtered_pages,
            fields_without_index_are_refused, limit_zero_is_refused, more_than_a_chunk,
            big_documents, shows_every_acknowledged_write;
        watches: sees_changes_in_order, from_the_past, of_a_prefix, of_one_id, other_scopes_are_silent,
            a_batch_comes_together, deletes_are_seen, after_a_list_misses_nothing, many_writers,
            a_slow_reader_loses_nothing, dropping_ends_it, two_watchers_see_the_same,
            big_revisions_come_whole;
        leases: a_document_goes_with_its_lease, renewing_keeps_it, revoking_ends_it,
            revoking_twice_is_done, renewing_what_is_over, putting_on_what_is_over,
            while_held_is_checked, a_document_moves_between_leases, a_put_without_lease_frees_it,
            ttl_is_rounded_up, many_documents_on_a_lease, an_election_has_one_winner,
            conflict_and_lease_are_told_apart;
        );
    };
    (own $harness:expr) => {
        suite!(@cases $harness;
            faults: writes_survive_a_kill, compaction_ends_an_old_watch, compaction_ends_an_old_page,
                a_current_watch_survives_compaction, leases_survive_a_restart,
                a_cancelled_write_is_whole_or_absent;
        );
    };
    (outages $harness:expr) => {
        suite!(@cases $harness;
            outages: a_watch_resumes_over_a_restart, a_watch_repeats_nothing_over_many_restarts,
                nothing_is_lost_when_killed_while_writing, a_silent_engine_is_unavailable;
        );
    };
    (@cases $harness:expr; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    crate::harness::run($harness, crate::cases::$module::$case).await;
                }
            )+
        })+
    };
}

mod embedded {
    use crate::harness::EmbeddedHarness;

    suite!(shared EmbeddedHarness::new());
    suite!(own EmbeddedHarness::new());
}

mod decorators {
    use crate::decorated::DecoratedHarness;

    suite!(shared DecoratedHarness::new());
}

mod etcd {
    use crate::harness::{EtcdHarness, Flavour::Plain};

    suite!(shared EtcdHarness::shared(Plain));
    suite!(own EtcdHarness::own(Plain));
    suite!(outages EtcdHarness::own(Plain));
}

mod etcd_tls {
    use crate::harness::{EtcdHarness, Flavour::Tls};

    suite!(shared EtcdHarness::shared(Tls));
    suite!(own EtcdHarness::own(Tls));
    suite!(outages EtcdHarness::own(Tls));
}

mod etcd_auth {
    use crate::harness::{EtcdHarness, Flavour::Auth};

    suite!(shared EtcdHarness::shared(Auth));
    suite!(own EtcdHarness::own(Auth));
    suite!(outages EtcdHarness::own(Auth));
}
