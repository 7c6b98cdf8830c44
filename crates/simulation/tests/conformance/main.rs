//! The store in memory against the cases that every backend of the contract must pass: what holds in a
//! simulation holds on a real engine.
//!
//! Left out are the cases about what a backend refuses before it asks its engine (a simulation sends nothing
//! of the kind), and about engines that are processes of their own.

#[cfg(test)]
#[path = "../../../store/tests/conformance/cases/mod.rs"]
#[expect(dead_code, reason = "some cases are about what memory does not have")]
#[rustfmt::skip]
mod cases;
#[cfg(test)]
mod harness;

/// Makes a test of each case, on a store of its own, in paused time.
macro_rules! suite {
    ($($module:ident: $($case:ident),+;)+) => {
        $(#[cfg(test)]
        mod $module {
            use crate::{cases, harness};
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    harness::run(cases::$module::$case).await;
                }
            )+
        })+
    };
}

suite!(
    reads: get_of_nothing, get_shows_the_last_write, ids_may_hold_odd_characters, collections_are_apart,
        get_many_keeps_the_order, get_many_of_many, get_many_of_nothing, bodies_are_kept_byte_for_byte;
    writes: revisions_grow, absent_creates_once, absent_again_after_a_delete, revision_must_match,
        revision_of_nothing, revision_zero_is_never_there, delete_of_nothing, delete_with_conditions,
        conflict_names_the_current_revision, big_bodies, one_of_many_racers_wins,
        counters_lose_no_increment, revisions_are_shared_by_clients;
    batches: each_has_its_own_answer, more_than_a_transaction_holds, more_bytes_than_a_request,
        writes_to_one_document_keep_their_order, a_batch_while_held, a_batch_with_a_dead_lease,
        an_empty_batch, batches_race;
    lists: of_nothing, all_in_byte_order, by_prefix, by_id, prefix_edges, pages_join_up,
        pages_are_true_at_one_revision, limit_of_all, filters, filtered_pages, more_than_a_chunk,
        big_documents, shows_every_acknowledged_write;
    watches: sees_changes_in_order, from_the_past, of_a_prefix, of_one_id, other_scopes_are_silent,
        a_batch_comes_together, deletes_are_seen, after_a_list_misses_nothing, many_writers,
        a_slow_reader_loses_nothing, dropping_ends_it, two_watchers_see_the_same, big_revisions_come_whole;
    leases: a_document_goes_with_its_lease, renewing_keeps_it, revoking_ends_it, revoking_twice_is_done,
        renewing_what_is_over, putting_on_what_is_over, while_held_is_checked,
        a_document_moves_between_leases, a_put_without_lease_frees_it, ttl_is_rounded_up,
        many_documents_on_a_lease, an_election_has_one_winner, conflict_and_lease_are_told_apart;
    faults: compaction_ends_an_old_watch, compaction_ends_an_old_page, a_current_watch_survives_compaction,
        a_cancelled_write_is_whole_or_absent;
    outages: a_silent_engine_is_unavailable;
);
